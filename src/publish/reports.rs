//! What librdkafka reports of a producer: deliveries, failures, its own log. It knows no order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use super::context::advice;
use super::message::Receipt;
use super::refusal::{Failure, Kind, kind_of};
use super::{Context, Fault, native};

/// What librdkafka says of a message whose batch was refused for another record. Its code is that of the batch then, although
/// its documentation has one for this.
const NEIGHBOUR: &str = "Failed to append record because it was part of a batch";

/// What librdkafka reports between two polls.
#[derive(Default)]
pub(super) struct Reports {
    deliveries: Mutex<Deliveries>,
    /// Why no broker was reached, where that can be mended by the configuration: what to do, and librdkafka's words.
    pub refusal: Mutex<Option<(&'static str, String)>>,
    /// The caller says once what has gone wrong: librdkafka's lines about it are for those who look for them.
    pub quiet: AtomicBool,
    /// No broker was reached, and nothing was delivered since.
    pub down: AtomicBool,
}

/// What became of messages since the last poll.
#[derive(Default)]
pub(super) struct Deliveries {
    pub receipts: Vec<Receipt>,
    pub failures: Vec<Failure>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.quiet.load(Ordering::Relaxed) {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        } else {
            Context.log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.down.store(true, Ordering::Relaxed);
        }
        if let Some(advice) = advice(&error) {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((advice, reason.to_owned()));
        }
        Context.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, outcome: &DeliveryResult<'_>, ticket: usize) {
        let mut deliveries = self.deliveries();
        match outcome {
            Ok(message) => deliveries.receipts.push(Receipt {
                ticket,
                offset: message.offset(),
            }),
            Err((cause, message)) => {
                let text = native::produce_error(message);
                let is_neighbour = text.as_ref().is_some_and(|text| text.starts_with(NEIGHBOUR));
                let code = if is_neighbour {
                    RDKafkaErrorCode::InvalidDifferentRecord
                } else {
                    cause.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
                };
                let kind = kind_of(code);
                // A broker that refuses a message has not taken it, whatever librdkafka makes of a code that it does not know.
                let is_refused =
                    matches!(kind, Kind::Record | Kind::Topic) || code == RDKafkaErrorCode::InvalidDifferentRecord;
                deliveries.failures.push(Failure {
                    ticket,
                    topic: message.topic().to_owned(),
                    partition: message.partition(),
                    error: format!("{code:?}"),
                    code,
                    text: text.unwrap_or_else(|| code.to_string()),
                    kind,
                    is_absent: is_refused || native::is_absent(message),
                });
            }
        }
    }
}

impl Deliveries {
    /// What was delivered, where nothing failed. Otherwise everything stays for the producer's last words: what is taken and not counted
    /// would pass for something that Kafka does not have.
    pub fn take(
        &mut self,
        fatal: Option<(RDKafkaErrorCode, String)>,
        diagnosis: impl FnOnce(&Failure) -> String,
    ) -> Result<Vec<Receipt>, Fault> {
        let telling = self.failures.iter().find(|failure| failure.kind != Kind::Consequence);
        if let Some(failure) = telling.or(self.failures.first()) {
            return Err(Fault::new("delivery", diagnosis(failure)));
        }
        match fatal {
            Some((code, text)) => Err(Fault::new("fatal", format!("{code}: {text}"))),
            None => Ok(std::mem::take(&mut self.receipts)),
        }
    }
}

impl Reports {
    pub fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_before_a_fault_is_there_for_the_last_words() {
        let failed = |code| Failure::unsent(2, "t", 0, code);
        let fatal = || Some((RDKafkaErrorCode::GaplessGuarantee, "no".to_owned()));
        for (failures, fatal, reason) in [
            (vec![], fatal(), "fatal"),
            (vec![failed(RDKafkaErrorCode::InvalidTimestamp)], fatal(), "delivery"),
            (vec![failed(RDKafkaErrorCode::PurgeQueue)], None, "delivery"),
        ] {
            let receipts = vec![Receipt { ticket: 1, offset: 7 }];
            let mut deliveries = Deliveries { receipts, failures };
            let fault = deliveries.take(fatal, |failure| failure.text.clone()).unwrap_err();
            assert_eq!((fault.reason, deliveries.receipts.len()), (reason, 1));
        }
        let receipts = vec![Receipt { ticket: 1, offset: 7 }];
        let failures = Vec::new();
        let taken = Deliveries { receipts, failures }.take(None, |_| unreachable!());
        assert_eq!(taken.unwrap(), [Receipt { ticket: 1, offset: 7 }]);
    }
}
