//! Whether the threads that the bridge cannot do without are there. A thread that ends in order is no fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Beats until a watched thread panics. Clones share it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<AtomicBool>);

/// Held by the thread that is watched.
pub struct Watched(Pulse);

impl Pulse {
    /// What the thread holds until it ends.
    pub fn watch(&self) -> Watched {
        Watched(self.clone())
    }

    /// Whether no watched thread has panicked.
    pub fn beats(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.0.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_it_and_an_end_in_order_does_not() {
        let pulse = Pulse::default();
        let watched = pulse.watch();
        std::thread::spawn(move || drop(watched)).join().unwrap();
        assert!(pulse.beats());
        let watched = pulse.watch();
        let panicked = std::thread::spawn(move || {
            let _watched = watched;
            panic!("as a test");
        });
        assert!(panicked.join().is_err());
        assert!(!pulse.beats());
    }
}
