//! What librdkafka has and rust-rdkafka does not wrap.

use std::ffi::CStr;

use rdkafka::bindings;
use rdkafka::message::BorrowedMessage;

/// Whether Kafka has a message whose delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was never sent, or was refused.
    NotPersisted,
    /// It was sent, and there was no answer.
    PossiblyPersisted,
    /// Kafka has it.
    Persisted,
}

/// The fate of the message of a delivery report.
pub(super) fn fate(message: &BorrowedMessage<'_>) -> Fate {
    use bindings::rd_kafka_msg_status_t as Status;
    // SAFETY: the pointer is that of a message that is borrowed for the call, which only reads it.
    match unsafe { bindings::rd_kafka_message_status(message.ptr()) } {
        Status::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Fate::NotPersisted,
        Status::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Fate::PossiblyPersisted,
        Status::RD_KAFKA_MSG_STATUS_PERSISTED => Fate::Persisted,
    }
}

/// The broker's own words about a message that it refused, where it has some (KIP-467).
pub(super) fn produce_error(message: &BorrowedMessage<'_>) -> Option<String> {
    // SAFETY: as above; the text that is pointed to lives as long as the message.
    let text = unsafe { bindings::rd_kafka_message_produce_errstr(message.ptr()) };
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not null, and librdkafka ends its texts with a zero byte.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}
