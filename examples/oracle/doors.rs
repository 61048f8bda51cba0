//! The way to the bridges: one of several at random, as through a load balancer. It knows nothing of events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Options;
use crate::client::Connection;

/// Between two attempts to connect while all bridges are away.
const RECONNECT: Duration = Duration::from_millis(5);
/// For how long a bridge that was away is left out, while there are others; twice as long as it was waited for, where that is more.
const LEFT_OUT: Duration = Duration::from_secs(1);

/// One client's connections, at most one to each bridge.
pub struct Doors {
    doors: Vec<Door>,
    timeout: Duration,
}

struct Door {
    port: u16,
    connection: Option<Connection>,
    left_out_until: Instant,
}

/// A connection that carries one request; it comes back by [`Doors::keep`] or [`Doors::give_up`].
pub struct Way {
    pub connection: Connection,
    pub port: u16,
}

impl Doors {
    pub fn new(options: &Options) -> Doors {
        let door = |port: &u16| Door {
            port: *port,
            connection: None,
            left_out_until: Instant::now(),
        };
        Doors {
            doors: options.port.iter().map(door).collect(),
            timeout: Duration::from_millis(options.timeout_ms),
        }
    }

    /// A way to any bridge that takes a connection; nothing when the load is to stop.
    pub fn any(&mut self, stop: &AtomicBool) -> Option<Way> {
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            fastrand::shuffle(&mut self.doors);
            self.doors.sort_by_key(|door| door.left_out_until > now);
            for door in &mut self.doors {
                // One that the bridge has closed meanwhile has carried nothing: the event goes by a new one.
                let kept = door.connection.take().filter(Connection::is_open);
                match kept.or_else(|| Connection::open_with(door.port, self.timeout)) {
                    Some(connection) => {
                        return Some(Way {
                            connection,
                            port: door.port,
                        });
                    }
                    None => door.left_out_until = now + LEFT_OUT,
                }
            }
            std::thread::sleep(RECONNECT);
        }
        None
    }

    /// Takes a way back on which an answer came.
    pub fn keep(&mut self, way: Way) {
        if let Some(door) = self.doors.iter_mut().find(|door| door.port == way.port) {
            door.connection = Some(way.connection);
        }
    }

    /// Closes a way on which no answer came, after so long: a late one would be taken for that of the next request.
    pub fn give_up(&mut self, way: Way, waited: Duration) {
        if let Some(door) = self.doors.iter_mut().find(|door| door.port == way.port) {
            door.left_out_until = Instant::now() + LEFT_OUT.max(2 * waited);
        }
    }
}
