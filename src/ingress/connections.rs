//! Connections of the public port: how many the process has room for, how many there are, and how the operating system
//! finds those whose caller is gone. It knows nothing of requests but whether there was one.

use std::cell::Cell;
use std::net::TcpListener;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Callers who may wait to be taken, so that many who come at once need not knock twice, a second later.
const BACKLOG: i32 = 4096;
/// A caller who is silent for so long is asked whether he is there, and again, before his connection is closed.
const ASK_AFTER: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_TIMES: u32 = 6;
/// Files that the process needs beside callers' connections: the spool, Kafka's brokers, the registry, the admin port.
const OTHER_FILES: u64 = 256;

/// Binds the address. Accepted connections inherit the listener's settings.
pub(super) fn listen(address: &str) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // On a socket that listens already, this sets the length of its queue.
    rustix::net::listen(&listener, BACKLOG)?;
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(&listener, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(&listener, ASK_TIMES)?;
    Ok(listener)
}

/// Raises the limit on open files as far as the process may, and gives the connections that each worker can then take: as
/// many as `wanted`, or fewer, which is said.
pub(super) fn room(wanted: usize, workers: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // `None` is no limit at all.
    let files = setrlimit(Resource::Nofile, raised).map_or(current, |()| maximum);
    let room = within(files.unwrap_or(u64::MAX), wanted, workers);
    if room < wanted {
        warn!(
            files,
            "server.max_connections = {wanted} is cut to {room} for each worker: raise the limit on open files (ulimit -n)"
        );
    }
    room
}

fn within(files: u64, wanted: usize, workers: usize) -> usize {
    let each = files.saturating_sub(OTHER_FILES) / workers as u64;
    wanted.min(usize::try_from(each).unwrap_or(usize::MAX)).max(1)
}

/// A connection, from its first moment to its last.
pub(super) struct Connection {
    open: IntGauge,
    unheard: IntCounter,
    heard: Cell<bool>,
}

impl Connection {
    /// Counts it among the open ones; once it ends, and nobody has heard a request, as one of those.
    pub fn new(open: IntGauge, unheard: IntCounter) -> Connection {
        open.inc();
        Connection {
            open,
            unheard,
            heard: Cell::new(false),
        }
    }

    /// A request came.
    pub fn hear(&self) {
        self.heard.set(true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
        if !self.heard.get() {
            self.unheard.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(within(1024, 10_000, 2), 384);
        assert_eq!(within(1 << 20, 10_000, 2), 10_000);
        assert_eq!(
            within(100, 10_000, 8),
            1,
            "too few files for anything, and still one caller at a time"
        );
        assert_eq!(within(u64::MAX, usize::MAX, 1), (u64::MAX - OTHER_FILES) as usize);
    }

    #[test]
    fn a_connection_without_a_request_is_counted_when_it_ends() {
        let (open, unheard) = (
            IntGauge::new("open", "Open.").unwrap(),
            IntCounter::new("unheard", "Unheard.").unwrap(),
        );
        let [silent, speaking] = std::array::from_fn(|_| Connection::new(open.clone(), unheard.clone()));
        speaking.hear();
        assert_eq!((open.get(), unheard.get()), (2, 0));
        drop(speaking);
        drop(silent);
        assert_eq!((open.get(), unheard.get()), (0, 1));
    }
}
