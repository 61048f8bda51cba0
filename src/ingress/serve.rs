//! Leads an accepted connection to the handler: HTTP/1.1, plain or over TLS. The HTTP server of actix-web cannot watch over its
//! connections, so this file combines its parts.

use std::future::ready;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::GracefulShutdownSignal;
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Metrics;
use super::handler::{self, Worker};
use super::places::Connection;
use super::tls::Certificates;
use super::watched::WatchedStream;

/// How long a peer may take to close a connection after the bridge has closed its side.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The settings of a port's connections. Each thread of the server makes a service of it.
#[derive(Clone)]
pub(super) struct Port<W> {
    /// Makes the state that a thread's requests share.
    pub worker: W,
    /// Connections of a thread, both ports together.
    pub room: usize,
    pub keep_alive: Duration,
    pub head_timeout: Duration,
    pub metrics: Metrics,
    pub stop: GracefulShutdownSignal,
}

impl<W: Fn() -> Worker> Port<W> {
    /// Plain HTTP.
    pub fn http(&self) -> impl ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + use<W> {
        let watch = self.watch();
        fn_service(move |stream: TcpStream| ready(Ok(watch(stream))))
            .map(|mut watched: WatchedStream| {
                let peer = watched.peer();
                watched.is_recognised = false;
                (watched, peer)
            })
            .and_then(self.requests(|watched: &WatchedStream| &watched.connection))
    }

    /// HTTP over TLS. Counts handshakes.
    pub fn https(
        &self,
        certificates: Arc<Certificates>,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + use<W> {
        let (watch, timeout) = (self.watch(), self.head_timeout);
        let handshake = move |stream: TcpStream| {
            let (watched, certificates) = (watch(stream), Arc::clone(&certificates));
            async move {
                let (peer, connection) = (watched.peer(), Rc::clone(&watched.connection));
                let accept = TlsAcceptor::from(certificates.current.load_full()).accept(watched);
                let accepted = tokio::time::timeout(timeout, accept).await;
                let accepted = accepted.unwrap_or_else(|late| Err(late.into()));
                let outcome = if accepted.is_ok() { "done" } else { "failed" };
                let handshakes = &certificates.metrics.handshakes;
                handshakes.with_label_values(&[outcome]).inc();
                connection.finish();
                accepted.map(|stream| (stream, peer)).map_err(DispatchError::Io)
            }
        };
        fn_service(handshake)
            .and_then(self.requests(|stream: &TlsStream<WatchedStream>| &stream.get_ref().0.connection))
    }

    /// Registers a connection, and watches over it.
    fn watch(&self) -> impl Fn(TcpStream) -> WatchedStream + Clone + use<W> {
        let (room, metrics, head_timeout) = (self.room, self.metrics.clone(), self.head_timeout);
        move |stream| {
            stream.set_nodelay(true).ok();
            WatchedStream::new(stream, Connection::accept(room, &metrics), head_timeout)
        }
    }

    fn requests<T: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        connection: fn(&T) -> &Rc<Connection>,
    ) -> impl ServiceFactory<(T, Option<SocketAddr>), Config = (), Response = (), Error = DispatchError, InitError = ()>
    + use<T, W> {
        // The state of a worker stays in its thread. actix-web requires its own pointer type.
        let app = App::new()
            .app_data(web::Data::new((self.worker)()))
            .default_service(web::to(handler::handle));
        let stop = self.stop.clone();
        actix_web::rt::spawn(async move {
            stop.notified().await;
            Connection::close_idle_unverified();
        });
        let stop = self.stop.clone();
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(self.keep_alive)
            .client_request_timeout(self.head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(move |stream: &T, data| _ = data.insert(Rc::clone(connection(stream))))
            .h1(map_config(app, |()| AppConfig::default()))
    }
}
