//! The admin port. It knows the spool's health and the metrics.
//!
//! | path | what |
//! |---|---|
//! | `GET /`, and the `/page.*` and `/uPlot.*` that it loads | the status page, live, for people |
//! | `GET /status.json` | the data of the status page |
//! | `GET /metrics` | the metrics in Prometheus' text format |
//! | `GET /log/level`, `PUT /log/level` | the log's levels, in the syntax of `log.level` |
//! | `GET /livez` | 200 while all threads run that the bridge needs, otherwise 503 with the name of the one that panicked |
//! | `GET /readyz` | 200 while a callback can be made durable, otherwise 503 with the reason |
//!
//! With `admin.token`, every path except the two probes needs it: as `Authorization: Bearer`, or as a browser's password.

mod history;
mod readings;
mod status;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Scope};
use arc_swap::ArcSwapOption;
use prometheus::{IntGauge, Registry, TextEncoder, register_int_gauge_with_registry};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

pub use status::View;

use crate::lifecycle::{Levels, Pulse, Stop, unix_ms};
use crate::private_port;
use crate::secret::{Secrets, basic_credentials, credentials};
use crate::spool::Appender;
use history::PlotHistory;
use readings::MetricValues;

/// The files of the status page: path, subtype of `text/`, content. The first file loads the others.
const PAGE: [(&str, &str, &str); 5] = [
    ("/", "html", include_str!("page/page.html")),
    ("/page.css", "css", include_str!("page/page.css")),
    ("/page.js", "javascript", include_str!("page/page.js")),
    ("/uPlot.css", "css", include_str!("vendor/uPlot/uPlot.min.css")),
    (
        "/uPlot.js",
        "javascript",
        include_str!("vendor/uPlot/uPlot.iife.min.js"),
    ),
];
/// The page loads files and data from this server only, runs no inline script, and may not be framed by another page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `[admin]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `address:port` for metrics and probes.
    pub listen: String,
    /// The token that every request except the probes must send as `Authorization: Bearer`.
    pub token: Option<Secrets>,
}

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
        let listen = &self.listen;
        if listen.parse::<SocketAddr>().is_ok() {
            return None;
        }
        let problem = format!("{listen:?}: an address and a port are needed, like \"127.0.0.1:9464\"");
        Some(("listen", problem))
    }
}

/// The state that the admin port serves.
#[derive(Clone)]
pub struct State {
    /// Every part's metrics.
    pub registry: Registry,
    /// The spool.
    pub appender: Appender,
    /// The log's levels.
    pub levels: Levels,
    /// `admin.token`, which a reload may replace.
    pub token: Arc<ArcSwapOption<Secrets>>,
    /// The data of other parts for the status page.
    pub views: Vec<View>,
    /// Whether a thread that the bridge needs has panicked.
    pub pulse: Pulse,
}

/// Serves on a thread of its own until `stop` is raised, and returns the bound address.
///
/// # Errors
/// If the address cannot be bound, or if the registry of metrics has `imbridge_ready` already.
pub fn start(config: &Config, state: State, stop: Stop) -> std::io::Result<SocketAddr> {
    let ready = register_int_gauge_with_registry!(
        "imbridge_ready",
        "1 while a callback can be made durable, otherwise 0, as /readyz answers.",
        state.registry
    )
    .map_err(std::io::Error::other)?;
    let history = Arc::new(Mutex::new(PlotHistory::default()));
    let sampling = sample(state.registry.clone(), Arc::clone(&history));
    let configure = move |service: &mut ServiceConfig| {
        service
            .app_data(web::Data::new(state.clone()))
            .app_data(web::Data::new(ready.clone()))
            .app_data(web::Data::from(Arc::clone(&history)))
            .service(routes().wrap(from_fn(authorize)));
    };
    private_port::serve("admin", &config.listen, configure, async move {
        actix_web::rt::spawn(sampling);
        stop.raised().await;
    })
}

fn routes() -> Scope {
    let scope = web::scope("")
        .route("/status.json", web::get().to(status_json))
        .route("/metrics", web::get().to(metrics))
        .route("/log/level", web::get().to(level))
        .route("/log/level", web::put().to(set_level))
        .route("/livez", web::get().to(livez))
        .route("/readyz", web::get().to(readyz));
    PAGE.iter().fold(scope, |scope, (path, kind, content)| {
        scope.route(path, web::get().to(async || file_of_page(kind, content)))
    })
}

