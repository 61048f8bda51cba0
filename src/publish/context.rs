//! librdkafka's log lines and errors go to the bridge's log. Errors are warnings there, because librdkafka retries; all else is debug.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The context of every client but the producers, whose contexts wrap it.
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

/// What to do about a connection error that a retry does not fix; `None` for any other error.
pub(super) fn advice(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code()? {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            Some("Kafka refuses the bridge's credentials: check sasl.mechanism, sasl.username and sasl.password")
        }
        RDKafkaErrorCode::SSL => Some(
            "the TLS handshake with Kafka failed: check ssl.ca.location (certificates to trust), ssl.certificate.location and ssl.key.location (the bridge's own certificate)",
        ),
        _ => None,
    }
}
