//! The connections of a worker thread, and their limit. A connection that has brought a verified request keeps its place. At the
//! limit, the oldest unverified connection is closed in favour of a new one. This file knows no bytes and no HTTP.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Metrics;

/// Unverified connections that a worker accepts above its limit while they are new. Without these, a crowd of new connections could
/// close an honest caller's connection during its handshake.
pub(super) const NEW_CONNECTIONS: usize = 64;
/// How long a connection is new.
const NEW: Duration = Duration::from_secs(1);

thread_local! {
    /// The same threads serve the connections of both ports, which share one limit.
    static CONNECTIONS: Rc<WorkerConnections> = Rc::default();
}

/// The connections of one worker thread.
#[derive(Default)]
struct WorkerConnections {
    open: Cell<usize>,
    /// Open connections that are being closed.
    closing: Cell<usize>,
    /// All connections since the start.
    accepted: Cell<u64>,
    /// Connections that have not brought a verified request, the oldest first.
    unverified: RefCell<BTreeMap<u64, Weak<Connection>>>,
}

impl WorkerConnections {
    /// Removes the oldest unverified connection from the list, if its place is needed.
    fn unverified_above(&self, room: usize) -> Option<Rc<Connection>> {
        let taken = self.open.get() - self.closing.get();
        let mut unverified = self.unverified.borrow_mut();
        let oldest = unverified.first_entry()?;
        let connection = oldest.get().upgrade()?;
        let is_old = connection.accepted_at.elapsed() >= NEW;
        let is_needed = taken >= room && is_old || taken >= room + NEW_CONNECTIONS;
        is_needed.then(|| oldest.remove())?;
        Some(connection)
    }
}

/// The state of one connection.
pub(super) struct Connection {
    others: Rc<WorkerConnections>,
    pub metrics: Metrics,
    number: u64,
    accepted_at: Instant,
    /// Whether it has brought a request, or was closed and counted for another reason than `no_request`.
    is_counted: Cell<bool>,
    is_verified: Cell<bool>,
    is_closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    is_in_request: Cell<bool>,
    head_since: Cell<Option<Instant>>,
}

impl Connection {
    /// Registers a new connection of this thread, and closes unverified ones above the limit `room`.
    pub fn accept(room: usize, metrics: &Metrics) -> Rc<Connection> {
        let others = CONNECTIONS.with(Rc::clone);
        others.open.set(others.open.get() + 1);
        others.accepted.set(others.accepted.get() + 1);
        metrics.connections.inc();
        while let Some(connection) = others.unverified_above(room) {
            metrics.refused.with_label_values(&["none", "crowded_out"]).inc();
            connection.is_counted.set(true);
            connection.close();
        }
        let connection = Rc::new(Connection {
            number: others.accepted.get(),
            accepted_at: Instant::now(),
            metrics: metrics.clone(),
            is_counted: Cell::new(false),
            is_verified: Cell::new(false),
            is_closing: Cell::new(false),
            waker: RefCell::default(),
            is_in_request: Cell::new(false),
            head_since: Cell::new(None),
            others: Rc::clone(&others),
        });
        let mut unverified = others.unverified.borrow_mut();
        unverified.insert(connection.number, Rc::downgrade(&connection));
        connection
    }

    /// Closes this thread's unverified connections without a request in progress. For the shutdown, when no request is accepted any more.
    pub fn close_idle_unverified() {
        let others = CONNECTIONS.with(Rc::clone);
        let unverified: Vec<_> = others.unverified.borrow().values().filter_map(Weak::upgrade).collect();
        let idle = unverified.iter().filter(|connection| !connection.is_in_request.get());
        idle.for_each(|connection| connection.close());
    }

    fn close(&self) {
        if !self.is_closing.replace(true) {
            self.others.closing.set(self.others.closing.get() + 1);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it must be closed. If not, `waker` is woken when it must be.
    pub fn is_closing(&self, waker: &Waker) -> bool {
        if !self.is_verified.get() {
            self.waker
                .borrow_mut()
                .get_or_insert_with(|| waker.clone())
                .clone_from(waker);
        }
        self.is_closing.get()
    }

    /// Bytes were received. Outside of a request, they begin the next head.
    pub fn receive(&self) {
        if !self.is_in_request.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// The time at which the head of the current request began to arrive.
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// The head of a request has arrived.
    pub fn begin_request(&self) {
        self.is_counted.set(true);
        self.is_in_request.set(true);
        self.head_since.set(None);
    }

    /// It has brought a verified request.
    pub fn verify(&self) {
        if !self.is_verified.replace(true) {
            self.others.unverified.borrow_mut().remove(&self.number);
            self.waker.take();
        }
    }

    /// A request or handshake has ended.
    pub fn finish(&self) {
        self.is_in_request.set(false);
        self.head_since.set(None);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.others.open.set(self.others.open.get() - 1);
        if self.is_closing.get() {
            self.others.closing.set(self.others.closing.get() - 1);
        }
        self.others.unverified.borrow_mut().remove(&self.number);
        self.metrics.connections.dec();
        if !self.is_counted.get() {
            self.metrics.without_request().inc();
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
    fn the_oldest_unverified_connections_are_closed_and_no_verified_one() {
        let metrics = metrics();
        let accept = || Connection::accept(3, &metrics);
        let verified = accept();
        verified.begin_request();
        verified.verify();
        let unverified: Vec<_> = (0..NEW_CONNECTIONS + 4).map(|_| accept()).collect();
        // Room for three and for the new ones, of which one is kept free.
        let closing = unverified.iter().filter(|one| one.is_closing(Waker::noop()));
        assert_eq!(closing.map(|one| one.number).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(!verified.is_closing(Waker::noop()));
        assert_eq!(metrics.refused.with_label_values(&["none", "crowded_out"]).get(), 3);
        unverified.iter().for_each(|one| one.verify());
        let last = accept();
        let next = accept();
        assert_eq!([&last, &next].map(|one| one.is_closing(Waker::noop())), [true, false]);
    }

    #[test]
    fn a_connection_without_a_request_is_counted_when_it_ends() {
        let metrics = metrics();
        let [silent, speaking] = std::array::from_fn(|_| Connection::accept(9, &metrics));
        speaking.begin_request();
        assert_eq!((metrics.connections.get(), metrics.without_request().get()), (2, 0));
        drop(speaking);
        drop(silent);
        assert_eq!((metrics.connections.get(), metrics.without_request().get()), (0, 1));
    }

    #[test]
    fn a_head_begins_with_bytes_outside_of_a_request() {
        let connection = Connection::accept(9, &metrics());
        connection.receive();
        assert!(connection.head_since().is_some());
        connection.begin_request();
        connection.receive();
        assert!(connection.head_since().is_none(), "these belong to the body");
        connection.finish();
        connection.receive();
        assert!(connection.head_since().is_some());
    }
}
