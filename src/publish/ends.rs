//! Reading partitions to their ends, and asking for these while leaders change. It knows no headers and no topic of ours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaErrorCode::{
    FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, UnknownLeaderEpoch,
};

/// A new leader is known everywhere within this time.
const LEADER_TIMEOUT: Duration = Duration::from_secs(15);
const LEADER_PAUSE: Duration = Duration::from_millis(200);

/// Asks again, for 15 s, while a partition's leader has only just changed, or does not know yet of a topic that was just created.
///
/// # Errors
/// Those of the last attempt.
pub fn ask_leaders<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + LEADER_TIMEOUT;
    loop {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let passes = matches!(
            code,
            Some(FencedLeaderEpoch | LeaderNotAvailable | NotLeaderForPartition | UnknownLeaderEpoch)
        );
        if !passes || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(LEADER_PAUSE);
    }
}

/// The messages of one topic, and errors that may pass, until each partition of `open` has come to its end: librdkafka says so
/// (`enable.partition.eof`), or the message before this offset was there, since others may write on and on. Whatever stays in `open`
/// was not reached: nothing came for `patience`.
pub fn read_to_ends<'m>(
    open: &mut BTreeMap<i32, i64>,
    patience: Duration,
    poll: impl Fn() -> Option<KafkaResult<BorrowedMessage<'m>>>,
) -> impl Iterator<Item = KafkaResult<BorrowedMessage<'m>>> {
    let mut deadline = Instant::now() + patience;
    std::iter::from_fn(move || {
        while !open.is_empty() && Instant::now() <= deadline {
            match poll() {
                None => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(cause)) => return Some(Err(cause)),
                Some(Ok(message)) => {
                    deadline = Instant::now() + patience;
                    open.retain(|partition, end| *partition != message.partition() || message.offset() + 1 < *end);
                    return Some(Ok(message));
                }
            }
        }
        None
    })
}
