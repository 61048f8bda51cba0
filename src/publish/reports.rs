//! librdkafka's reports about a producer: deliveries, failures, log lines. It knows no order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use super::context::advice;
use super::message::Receipt;
use super::refusal::{Failure, Kind};
use super::{Context, Fault, native};

/// How librdkafka's error message begins for a message whose batch was refused because of another record. librdkafka then reports
/// the batch's error code, although it has a code of its own for this case.
const NEIGHBOUR: &str = "Failed to append record because it was part of a batch";

/// librdkafka's reports since the last poll.
#[derive(Default)]
pub(super) struct Reports {
    deliveries: Mutex<Deliveries>,
    /// Why no broker was reached, if the configuration can fix it: what to do, and librdkafka's error message.
    pub refusal: Mutex<Option<(&'static str, String)>>,
    /// Whether librdkafka's log lines go to debug, because the caller logs the error itself.
    pub quiet: AtomicBool,
    /// Whether all brokers were unreachable, and nothing has been delivered since.
    pub down: AtomicBool,
}

/// The delivery reports since the last poll.
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
                let unsent = Failure::unsent(ticket, message.topic(), message.partition(), code);
                // A broker that refuses a message does not have it, even if librdkafka does not know the error code.
                let is_refused = matches!(unsent.kind, Kind::Record | Kind::Topic)
                    || code == RDKafkaErrorCode::InvalidDifferentRecord;
                deliveries.failures.push(Failure {
                    text: text.unwrap_or_else(|| code.to_string()),
                    is_absent: is_refused || native::is_absent(message),
                    ..unsent
                });
            }
        }
    }
}

impl Deliveries {
    /// The receipts, if nothing failed. Otherwise all reports stay for the producer's final report: the caller would take a receipt that
    /// is removed here and not counted for a message that Kafka does not have.
    pub fn take(
        &mut self,
        fatal: Option<(RDKafkaErrorCode, String)>,
        diagnosis: impl FnOnce(&Failure) -> String,
    ) -> Result<Vec<Receipt>, Fault> {
        let cause = self.failures.iter().find(|failure| failure.kind != Kind::Consequence);
        if let Some(failure) = cause.or(self.failures.first()) {
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
    fn receipts_from_before_a_fault_stay_for_the_final_report() {
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
