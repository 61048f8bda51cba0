//! Reading partitions to their ends, and asking for their offsets while leaders change. It knows no headers and no topic names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaErrorCode::{
    FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, UnknownLeaderEpoch,
};

/// All brokers know a new leader within this time.
const LEADER_TIMEOUT: Duration = Duration::from_secs(15);
const LEADER_PAUSE: Duration = Duration::from_millis(200);

/// Retries for 15 s while a partition's leader has just changed, or does not yet know a topic that was just created.
///
/// # Errors
/// The error of the last attempt.
pub fn ask_leaders<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + LEADER_TIMEOUT;
    loop {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let is_transient = matches!(
            code,
            Some(FencedLeaderEpoch | LeaderNotAvailable | NotLeaderForPartition | UnknownLeaderEpoch)
        );
        if !is_transient || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(LEADER_PAUSE);
    }
}

/// The messages of one topic, and transient errors, until each partition of `open` is read to its end. A partition's end is reached
/// when librdkafka reports it (`enable.partition.eof`), or with the last message before the offset in `open`, because other producers
/// may append without end. Partitions that stay in `open` were not read to their ends: no message came for `timeout`.
pub fn read_to_ends<'m>(
    open: &mut BTreeMap<i32, i64>,
    timeout: Duration,
    poll: impl Fn() -> Option<KafkaResult<BorrowedMessage<'m>>>,
) -> impl Iterator<Item = KafkaResult<BorrowedMessage<'m>>> {
    let mut deadline = Instant::now() + timeout;
    std::iter::from_fn(move || {
        while !open.is_empty() && Instant::now() <= deadline {
            match poll() {
                None => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(cause)) => return Some(Err(cause)),
                Some(Ok(message)) => {
                    deadline = Instant::now() + timeout;
                    open.retain(|partition, end| *partition != message.partition() || message.offset() + 1 < *end);
                    return Some(Ok(message));
                }
            }
        }
        None
    })
}
