//! What every test here needs: a bridge, a Kafka, a client, the oracle, and independent readers.

pub mod bridge;
pub mod client;
pub mod kafka;
pub mod oracle;
pub mod reader;
pub mod registry;
pub mod schemas;

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; fails the test after a minute, saying what it waited for.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
