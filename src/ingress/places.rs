//! The places that a worker thread has for connections, and who holds them. A connection that has brought a verified request
//! keeps its place for as long as it likes; a stranger's is his until an IM server needs it. Knows no bytes and no HTTP.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Metrics;

/// Strangers beside those for whom there is room, for as long as they have only just come: a crowd that comes at once must not
/// push out an honest caller in the middle of his handshake.
pub(super) const COMING: usize = 64;
const JUST_COME: Duration = Duration::from_secs(1);

thread_local! {
    /// Both ports' connections are served by the same threads, and share their places.
    static PLACES: Rc<Places> = Rc::default();
}

/// The connections of one worker thread.
#[derive(Default)]
struct Places {
    open: Cell<usize>,
    /// Of these, those that have lost their places.
    leaving: Cell<usize>,
    so_far: Cell<u64>,
    /// Those that have not brought a verified request, the oldest first.
    strangers: RefCell<BTreeMap<u64, Weak<Connection>>>,
}

impl Places {
    /// Takes the oldest stranger off the list, if his place is needed.
    fn stranger_in_excess_of(&self, room: usize) -> Option<Rc<Connection>> {
        let taken = self.open.get() - self.leaving.get();
        let mut strangers = self.strangers.borrow_mut();
        let oldest = strangers.first_entry()?;
        let stranger = oldest.get().upgrade()?;
        let goes = taken >= room && stranger.since.elapsed() >= JUST_COME || taken >= room + COMING;
        goes.then(|| oldest.remove())?;
        Some(stranger)
    }
}

/// What is known of a connection, from its first moment to its last.
pub(super) struct Connection {
    places: Rc<Places>,
    /// Where to count what becomes of it.
    pub metrics: Metrics,
    number: u64,
    since: Instant,
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
        while let Some(stranger) = places.stranger_in_excess_of(room) {
            stranger.crowd_out();
        }
        let connection = Rc::new(Connection {
            number: places.so_far.get(),
            since: Instant::now(),
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
        if !self.closed.replace(true) {
            self.places.leaving.set(self.places.leaving.get() + 1);
        }
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
        if self.closed.get() {
            self.places.leaving.set(self.places.leaving.get() - 1);
        }
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
        let known = accept();
        known.hear();
        known.verify();
        let strangers: Vec<_> = (0..COMING + 4).map(|_| accept()).collect();
        // Room for three and for those who have just come, of which one is kept free.
        let closed = strangers.iter().filter(|stranger| stranger.is_closed(Waker::noop()));
        assert_eq!(closed.map(|stranger| stranger.number).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(!known.is_closed(Waker::noop()));
        assert_eq!(metrics.refused.with_label_values(&["none", "crowded_out"]).get(), 3);
        strangers.iter().for_each(|stranger| stranger.verify());
        let last = accept();
        let next = accept();
        assert_eq!([&last, &next].map(|one| one.is_closed(Waker::noop())), [true, false]);
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
