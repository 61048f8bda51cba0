//! The public port: callbacks in, answers out. It knows the HTTP server, the providers and the spool's appender; it knows
//! neither Avro nor Kafka.
//!
//! | path | what |
//! |---|---|
//! | `POST /tencent` | Tencent's callbacks, everything in the query |
//! | `POST /openim/<command>`, `POST /openim/<secret>/<command>` | OpenIM's callbacks |

mod body;
mod config;
mod connections;
mod handler;
mod metrics;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use arc_swap::ArcSwap;

pub use config::Config;
pub use metrics::Metrics;

use crate::provider::Providers;
use crate::spool::Appender;
use connections::Connection;
use handler::Worker;
use refusals::Refusals;

/// A server that is bound and not yet running, and the address it got. Requests that come after a change of `providers`
/// are judged by the new ones.
///
/// # Errors
/// When the address is not to be had.
pub fn bind(
    config: &Config,
    providers: Arc<ArcSwap<Providers>>,
    appender: Appender,
    metrics: Metrics,
) -> std::io::Result<(Server, SocketAddr)> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let (open, unheard) = (metrics.connections.clone(), metrics.unheard());
    let held = Arc::default();
    let settings = config.clone();
    let worker = move || {
        let worker = Worker {
            config: settings.clone(),
            providers: Arc::clone(&providers),
            lane: appender.lane(),
            metrics: metrics.clone(),
            refusals: Refusals::default(),
            commands: Default::default(),
            held: Arc::clone(&held),
        };
        // A worker's state stays in its thread; actix wants it behind its own pointer.
        App::new()
            .app_data(web::Data::new(worker))
            .default_service(web::to(handler::handle))
    };
    let listener = connections::listen(&config.listen)?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(worker)
        .workers(workers)
        .on_connect(move |_, data| {
            data.insert(Connection::new(open.clone(), unheard.clone()));
        })
        .tcp_nodelay(true)
        .max_connections(connections::room(config.max_connections, workers))
        .keep_alive(Duration::from_secs(config.keep_alive_s))
        .client_request_timeout(Duration::from_secs(config.head_timeout_s))
        .client_disconnect_timeout(Duration::from_secs(2))
        .shutdown_timeout(config.shutdown_timeout_s)
        .disable_signals();
    Ok((server.listen(listener)?.run(), address))
}