/// Lets the probes pass without a token, because their clients often cannot send one.
async fn authorize<B: MessageBody + 'static>(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<B>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let sent = request.headers().get(AUTHORIZATION);
    let sent = sent.and_then(|value| sent_token(value.to_str().ok()?));
    let known = |token: &Secrets| sent.is_some_and(|sent| token.matches(&sent));
    if matches!(request.path(), "/livez" | "/readyz") || state.token.load().as_deref().is_none_or(known) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let refusal = HttpResponse::Unauthorized()
        .insert_header((WWW_AUTHENTICATE, "Basic realm=\"imbridge\""))
        .json(json!({"error": "authorization", "message": "the token of admin.token is needed: Authorization: Bearer <token>"}));
    Ok(request.into_response(refusal))
}

/// The token that was sent, alone or as the password of a browser.
fn sent_token(authorization: &str) -> Option<String> {
    if let Some(token) = credentials(authorization, "bearer") {
        return Some(token.to_owned());
    }
    let credentials = basic_credentials(authorization)?;
    let (_, password) = credentials.split_once(':')?;
    Some(password.to_owned())
}

async fn metrics(state: web::Data<State>, ready: web::Data<IntGauge>) -> HttpResponse {
    ready.set(state.appender.unready().is_none().into());
    match TextEncoder::new().encode_to_string(&state.registry.gather()) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, prometheus::TEXT_FORMAT))
            .body(text),
        Err(cause) => HttpResponse::InternalServerError().body(cause.to_string()),
    }
}

async fn level(state: web::Data<State>) -> String {
    format!("{}\n", state.levels.get())
}

async fn set_level(state: web::Data<State>, wanted: String) -> HttpResponse {
    match state.levels.set(wanted.trim()) {
        Ok(()) => {
            info!(level = wanted.trim(), "the log's levels were set by the admin port");
            HttpResponse::NoContent().finish()
        }
        Err(cause) => HttpResponse::BadRequest().body(format!("{cause}\n")),
    }
}

/// Adds a point to the history every [`history::STEP`].
async fn sample(registry: Registry, history: Arc<Mutex<PlotHistory>>) {
    let mut ticks = tokio::time::interval(history::STEP);
    loop {
        ticks.tick().await;
        let values = MetricValues::of(&registry);
        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
        history.add(unix_ms(), Instant::now(), values);
    }
}

fn file_of_page(kind: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format!("text/{kind}; charset=utf-8")))
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(content)
}

async fn status_json(state: web::Data<State>, history: web::Data<Mutex<PlotHistory>>) -> HttpResponse {
    let history = history.lock().unwrap_or_else(PoisonError::into_inner);
    HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(status::status(&state, &history))
}

async fn livez(state: web::Data<State>) -> HttpResponse {
    match state.pulse.dead() {
        None => HttpResponse::Ok().json(json!({"status": "ok"})),
        Some(thread) => HttpResponse::ServiceUnavailable().json(json!({
            "status": "dead",
            "thread": thread,
            "message": "the thread was ended by a fault in the bridge itself; only a restart brings it back",
        })),
    }
}

async fn readyz(state: web::Data<State>) -> HttpResponse {
    match state.appender.unready() {
        None => HttpResponse::Ok().json(json!({"status": "ready"})),
        Some((reason, message)) => HttpResponse::ServiceUnavailable()
            .json(json!({"status": "not ready", "reason": reason, "message": message})),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::spool::{self, Spool};

    #[test]
    fn livez_is_503_after_a_thread_has_panicked_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = spool::Config {
            dir: folder.path().to_owned(),
            ..spool::Config::default()
        };
        let registry = Registry::new();
        let spool = Spool::open(&config, spool::Metrics::new(&registry).unwrap()).unwrap();
        let (levels, _layer) = Levels::new("info").unwrap();
        let pulse = Pulse::default();
        let state = State {
            registry,
            appender: spool.appender(),
            levels,
            token: Arc::default(),
            views: Vec::new(),
            pulse: pulse.clone(),
        };
        let config = Config {
            listen: "127.0.0.1:0".into(),
            ..Config::default()
        };
        let stop = Stop::default();
        let address = start(&config, state, stop.clone()).unwrap();
        let livez = || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(livez().starts_with("HTTP/1.1 200 "));
        let watched = pulse.watch("spool-writer");
        let panicked = std::thread::spawn(move || {
            let _watched = watched;
            panic!("as a test");
        });
        assert!(panicked.join().is_err());
        let answer = livez();
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"thread\":\"spool-writer\""),
            "{answer}"
        );
        stop.raise();
        spool.close();
    }
}
