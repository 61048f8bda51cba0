//! The listening sockets of the public ports: how many connections the process can take, and how the operating system detects
//! callers that have disappeared.

use std::net::TcpListener;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::places::NEW_CONNECTIONS;

/// Connections that may wait to be accepted. If thousands connect at once, a shorter queue drops some, and they retry a second later.
const BACKLOG: i32 = 4096;
/// TCP keep-alive: a connection is closed after two minutes without a sign of its caller.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;
/// File descriptors for everything except callers' connections: the spool, Kafka's brokers, the registry, the admin port.
const OTHER_FILES: u64 = 256;

/// Binds the address. Accepted connections inherit the listener's settings.
pub(super) fn listen(address: &str) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // The socket listens already. A second call sets the length of its queue.
    rustix::net::listen(&listener, BACKLOG)?;
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&listener, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&listener, KEEPALIVE_PROBES)?;
    Ok(listener)
}

/// Raises the limit on open files as far as the process may. Returns the connections that each worker can take: `wanted`, or
/// fewer with a warning.
pub(super) fn room(wanted: usize, workers: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // `None` means unlimited.
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
    let each = (files.saturating_sub(OTHER_FILES) / workers as u64).saturating_sub(NEW_CONNECTIONS as u64);
    wanted.min(usize::try_from(each).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(within(1024, 10_000, 2), 320);
        assert_eq!(within(1 << 20, 10_000, 2), 10_000);
        assert_eq!(
            within(100, 10_000, 8),
            1,
            "too few files, but one connection is always allowed"
        );
        assert_eq!(
            within(u64::MAX, usize::MAX, 1),
            (u64::MAX - OTHER_FILES) as usize - NEW_CONNECTIONS
        );
    }
}
