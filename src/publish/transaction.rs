//! Kafka transactions of a [`Publisher`]. Messages and their checkpoint become visible together, and a new producer of the same
//! spool id fences off the previous one.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer};

use super::checkpoint::{spool_id, transactional_id};
use super::diagnosis::{Doing, diagnosis};
use super::topics::checkpoint_topic;
use super::{Checkpoint, ConnectError, Fault, Publisher, partition_of};

/// How long a commit may take. After this its outcome is unknown, and the next producer reads it from the checkpoint.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between a commit and the next transaction. Kafka confirms a commit before it has written the markers into the partitions.
/// It refuses messages that come sooner (`CONCURRENT_TRANSACTIONS`), and librdkafka retries them after 20 ms.
const MARKERS_PAUSE: Duration = Duration::from_millis(10);
/// The pause between two checks for messages in flight.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);
/// The pause between two attempts of a call that librdkafka reports as retriable.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

impl Publisher {
    /// Fences off an earlier producer of this spool id, and ends its open transaction.
    pub(super) fn take_over(&self) -> Result<(), ConnectError> {
        retried(Instant::now() + INIT_TIMEOUT, |left| {
            self.producer.init_transactions(left)
        })
        .map_err(|cause| {
            let id = transactional_id(&self.config.topic_prefix, spool_id(&self.spool));
            ConnectError::Unreached(diagnosis(&self.config, &Doing::InitTransactions(&id), &cause, None))
        })
    }

    /// Begins a transaction, at once unless the last commit was less than 10 ms ago.
    ///
    /// # Errors
    /// A [`Fault`]: drop this producer.
    pub fn begin(&self) -> Result<(), Fault> {
        let soonest = self.committed_at.get() + MARKERS_PAUSE;
        std::thread::sleep(soonest.saturating_duration_since(Instant::now()));
        self.producer.begin_transaction().map_err(fault)
    }

    /// Commits the messages sent since [`Publisher::begin`] together with the checkpoint. Returns when all of them are visible.
    ///
    /// # Errors
    /// A [`Fault`]: drop this producer. The last checkpoint shows whether the transaction was committed.
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

    /// Waits until every message has a delivery report. rdkafka's own wait in a commit checks every 100 ms, and its `poll` of a
    /// millisecond is a busy loop. The error of the first failed message is more useful than that of the commit which fails with it.
    fn drain(&self, deadline: Instant) -> Result<(), Fault> {
        while self.in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(DRAIN_PAUSE);
            self.poll()?;
        }
        Ok(())
    }
}

/// Retries a call while librdkafka reports its error as retriable, until the deadline. A call that timed out is retriable too, so
/// without the deadline this would wait for ever for a coordinator that does not answer.
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
