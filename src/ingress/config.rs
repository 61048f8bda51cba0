//! `[server]` of the configuration.

use serde::Deserialize;

/// A clock can add a year, whatever it counts in; it cannot add the largest number.
const YEAR_S: u64 = 366 * 24 * 3600;

/// The public port and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `address:port` for callbacks.
    pub listen: String,
    /// Threads that serve requests; 0 is one for each core.
    pub workers: usize,
    /// The largest body that is accepted.
    pub max_body_bytes: usize,
    /// Bytes of bodies that may be held at one time, over all connections.
    pub max_held_bytes: usize,
    /// Connections of one worker; more wait in the operating system's queue. Fewer where the limit on open files is too low.
    pub max_connections: usize,
    /// Seconds that an idle connection stays open. Hours, since an IM server loses callbacks when idle connections close.
    pub keep_alive_s: u64,
    /// Seconds for the line and headers of a connection's first request to arrive.
    pub head_timeout_s: u64,
    /// Seconds for a request's body to arrive.
    pub body_timeout_s: u64,
    /// Milliseconds after which a before-callback is answered, whatever happens.
    pub before_deadline_ms: u64,
    /// Seconds that a caller is told to wait when the spool is full (`Retry-After`).
    pub retry_after_s: u64,
    /// Seconds for requests in progress to be answered at shutdown.
    pub shutdown_timeout_s: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "0.0.0.0:8080".into(),
            workers: 0,
            max_body_bytes: 8 << 20,
            max_held_bytes: 32 << 20,
            max_connections: 10_000,
            keep_alive_s: 4 * 3600,
            head_timeout_s: 10,
            body_timeout_s: 10,
            before_deadline_ms: 500,
            retry_after_s: 5,
            shutdown_timeout_s: 15,
        }
    }
}

impl Config {
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.listen.parse::<std::net::SocketAddr>().is_err() {
            return Some((
                "listen",
                format!(
                    "{:?}: an address and a port are needed, like \"0.0.0.0:8080\"",
                    self.listen
                ),
            ));
        }
        if self.max_body_bytes < 1024 || self.max_body_bytes > self.max_held_bytes {
            return Some((
                "max_body_bytes",
                format!(
                    "{}: 1024 to server.max_held_bytes ({}) is allowed",
                    self.max_body_bytes, self.max_held_bytes
                ),
            ));
        }
        let bounds = [
            ("max_connections", self.max_connections as u64, 1, 1 << 30),
            ("keep_alive_s", self.keep_alive_s, 1, YEAR_S),
            ("head_timeout_s", self.head_timeout_s, 1, YEAR_S),
            ("body_timeout_s", self.body_timeout_s, 1, YEAR_S),
            ("before_deadline_ms", self.before_deadline_ms, 1, YEAR_S * 1000),
            ("retry_after_s", self.retry_after_s, 0, YEAR_S),
            ("shutdown_timeout_s", self.shutdown_timeout_s, 0, YEAR_S),
        ];
        let outside = |(_, value, least, most): &(_, u64, u64, u64)| !(least..=most).contains(&value);
        let (key, value, least, most) = bounds.into_iter().find(outside)?;
        Some((key, format!("{value}: {least} to {most} is allowed")))
    }
}
