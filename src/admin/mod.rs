//! The admin port, on a thread of its own so that it answers under load. It knows the spool's health and the metrics.
//!
//! | path | what |
//! |---|---|
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /livez` | 200 while the process serves |
//! | `GET /readyz` | 200 while a callback can be made durable, else 503 with the reason |
//!
//! With `admin.token`, everything but the two probes needs it.

use std::net::{SocketAddr, TcpListener};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use serde_json::json;

use crate::lifecycle::Stop;
use crate::secret::Secrets;
use crate::spool::{Appender, Health};

/// `[admin]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `address:port` for metrics and probes.
    pub listen: String,
    /// What `Authorization: Bearer` must hold for everything but the probes.
    pub token: Option<Secrets>,
}

/// More connections than probes and scrapers have.
const CONNECTIONS_MAX: usize = 256;

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "127.0.0.1:9464".into(),
            token: None,
        }
    }
}

impl Config {
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let bad = self.listen.parse::<SocketAddr>().is_err();
        bad.then(|| {
            (
                "listen",
                format!(
                    "{:?}: an address and a port are needed, like \"127.0.0.1:9464\"",
                    self.listen
                ),
            )
        })
    }
}

/// What the admin port tells of.
#[derive(Clone)]
pub struct State {
    /// Every part's metrics.
    pub registry: Registry,
    /// The spool.
    pub appender: Appender,
    /// Raised when the bridge shuts down.
    pub draining: Stop,
}

/// Serves on a thread of its own until `stop` is raised; gives the address it got.
///
/// # Errors
/// When the address is not to be had.
pub fn start(config: &Config, state: State, stop: Stop) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(&config.listen)?;
    let address = listener.local_addr()?;
    let token = web::Data::new(config.token.clone());
    let app = move || {
        App::new()
            .wrap(from_fn(authorize))
            .app_data(token.clone())
            .app_data(web::Data::new(state.clone()))
            .route("/metrics", web::get().to(metrics))
            .route(
                "/livez",
                web::get().to(async || HttpResponse::Ok().json(json!({"status": "ok"}))),
            )
            .route("/readyz", web::get().to(readyz))
    };
    let serve = move || {
        actix_web::rt::System::new().block_on(async {
            let server = HttpServer::new(app)
                .workers(1)
                .max_connections(CONNECTIONS_MAX)
                .disable_signals()
                .listen(listener)?
                .run();
            let handle = server.handle();
            actix_web::rt::spawn(async move {
                stop.raised().await;
                handle.stop(false).await;
            });
            server.await
        })
    };
    std::thread::Builder::new().name("admin".into()).spawn(serve)?;
    Ok(address)
}

/// The probes are everyone's: whoever asks them has no place for a token.
async fn authorize<B: MessageBody + 'static>(
    token: web::Data<Option<Secrets>>,
    request: ServiceRequest,
    next: Next<B>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let sent = request.headers().get(AUTHORIZATION);
    let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let known = |token: &Secrets| sent.is_some_and(|sent| token.matches(sent.trim()));
    if matches!(request.path(), "/livez" | "/readyz") || token.as_ref().as_ref().is_none_or(known) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let refusal = HttpResponse::Unauthorized()
        .insert_header((WWW_AUTHENTICATE, "Bearer"))
        .json(json!({"error": "authorization", "message": "the token of admin.token is needed: Authorization: Bearer <token>"}));
    Ok(request.into_response(refusal))
}

async fn metrics(state: web::Data<State>) -> HttpResponse {
    match TextEncoder::new().encode_to_string(&state.registry.gather()) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, prometheus::TEXT_FORMAT))
            .body(text),
        Err(cause) => HttpResponse::InternalServerError().body(cause.to_string()),
    }
}

async fn readyz(state: web::Data<State>) -> HttpResponse {
    match unready(&state) {
        None => HttpResponse::Ok().json(json!({"status": "ready"})),
        Some((reason, message)) => HttpResponse::ServiceUnavailable()
            .json(json!({"status": "not ready", "reason": reason, "message": message})),
    }
}

/// Why a callback cannot be made durable now.
fn unready(state: &State) -> Option<(&'static str, String)> {
    if state.draining.is_raised() {
        return Some(("draining", "the bridge is shutting down".into()));
    }
    match state.appender.health() {
        Health::Accepting => None,
        Health::Full(why) => Some(("spool_full", format!("{why}; is Kafka reachable?"))),
        Health::Broken(cause) => Some(("spool_broken", format!("the last commit failed: {cause}"))),
    }
}
