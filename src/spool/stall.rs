//! For how long a position has not moved although something waits, by the monotonic clock. It does no I/O and reads no
//! record's time, so a change of the machine's clock does not affect it.

use std::time::{Duration, Instant};

/// The position that was seen last, and when it moved last. `None` if nothing waits.
#[derive(Debug, Default)]
pub(super) struct Stall(Option<(u64, Instant)>);

impl Stall {
    /// Takes the current positions. Returns for how long `delivered` has not moved.
    pub fn observe(&mut self, appended: u64, delivered: u64, now: Instant) -> Duration {
        self.0 = match self.0 {
            _ if appended <= delivered => None,
            Some((seen, since)) if seen == delivered => Some((seen, since)),
            _ => Some((delivered, now)),
        };
        self.0
            .map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_last_delivery_or_from_when_the_spool_was_no_longer_empty() {
        let (mut stall, begun) = (Stall::default(), Instant::now());
        let mut seconds = |at, appended, delivered| {
            let age = stall.observe(appended, delivered, begun + Duration::from_secs(at));
            age.as_secs()
        };
        // Nothing waits.
        assert_eq!([seconds(0, 7, 7), seconds(1000, 7, 7)], [0, 0]);
        // Appends in between do not change the time.
        assert_eq!(
            [seconds(1001, 8, 7), seconds(1011, 9, 7), seconds(1061, 99, 7)],
            [0, 10, 60]
        );
        // A delivery resets it, although other records still wait.
        assert_eq!([seconds(1062, 99, 8), seconds(1070, 99, 8)], [0, 8]);
        assert_eq!([seconds(1071, 99, 99), seconds(1080, 100, 99)], [0, 0]);
    }
}
