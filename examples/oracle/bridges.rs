//! Connections to the bridges. Each request goes to a random bridge, as through a load balancer. Knows nothing of events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Options;
use crate::client::Connection;

/// The wait between two attempts to connect while no bridge accepts connections.
const RECONNECT: Duration = Duration::from_millis(5);
/// For how long a bridge that refused a connection or did not answer is avoided, if there are others. If the wait for the
/// answer took longer than half of this, it is avoided for twice as long as the wait.
const AVOID: Duration = Duration::from_secs(1);

/// One client's connections, at most one to each bridge.
pub struct Bridges {
    bridges: Vec<Bridge>,
    timeout: Duration,
}

struct Bridge {
    port: u16,
    connection: Option<Connection>,
    avoid_until: Instant,
}

/// A connection for one request. It must be returned by [`Bridges::keep`] or [`Bridges::give_up`].
pub struct BridgeConnection {
    pub connection: Connection,
    pub port: u16,
}

impl Bridges {
    pub fn new(options: &Options) -> Bridges {
        let bridge = |port: &u16| Bridge {
            port: *port,
            connection: None,
            avoid_until: Instant::now(),
        };
        Bridges {
            bridges: options.port.iter().map(bridge).collect(),
            timeout: Duration::from_millis(options.timeout_ms),
        }
    }

    /// A connection to any bridge that accepts one. None if the load must stop.
    pub fn any(&mut self, stop: &AtomicBool) -> Option<BridgeConnection> {
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            fastrand::shuffle(&mut self.bridges);
            self.bridges.sort_by_key(|bridge| bridge.avoid_until > now);
            for bridge in &mut self.bridges {
                // A connection that the bridge has closed carried no part of this event, so a new one is opened.
                let kept = bridge.connection.take().filter(Connection::is_open);
                match kept.or_else(|| Connection::open_with(bridge.port, self.timeout)) {
                    Some(connection) => {
                        return Some(BridgeConnection {
                            connection,
                            port: bridge.port,
                        });
                    }
                    None => bridge.avoid_until = now + AVOID,
                }
            }
            std::thread::sleep(RECONNECT);
        }
        None
    }

    /// Returns a connection after an answer, for further requests.
    pub fn keep(&mut self, lent: BridgeConnection) {
        if let Some(bridge) = self.bridges.iter_mut().find(|bridge| bridge.port == lent.port) {
            bridge.connection = Some(lent.connection);
        }
    }

    /// Closes a connection on which no answer came during `waited`. A late answer would be taken for that of the next request.
    pub fn give_up(&mut self, lent: BridgeConnection, waited: Duration) {
        if let Some(bridge) = self.bridges.iter_mut().find(|bridge| bridge.port == lent.port) {
            bridge.avoid_until = Instant::now() + AVOID.max(2 * waited);
        }
    }
}
