//! From an accepted connection to the handler: HTTP/1.1 as it comes, or TLS and the version of HTTP that it agrees upon. The
//! server library's own way has no place for a bound on HTTP/2 heads, so its parts are put together here.

use std::net::SocketAddr;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::GracefulShutdownSignal;
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use prometheus::IntCounter;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Metrics;
use super::connections::Connection;
use super::handler::{self, Worker};
use super::heads::BoundedHeads;
use super::streams::Streams;

/// For a peer that has been told to go.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What every connection of a port gets; each of the server's threads makes a service of it.
#[derive(Clone)]
pub(super) struct Port<W> {
    /// Makes what a thread's requests share.
    pub worker: W,
    pub keep_alive: Duration,
    pub head_timeout: Duration,
    pub metrics: Metrics,
    pub stop: GracefulShutdownSignal,
}

impl<W: Fn() -> Worker> Port<W> {
    /// Plain HTTP/1.1.
    pub fn http(&self) -> impl ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + use<W> {
        let metrics = self.metrics.clone();
        fn_service(move |connection: TcpStream| {
            connection.set_nodelay(true).ok();
            let peer = connection.peer_addr().ok();
            let connection = BoundedHeads::greeted(connection, metrics.clone(), peer);
            async move { Ok((connection, Protocol::Http1, peer)) }
        })
        .and_then(self.requests())
    }

    /// TLS, and HTTP/2 where the peer wants it; counts handshakes.
    pub fn https(
        &self,
        mut config: ServerConfig,
        done: IntCounter,
        failed: IntCounter,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + use<W> {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut acceptor = Acceptor::new(config);
        acceptor.set_handshake_timeout(self.head_timeout);
        acceptor
            .map_err(move |failure| {
                failed.inc();
                TlsError::into_service_error(failure)
            })
            .map(move |connection: TlsStream<TcpStream>| {
                done.inc();
                let (stream, session) = connection.get_ref();
                stream.set_nodelay(true).ok();
                let peer = stream.peer_addr().ok();
                let is_http2 = session.alpn_protocol() == Some(b"h2");
                let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
                (BoundedHeads::new(connection, is_http2), protocol, peer)
            })
            .and_then(self.requests().map_err(TlsError::Service))
    }

    fn requests<T: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
    ) -> impl ServiceFactory<
        (T, Protocol, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + use<T, W> {
        // A worker's state stays in its thread; actix wants it behind its own pointer.
        let app = App::new()
            .app_data(web::Data::new((self.worker)()))
            .default_service(web::to(handler::handle));
        let (open, unheard, stop) = (
            self.metrics.connections.clone(),
            self.metrics.unheard(),
            self.stop.clone(),
        );
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(self.keep_alive)
            .client_request_timeout(self.head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(move |_, data| {
                data.insert(Connection::new(open.clone(), unheard.clone()));
                data.insert(Streams::default());
            })
            .finish(map_config(app, |()| AppConfig::default()))
    }
}
