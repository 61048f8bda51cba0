//! Whether the threads that the bridge cannot do without are there. A thread that ends in order is no fault.

use std::sync::{Arc, OnceLock};

/// Beats until a watched thread panics. Clones share it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<OnceLock<&'static str>>);

/// Held by the thread that is watched.
pub struct Watched {
    pulse: Pulse,
    thread: &'static str,
}

impl Pulse {
    /// What the thread of this name holds until it ends.
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
            // One that is dead already is enough.
            self.pulse.0.set(self.thread).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_it_and_an_end_in_order_does_not() {
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
