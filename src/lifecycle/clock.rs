//! The wall clock, in the unit of all times that are stored or sent.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 if the machine's clock is set before that.
pub fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
