//! Kafka transactions of a [`Publisher`]: messages and the checkpoint that speaks of them become visible together, and
//! whoever takes over the same spool id fences off the producer before.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer};

use super::checkpoint::{spool_id, transactional_id};
use super::diagnosis::{Doing, diagnosis};
use super::topics::checkpoint_topic;
use super::{Checkpoint, ConnectError, Fault, Publisher, partition_of};

/// How long a commit may take. Longer ones leave its outcome open, and the checkpoint tells it to the next producer.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// For so long after a commit nothing is added to the next transaction. Kafka confirms a commit before it has written the markers
/// into the partitions. What is added sooner is refused (`CONCURRENT_TRANSACTIONS`), and librdkafka tries again after 20 ms.
const MARKERS_PAUSE: Duration = Duration::from_millis(10);
/// Between two looks at what is in flight.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);
/// Between two attempts of a call that librdkafka calls retriable.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

impl Publisher {
    /// Fences off an earlier producer of this spool id, and ends what it left open.
    pub(super) fn take_over(&self) -> Result<(), ConnectError> {
        retried(Instant::now() + INIT_TIMEOUT, |left| {
            self.producer.init_transactions(left)
        })
        .map_err(|cause| {
            let id = transactional_id(&self.config.topic_prefix, spool_id(&self.spool));
            ConnectError::Unreached(diagnosis(&self.config, &Doing::InitTransactions(&id), &cause, None))
        })
    }

    /// Begins a transaction, at once unless one was committed just now.
    ///
    /// # Errors
    /// A [`Fault`]: this producer is to be dropped.
    pub fn begin(&self) -> Result<(), Fault> {
        let soonest = self.committed_at.get() + MARKERS_PAUSE;
        std::thread::sleep(soonest.saturating_duration_since(Instant::now()));
        self.producer.begin_transaction().map_err(fault)
    }

    /// Commits what was sent since [`Publisher::begin`] together with the checkpoint; returns when all of it is visible.
    ///
    /// # Errors
    /// A [`Fault`]: this producer is to be dropped, and the last checkpoint tells whether the transaction was committed.
    pub fn commit(&self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let topic = checkpoint_topic(&self.config.topic_prefix);
        let text = checkpoint.to_string();
        let key = spool_id(&checkpoint.spool);
        loop {
            let record = BaseRecord::with_opaque_to(&topic, usize::MAX)
                .partition(partition_of(key.as_bytes(), self.config.partitions))
                .key(key)
                .payload(&text);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => drop(self.poll()?),
                Err((cause, _)) => return Err(fault(cause)),
            }
        }
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        self.drain(deadline)?;
        let committed = retried(deadline, |left| self.producer.commit_transaction(left));
        self.committed_at.set(Instant::now());
        self.poll()?;
        committed.map_err(fault)
    }

    /// Waits until every message has its outcome. rdkafka's own wait in a commit looks every 100 ms, and its `poll` of a
    /// millisecond is a busy loop. The first message that failed says more than the commit that fails for it.
    fn drain(&self, deadline: Instant) -> Result<(), Fault> {
        while self.in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(DRAIN_PAUSE);
            self.poll()?;
        }
        Ok(())
    }
}

/// Calls again while librdkafka says that the same call can succeed, until the deadline. A call that timed out is among
/// those: without an end, a coordinator that does not answer would be waited for as if it did.
fn retried(deadline: Instant, call: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(left) {
            Err(KafkaError::Transaction(cause)) if cause.is_retriable() && Instant::now() + RETRY_PAUSE < deadline => {
                std::thread::sleep(RETRY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn fault(cause: KafkaError) -> Fault {
    Fault::new("transaction", cause.to_string())
}
