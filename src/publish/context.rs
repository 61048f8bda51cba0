//! What librdkafka says of itself goes to the log: its errors as warnings, since it goes on trying, the rest for those who
//! look for it.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The context of every client but the producer, which wraps it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

/// What to do about an error of a connection that another attempt does not mend; `None` for any other.
pub(super) fn advice(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code()? {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            Some("Kafka does not let the bridge in: look at sasl.mechanism, sasl.username and sasl.password")
        }
        RDKafkaErrorCode::SSL => Some(
            "no TLS with Kafka: look at ssl.ca.location (whom to trust), ssl.certificate.location and ssl.key.location (who the bridge is)",
        ),
        _ => None,
    }
}
