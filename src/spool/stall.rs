//! For how long records have waited without one of them being delivered, by the monotonic clock. It has no I/O, and no
//! record's time is looked at: a machine's clock that was set forward or back falsifies nothing.

use std::time::{Duration, Instant};

/// What was seen last. Records that wait, and since when none of them was delivered; `None` where none waits.
#[derive(Debug, Default)]
pub(super) struct Stall(Option<(u64, Instant)>);

impl Stall {
    /// Looks at the positions; gives for how long nothing has moved.
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
    fn it_counts_from_the_last_delivery_or_from_when_the_spool_was_no_longer_empty() {
        let (mut stall, begun) = (Stall::default(), Instant::now());
        let mut seconds = |at, appended, delivered| {
            let age = stall.observe(appended, delivered, begun + Duration::from_secs(at));
            age.as_secs()
        };
        // Nothing waits, for however long.
        assert_eq!([seconds(0, 7, 7), seconds(1000, 7, 7)], [0, 0]);
        // What is appended meanwhile changes nothing.
        assert_eq!(
            [seconds(1001, 8, 7), seconds(1011, 9, 7), seconds(1061, 99, 7)],
            [0, 10, 60]
        );
        // One that is delivered does, although others wait on.
        assert_eq!([seconds(1062, 99, 8), seconds(1070, 99, 8)], [0, 8]);
        assert_eq!([seconds(1071, 99, 99), seconds(1080, 100, 99)], [0, 0]);
    }
}
