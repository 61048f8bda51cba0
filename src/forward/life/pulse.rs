//! When messages are handed to librdkafka: in pulses, each with everything that has come since the one before. librdkafka sends one
//! partition's batch after the other, so what is in a partition's queue when its turn comes decides how much one request carries.

use std::time::{Duration, Instant};

/// With a pause, a pulse waits for the outcome of the one before too, which makes batches as large as the load wants them; but no
/// longer than this, so that a broker that hangs holds up its own partitions only.
const LATEST: Duration = Duration::from_millis(20);

pub(super) struct Pulse {
    /// The least time from one to the next.
    pause: Duration,
    /// When the last one ended; none while one is open.
    ended_at: Option<Instant>,
}

impl Pulse {
    /// Open until the first one ends.
    pub fn new(pause: Duration) -> Pulse {
        Pulse { pause, ended_at: None }
    }

    /// The time in which no outcome and no record can begin the next one.
    pub fn rest(&self, now: Instant) -> Duration {
        self.since_end(now)
            .map_or(Duration::ZERO, |since| self.pause.saturating_sub(since))
    }

    fn since_end(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.ended_at?))
    }

    /// The time until the next, with so many messages whose outcome is not known; zero while one is open.
    pub fn due(&self, in_flight: usize, now: Instant) -> Duration {
        let is_continuous = in_flight == 0 || self.pause.is_zero();
        let after = if is_continuous {
            self.pause
        } else {
            LATEST.max(self.pause)
        };
        self.since_end(now)
            .map_or(Duration::ZERO, |since| after.saturating_sub(since))
    }

    /// It is open.
    pub fn begin(&mut self) {
        self.ended_at = None;
    }

    /// Everything that there was is on its way.
    pub fn end(&mut self, now: Instant) {
        self.ended_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_pulse_waits_for_its_pause_and_for_outcomes_but_not_for_long() {
        let (pause, now) = (Duration::from_millis(5), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        let mut pulse = Pulse::new(pause);
        assert_eq!(pulse.due(9, now), Duration::ZERO, "nothing was before it");
        pulse.end(now);
        assert_eq!(pulse.due(0, later(1)), Duration::from_millis(4));
        assert_eq!(pulse.rest(later(1)), Duration::from_millis(4));
        assert_eq!(pulse.due(0, later(5)), Duration::ZERO);
        assert_eq!(pulse.due(1, later(5)), Duration::from_millis(15));
        assert_eq!(pulse.rest(later(6)), Duration::ZERO, "an outcome can begin the next");
        assert_eq!(pulse.due(1, later(20)), Duration::ZERO);
        pulse.begin();
        assert_eq!(pulse.due(1, later(21)), Duration::ZERO);
        let mut continuous = Pulse::new(Duration::ZERO);
        continuous.end(now);
        assert_eq!(continuous.due(9, now), Duration::ZERO);
    }
}
