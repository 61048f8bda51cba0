//! `[server]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

use super::{ProxyHeader, tls};
use crate::provider::Networks;

/// The HTTP server reads at most this much of an HTTP/1 head.
const HEAD_BYTES_MAX: u64 = 128 << 10;
/// Every clock can add a year without an overflow.
const YEAR_S: u64 = 366 * 24 * 3600;

/// Callers wait at least two seconds.
const HOLD_MS: std::ops::RangeInclusive<u64> = 10..=10_000;

/// When an after-callback is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerAfter {
    /// When it is durable on the local disk.
    Disk,
    /// When, in addition, Kafka has acknowledged all its messages.
    Kafka,
}

/// The public port and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `address:port` for callbacks over plain HTTP; empty if there is only TLS.
    pub listen: String,
    /// The port with TLS.
    pub tls: Option<tls::Config>,
    /// Threads that serve requests; 0 means one for each core.
    pub workers: usize,
    /// The largest request line with its headers.
    pub max_head_bytes: usize,
    /// The largest body that is accepted.
    pub max_body_bytes: usize,
    /// Bytes of bodies that may be held at one time, over all connections.
    pub max_held_bytes: usize,
    /// Connections of one worker, in addition to 64 new ones. Beyond that, the oldest connection without a verified request is
    /// closed. If there is none, a new connection waits in the operating system's queue. Lower if the limit on open files is too low.
    pub max_connections: usize,
    /// Proxies that may name the client's address.
    pub trusted_proxies: Networks,
    /// The header in which they name it.
    pub proxy_header: ProxyHeader,
    /// Seconds that an idle connection stays open. Hours, because an IM server loses callbacks when idle connections close.
    pub keep_alive_s: u64,
    /// Seconds for the line and headers of a request to arrive, and for a TLS handshake.
    pub head_timeout_s: u64,
    /// Seconds for a request's body to arrive.
    pub body_timeout_s: u64,
    /// Milliseconds within which a before-callback is answered, even if it is not durable.
    pub before_deadline_ms: u64,
    /// When an after-callback is answered; before-callbacks never wait for Kafka.
    pub answer_after: AnswerAfter,
    /// Milliseconds that an answer waits for Kafka at most. When one answer has waited so long, no answer waits until Kafka is fast again.
    pub answer_hold_ms: u64,
    /// Seconds in the `Retry-After` of a 429 or 503.
    pub retry_after_s: u64,
    /// Seconds for requests in progress to be answered at shutdown.
    pub shutdown_timeout_s: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "0.0.0.0:8080".into(),
            tls: None,
            workers: 0,
            max_head_bytes: 64 << 10,
            max_body_bytes: 8 << 20,
            max_held_bytes: 32 << 20,
            max_connections: 10_000,
            trusted_proxies: Networks::default(),
            proxy_header: ProxyHeader::XForwardedFor,
            keep_alive_s: 4 * 3600,
            head_timeout_s: 10,
            body_timeout_s: 10,
            before_deadline_ms: 500,
            answer_after: AnswerAfter::Disk,
            answer_hold_ms: 300,
            retry_after_s: 5,
            shutdown_timeout_s: 15,
        }
    }
}

impl Config {
    /// How long an answer waits for Kafka at most. `None` if it does not wait.
    pub fn hold(&self) -> Option<Duration> {
        (self.answer_after == AnswerAfter::Kafka).then(|| Duration::from_millis(self.answer_hold_ms))
    }

    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let listen = &self.listen;
        let tls_alone = listen.is_empty() && self.tls.is_some();
        if !tls_alone && listen.parse::<std::net::SocketAddr>().is_err() {
            let allowed = "an address and a port are needed, like \"0.0.0.0:8080\", or \"\" with a [server.tls]";
            return Some(("listen", format!("{listen:?}: {allowed}")));
        }
        let (max_body_bytes, max_held_bytes) = (self.max_body_bytes, self.max_held_bytes);
        if !(1024..=max_held_bytes).contains(&max_body_bytes) {
            let problem = format!("{max_body_bytes}: 1024 to server.max_held_bytes ({max_held_bytes}) is allowed");
            return Some(("max_body_bytes", problem));
        }
        let bounds = [
            ("max_head_bytes", self.max_head_bytes as u64, 1024, HEAD_BYTES_MAX),
            ("max_connections", self.max_connections as u64, 1, 1 << 30),
            ("keep_alive_s", self.keep_alive_s, 1, YEAR_S),
            ("head_timeout_s", self.head_timeout_s, 1, YEAR_S),
            ("body_timeout_s", self.body_timeout_s, 1, YEAR_S),
            ("before_deadline_ms", self.before_deadline_ms, 1, YEAR_S * 1000),
            ("answer_hold_ms", self.answer_hold_ms, *HOLD_MS.start(), *HOLD_MS.end()),
            ("retry_after_s", self.retry_after_s, 0, YEAR_S),
            ("shutdown_timeout_s", self.shutdown_timeout_s, 0, YEAR_S),
        ];
        let outside = |(_, value, least, most): &(_, u64, u64, u64)| !(least..=most).contains(&value);
        if let Some((key, value, least, most)) = bounds.into_iter().find(outside) {
            return Some((key, format!("{value}: {least} to {most} is allowed")));
        }
        self.tls.as_ref()?.problem()
    }
}
