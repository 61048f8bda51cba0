//! Connections of the public port: how many the process has room for, and how the operating system finds those whose caller
//! is gone.

use std::net::TcpListener;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::places::COMING;

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
    let each = (files.saturating_sub(OTHER_FILES) / workers as u64).saturating_sub(COMING as u64);
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
            "too few files for anything, and still one caller at a time"
        );
        assert_eq!(
            within(u64::MAX, usize::MAX, 1),
            (u64::MAX - OTHER_FILES) as usize - COMING
        );
    }
}
