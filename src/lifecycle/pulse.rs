//! Reports whether one of the threads that the bridge needs has panicked. A thread that returns is no fault.

use std::sync::{Arc, OnceLock};

/// The watch over a set of threads. Clones share it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<OnceLock<&'static str>>);

/// The guard that a watched thread holds.
pub struct Watched {
    pulse: Pulse,
    thread: &'static str,
}

impl Pulse {
    /// The guard for the thread of this name, which must hold it until it ends.
    pub fn watch(&self, thread: &'static str) -> Watched {
        Watched {
            pulse: self.clone(),
            thread,
        }
    }

    /// The name of the first watched thread that has panicked.
    pub fn dead(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Only the first one is kept.
            self.pulse.0.set(self.thread).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_and_a_thread_that_returns_is_not() {
        let pulse = Pulse::default();
        let watched = pulse.watch("orderly");
        std::thread::spawn(move || drop(watched)).join().unwrap();
        assert_eq!(pulse.dead(), None);
        for thread in ["first", "second"] {
            let watched = pulse.watch(thread);
            let panicked = std::thread::spawn(move || {
                let _watched = watched;
                panic!("as a test");
            });
            assert!(panicked.join().is_err());
            assert_eq!(pulse.dead(), Some("first"));
        }
    }
}
