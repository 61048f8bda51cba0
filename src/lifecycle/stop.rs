//! The request to stop, for threads and for tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A flag that is raised once. Clones share it.
#[derive(Clone, Default)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Raises the flag.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is raised.
    pub async fn raised(&self) {
        self.0
            .subscribe()
            .wait_for(|raised| *raised)
            .await
            .expect("a sender lives in self");
    }

    /// Blocks a thread for `time`, or until the flag is raised, which it checks every 50 ms.
    pub fn pause(&self, time: Duration) {
        let until = std::time::Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || self.is_raised() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}
