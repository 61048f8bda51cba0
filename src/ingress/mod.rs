//! The public ports take callbacks and answer them: one with plain HTTP, one with TLS, or both. This part knows the HTTP server, the
//! providers and the spool's appender. It does not know Avro and Kafka.
//!
//! | path | what |
//! |---|---|
//! | `POST /tencent` | Tencent's callbacks, everything in the query |
//! | `POST /openim/<command>`, `POST /openim/<secret>/<command>` | OpenIM's callbacks |
//! | `GET /`, `GET /healthz`, also `HEAD` | 200 while a callback can be made durable, otherwise 503: for load balancers |

mod body;
mod bounds;
mod client;
mod config;
mod connections;
mod handler;
mod hello;
mod metrics;
mod places;
mod refusals;
mod serve;
pub mod tls;
mod watched;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use arc_swap::ArcSwap;

pub use client::ProxyHeader;
pub use config::Config;
pub use metrics::Metrics;

use crate::provider::Providers;
use crate::spool::Appender;
use body::HeldBytes;
use handler::Worker;
use serve::Port;
use tls::Certificates;

/// A server that is bound but does not run yet, and its addresses.
pub struct Bound {
    /// The server. It runs when it is polled.
    pub server: Server,
    /// The port for plain HTTP, if configured.
    pub http: Option<SocketAddr>,
    /// The port for TLS, if configured.
    pub https: Option<SocketAddr>,
}

/// Binds the public ports. After a change of `providers`, new requests are verified by the new ones.
///
/// # Errors
/// If an address cannot be bound. The message names its key.
pub fn bind(
    config: &Config,
    providers: Arc<ArcSwap<Providers>>,
    appender: Appender,
    metrics: Metrics,
    certificates: Option<Arc<Certificates>>,
) -> std::io::Result<Bound> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let connection_metrics = metrics.clone();
    let held = Arc::new(HeldBytes::new(metrics.held.clone()));
    let settings = config.clone();
    let worker = move || Worker {
        config: settings.clone(),
        providers: Arc::clone(&providers),
        lane: appender.lane(),
        metrics: metrics.clone(),
        commands: Default::default(),
        held: Arc::clone(&held),
        echoes: HeldBytes::new(metrics.held.clone()),
    };
    let room = connections::room(config.max_connections, workers);
    let mut server = Server::build()
        .workers(workers)
        .max_concurrent_connections(room + places::NEW_CONNECTIONS)
        .shutdown_timeout(config.shutdown_timeout_s)
        .disable_signals();
    let port = Port {
        worker,
        room,
        keep_alive: Duration::from_secs(config.keep_alive_s),
        head_timeout: Duration::from_secs(config.head_timeout_s),
        metrics: connection_metrics,
        stop: server.graceful_shutdown_signal(),
    };
    let (mut http, mut https) = (None, None);
    if !config.listen.is_empty() {
        let listener = listen("server.listen", &config.listen)?;
        http = Some(listener.local_addr()?);
        let port = port.clone();
        server = server.listen("http", listener, move || port.http())?;
    }
    if let Some(certificates) = certificates {
        let listener = listen("server.tls.listen", &certificates.config.listen)?;
        https = Some(listener.local_addr()?);
        for outcome in ["done", "failed"] {
            certificates.metrics.handshakes.with_label_values(&[outcome]);
        }
        server = server.listen("https", listener, move || port.https(Arc::clone(&certificates)))?;
    }
    let server = server.run();
    Ok(Bound { server, http, https })
}

fn listen(key: &str, address: &str) -> std::io::Result<TcpListener> {
    connections::listen(address)
        .map_err(|cause| std::io::Error::new(cause.kind(), format!("cannot listen on {key} = {address:?}: {cause}")))
}
