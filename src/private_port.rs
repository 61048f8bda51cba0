//! Serves a port that is not public, the admin port or the schemas' port. Each has a thread of its own, so that it answers while the
//! public port is under load. It does not know what the port serves.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};

/// More than probes, scrapers and deserializers open.
const CONNECTIONS_MAX: usize = 256;

/// Serves `routes` at `listen` on a thread of this name, until `stop` has ended. Returns the bound address.
///
/// # Errors
/// If the address cannot be bound, or the operating system cannot start a thread.
pub fn serve(
    name: &str,
    listen: &str,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    let run = move || {
        actix_web::rt::System::new().block_on(async {
            let server = HttpServer::new(move || App::new().configure(routes.clone()))
                .workers(1)
                .max_connections(CONNECTIONS_MAX)
                .disable_signals()
                .listen(listener)?
                .run();
            let handle = server.handle();
            actix_web::rt::spawn(async move {
                stop.await;
                handle.stop(false).await;
            });
            server.await
        })
    };
    std::thread::Builder::new().name(name.into()).spawn(run)?;
    Ok(address)
}
