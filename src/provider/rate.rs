//! The rate limit of one sender.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A sender's limit, over all connections and workers.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    per_s: NonZeroU32,
    burst: Option<NonZeroU32>,
    limiter: Arc<DefaultDirectRateLimiter>,
}

impl Rate {
    /// Admits `per_s` callbacks a second and `burst` at once; `per_s` if `burst` is `None`.
    pub fn new(per_s: NonZeroU32, burst: Option<NonZeroU32>) -> Rate {
        let quota = Quota::per_second(per_s).allow_burst(burst.unwrap_or(per_s));
        Rate {
            per_s,
            burst,
            limiter: Arc::new(RateLimiter::direct(quota)),
        }
    }

    /// Keeps the limiter `before` with its state if the numbers are the same, and makes a new one otherwise.
    pub fn renewed(per_s: NonZeroU32, burst: Option<NonZeroU32>, before: Option<&Rate>) -> Rate {
        let same = before.filter(|before| (before.per_s, before.burst) == (per_s, burst));
        same.cloned().unwrap_or_else(|| Rate::new(per_s, burst))
    }

    /// Counts one more callback. The error is the time until the next one is admitted.
    pub fn admit(&self) -> Result<(), Duration> {
        let until = |refused: governor::NotUntil<_>| refused.wait_time_from(DefaultClock::default().now());
        self.limiter.check().map_err(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_in_a_second() {
        let [one, five] = [1, 5].map(|number| NonZeroU32::new(number).unwrap());
        let rate = Rate::new(one, Some(five));
        let admitted = (0..100).filter(|_| rate.admit().is_ok()).count();
        assert!((5..=6).contains(&admitted), "{admitted} of 100 at once");
        let wait = rate.admit().unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::ZERO, "{wait:?}");
        let again = Rate::renewed(one, Some(five), Some(&rate));
        assert!(
            (0..100).filter(|_| again.admit().is_ok()).count() <= 1,
            "the same limiter is used up"
        );
        let other = Rate::renewed(one, None, Some(&rate));
        assert!(other.admit().is_ok(), "other numbers start a new one");
        let plain = Rate::new(five, None);
        assert!((5..=6).contains(&(0..100).filter(|_| plain.admit().is_ok()).count()));
    }
}
