//! How long a request's body is waited for, and how much of it there may be, by its command. Knows no answer.

use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};

use super::body::Limits;
use super::handler::Worker;
use crate::callback::CommandRule;

/// OpenIM waits for five seconds and copies fields of the answer over its user's request. An answer without them harms the
/// user more than a late one.
const ECHO_PATIENCE: Duration = Duration::from_millis(4500);
/// Up to this size, a body whose fields are echoed does not count towards `max_held_bytes`: a group's texts are far shorter.
const ECHO_BODY_BYTES: usize = 64 << 10;
/// Such bodies may hold this much in each thread; those of strangers, whose refusals carry the fields too, much less.
const ECHOES_BYTES: usize = 16 << 20;
const STRANGERS_BYTES: usize = 1 << 20;

impl Worker {
    /// The limits of a verified sender's body.
    pub fn limits(&self, rule: Option<&CommandRule>, headers: &HeaderMap, started: Instant) -> Limits<'_> {
        let usual = Limits {
            max_body_bytes: self.config.max_body_bytes,
            max_held_bytes: self.config.max_held_bytes,
            timeout: self.patience(rule).saturating_sub(started.elapsed()),
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

    /// How long a body is waited for, from its request's head on.
    pub fn patience(&self, rule: Option<&CommandRule>) -> Duration {
        let deadline = Duration::from_millis(self.config.before_deadline_ms);
        match rule {
            Some(rule) if rule.is_echoed() => deadline.max(ECHO_PATIENCE),
            Some(rule) if rule.is_before() => deadline,
            _ => Duration::from_secs(self.config.body_timeout_s),
        }
    }

    /// The limits of a body of whom nobody knows, which is read for nothing but the fields that its refusal carries.
    pub fn limits_of_stranger(&self) -> Limits<'_> {
        Limits {
            max_body_bytes: ECHO_BODY_BYTES,
            max_held_bytes: STRANGERS_BYTES,
            timeout: ECHO_PATIENCE,
            held: &self.echoes,
        }
    }
}
