//! When messages are handed to librdkafka: in pulses, each with everything that has come since the last. librdkafka sends one partition's
//! batch after the other, so the batch of a request has what its partition's queue holds at its turn.

use std::time::{Duration, Instant};

/// Where there is a pause, the next pulse also waits for the outcome of the last one, so that batches grow with the load; but no longer
/// than this, so that a broker that hangs holds up its own partitions only.
const LATEST: Duration = Duration::from_millis(20);

pub(super) struct Pulse {
    /// The least time from the end of a pulse to the next.
    pause: Duration,
    /// When the last pulse ended; `None` while one is open.
    ended_at: Option<Instant>,
}

impl Pulse {
    /// The first pulse is open at once.
    pub fn new(pause: Duration) -> Pulse {
        Pulse { pause, ended_at: None }
    }

    /// The rest of the pause, in which nothing begins the next pulse.
    pub fn rest(&self, now: Instant) -> Duration {
        self.since_end(now)
            .map_or(Duration::ZERO, |since| self.pause.saturating_sub(since))
    }

    fn since_end(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.ended_at?))
    }

    /// The time until the next pulse, with so many messages in flight; zero while one is open.
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

    /// Opens a pulse.
    pub fn begin(&mut self) {
        self.ended_at = None;
    }

    /// Ends the pulse: every waiting message was handed over.
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
