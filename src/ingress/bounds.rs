//! The time and size limits of a request's body, by its command. It does not know answers.

use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};

use super::body::Limits;
use super::handler::Worker;
use crate::callback::CommandRule;

/// OpenIM waits five seconds and copies fields of the answer over its user's request. An answer without these fields harms the
/// user more than a late answer.
const ECHO_TIMEOUT: Duration = Duration::from_millis(4500);
/// A body whose fields are echoed does not count towards `max_held_bytes` up to this size. A group's texts are far shorter.
const ECHO_BODY_BYTES: usize = 64 << 10;
/// Bytes that echoed bodies may hold in each thread.
const ECHOES_BYTES: usize = 16 << 20;
/// The same for unverified senders: their refusals carry the fields too.
const UNVERIFIED_BYTES: usize = 1 << 20;

impl Worker {
    /// The limits of a verified sender's body.
    pub fn limits(&self, rule: Option<&CommandRule>, headers: &HeaderMap, started: Instant) -> Limits<'_> {
        let usual = Limits {
            max_body_bytes: self.config.max_body_bytes,
            max_held_bytes: self.config.max_held_bytes,
            timeout: self.body_timeout(rule).saturating_sub(started.elapsed()),
            held: &self.held,
        };
        if !rule.is_some_and(CommandRule::is_echoed) {
            return usual;
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.is_some_and(|length| length.parse().is_ok_and(|length: usize| length > ECHO_BODY_BYTES)) {
            return usual;
        }
        Limits {
            max_body_bytes: usual.max_body_bytes.max(ECHO_BODY_BYTES),
            max_held_bytes: ECHOES_BYTES,
            held: &self.echoes,
            ..usual
        }
    }

    /// How long the bridge waits for a body, counted from the request's head.
    pub fn body_timeout(&self, rule: Option<&CommandRule>) -> Duration {
        let deadline = Duration::from_millis(self.config.before_deadline_ms);
        match rule {
            Some(rule) if rule.is_echoed() => deadline.max(ECHO_TIMEOUT),
            Some(rule) if rule.is_before() => deadline,
            _ => Duration::from_secs(self.config.body_timeout_s),
        }
    }

    /// The limits of an unverified sender's body. It is read only for the fields that the refusal carries.
    pub fn unverified_limits(&self) -> Limits<'_> {
        Limits {
            max_body_bytes: ECHO_BODY_BYTES,
            max_held_bytes: UNVERIFIED_BYTES,
            timeout: ECHO_TIMEOUT,
            held: &self.echoes,
        }
    }
}
