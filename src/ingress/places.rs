//! The places that a worker thread has for connections, and who holds them. A connection that has brought a verified request
//! keeps its place for as long as it likes; a stranger's is his until an IM server needs it. Knows no bytes and no HTTP.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Instant;

use super::Metrics;

thread_local! {
    /// Both ports' connections are served by the same threads, and share their places.
    static PLACES: Rc<Places> = Rc::default();
}

/// The connections of one worker thread.
#[derive(Default)]
struct Places {
    open: Cell<usize>,
    so_far: Cell<u64>,
    /// Those that have not brought a verified request, the oldest first.
    strangers: RefCell<BTreeMap<u64, Weak<Connection>>>,
}

/// What is known of a connection, from its first moment to its last.
pub(super) struct Connection {
    places: Rc<Places>,
    /// Where to count what becomes of it.
    pub metrics: Metrics,
    number: u64,
    heard: Cell<bool>,
    verified: Cell<bool>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    in_request: Cell<bool>,
    head_since: Cell<Option<Instant>>,
}

impl Connection {
    /// Gives it a place in this thread; where it is the last of `room`, the stranger who has been there longest goes, so that
    /// there is one for who comes next.
    pub fn accept(room: usize, metrics: &Metrics) -> Rc<Connection> {
        let places = PLACES.with(Rc::clone);
        places.open.set(places.open.get() + 1);
        places.so_far.set(places.so_far.get() + 1);
        metrics.connections.inc();
        if places.open.get() >= room {
            let oldest = places.strangers.borrow_mut().pop_first();
            if let Some(stranger) = oldest.and_then(|(_, stranger)| stranger.upgrade()) {
                stranger.crowd_out();
            }
        }
        let connection = Rc::new(Connection {
            number: places.so_far.get(),
            metrics: metrics.clone(),
            heard: Cell::new(false),
            verified: Cell::new(false),
            closed: Cell::new(false),
            waker: RefCell::default(),
            in_request: Cell::new(false),
            head_since: Cell::new(None),
            places: Rc::clone(&places),
        });
        let mut strangers = places.strangers.borrow_mut();
        strangers.insert(connection.number, Rc::downgrade(&connection));
        connection
    }

    /// Closes those of strangers, of this thread, that are not in a request: nothing is to come any more.
    pub fn close_idle_strangers() {
        let places = PLACES.with(Rc::clone);
        let strangers: Vec<_> = places.strangers.borrow().values().filter_map(Weak::upgrade).collect();
        let idle = strangers.iter().filter(|stranger| !stranger.in_request.get());
        idle.for_each(|stranger| stranger.close());
    }

    /// Takes its place away.
    fn crowd_out(&self) {
        self.metrics.refused.with_label_values(&["none", "crowded_out"]).inc();
        self.heard.set(true);
        self.close();
    }

    fn close(&self) {
        self.closed.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether its place is needed. If not yet, `waker` is told.
    pub fn is_closed(&self, waker: &Waker) -> bool {
        if !self.verified.get() {
            self.waker
                .borrow_mut()
                .get_or_insert_with(|| waker.clone())
                .clone_from(waker);
        }
        self.closed.get()
    }

    /// Bytes came in.
    pub fn stir(&self) {
        if !self.in_request.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Since when the head of a request has been arriving.
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// A request's head is there.
    pub fn hear(&self) {
        self.heard.set(true);
        self.in_request.set(true);
        self.head_since.set(None);
    }

    /// Its sender is known.
    pub fn verify(&self) {
        if !self.verified.replace(true) {
            self.places.strangers.borrow_mut().remove(&self.number);
            self.waker.take();
        }
    }

    /// What was in progress, a request or a handshake, is over.
    pub fn rest(&self) {
        self.in_request.set(false);
        self.head_since.set(None);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.places.open.set(self.places.open.get() - 1);
        self.places.strangers.borrow_mut().remove(&self.number);
        self.metrics.connections.dec();
        if !self.heard.get() {
            self.metrics.unheard().inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&prometheus::Registry::new()).unwrap()
    }

    #[test]
    fn of_strangers_the_oldest_goes_and_of_the_verified_none() {
        let metrics = metrics();
        let accept = || Connection::accept(3, &metrics);
        let closed = |connections: &[&Rc<Connection>]| -> Vec<bool> {
            let is_closed = |connection: &&Rc<Connection>| connection.is_closed(Waker::noop());
            connections.iter().map(is_closed).collect()
        };
        let known = accept();
        known.hear();
        known.verify();
        let first = accept();
        assert_eq!(
            closed(&[&known, &first]),
            [false, false],
            "there is a place for one more"
        );
        let second = accept();
        assert_eq!(closed(&[&known, &first, &second]), [false, true, false]);
        drop(first);
        let third = accept();
        assert_eq!(closed(&[&known, &second, &third]), [false, true, false]);
        drop(second);
        third.verify();
        let last = accept();
        assert_eq!(closed(&[&known, &third, &last]), [false; 3]);
        assert_eq!(metrics.refused.with_label_values(&["none", "crowded_out"]).get(), 2);
    }

    #[test]
    fn a_connection_without_a_request_is_counted_when_it_ends() {
        let metrics = metrics();
        let [silent, speaking] = std::array::from_fn(|_| Connection::accept(9, &metrics));
        speaking.hear();
        assert_eq!((metrics.connections.get(), metrics.unheard().get()), (2, 0));
        drop(speaking);
        drop(silent);
        assert_eq!((metrics.connections.get(), metrics.unheard().get()), (0, 1));
    }

    #[test]
    fn a_head_begins_with_bytes_outside_of_a_request() {
        let connection = Connection::accept(9, &metrics());
        connection.stir();
        assert!(connection.head_since().is_some());
        connection.hear();
        connection.stir();
        assert!(connection.head_since().is_none(), "these are of the body");
        connection.rest();
        connection.stir();
        assert!(connection.head_since().is_some());
    }
}
