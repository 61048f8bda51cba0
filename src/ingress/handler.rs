//! One request, from its head to its answer: verify, read, append, answer, which may wait for Kafka. The only place that decides between
//! *received*, *allow although broken* and *come again*.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;

use super::body::{self, BodyError, CODINGS, HeldBytes};
use super::client::client;
use super::config::AnswerAfter;
use super::metrics::CommandMetrics;
use super::places::Connection;
use super::{Config, Metrics, refusals};
use crate::callback::{Callback, CommandRule, Provider, Span, Trace};
use crate::lifecycle::unix_ms;
use crate::provider::{Providers, Refusal, RequestLine, Verified, provider_of};
use crate::spool::{AppendError, Lane, Release};

const COME_AGAIN: &str = "the callback could not be made durable; send it again later";

const RATE_LIMITED: &str = "rate_limited";
const OVER_RATE: &str = "more callbacks than the sender's rate_per_s and burst allow; send it again later";

/// What one worker thread serves with.
pub(super) struct Worker {
    pub config: Config,
    pub providers: Arc<ArcSwap<Providers>>,
    pub lane: Lane,
    pub metrics: Metrics,
    pub commands: RefCell<[HashMap<String, Rc<CommandMetrics>>; Provider::ALL.len()]>,
    /// Bytes of bodies held by all workers.
    pub held: Arc<HeldBytes>,
    /// Bytes of bodies beside those, held by this one until their fields are echoed.
    pub echoes: HeldBytes,
}

/// One request's view of its worker: a reload in its middle does not change who may send, or how it is answered.
struct Serving<'a> {
    worker: &'a Worker,
    providers: Arc<Providers>,
}

impl Deref for Serving<'_> {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        self.worker
    }
}

pub(super) async fn handle(request: HttpRequest, payload: Payload, worker: Data<Worker>) -> HttpResponse<Bytes> {
    let started = Instant::now();
    let connection = request.conn_data::<Rc<Connection>>();
    connection.inspect(|connection| connection.hear());
    let serving = Serving {
        providers: worker.providers.load_full(),
        worker: &worker,
    };
    let mut response = serving.answer(&request, payload, started).await;
    if request.head().upgrade() {
        // The server would repeat the wish (`h2c`, as Java's client has it) as if it was granted.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    connection.inspect(|connection| connection.rest());
    response
}

/// Bytes of a request's line and headers, without what HTTP puts between them.
fn head_bytes(request: &HttpRequest) -> usize {
    let headers = request.headers().iter();
    let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers + target
}

/// The request's trace context; one `traceparent` only, and the lines of `tracestate` as one list.
fn trace_of(request: &HttpRequest) -> Option<Trace> {
    let mut parents = request.headers().get_all("traceparent");
    let (parent, None) = (parents.next()?.to_str().ok(), parents.next()) else {
        return None;
    };
    let states = request.headers().get_all("tracestate");
    let states: Option<Vec<&str>> = states.map(|state| state.to_str().ok()).collect();
    Trace::of(parent, states.map(|states| states.join(",")).as_deref())
}

impl Serving<'_> {
    async fn answer(&self, request: &HttpRequest, payload: Payload, started: Instant) -> HttpResponse<Bytes> {
        if matches!(request.path(), "/" | "/healthz") && matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.health();
        }
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let peer = request.peer_addr().map(|peer| peer.ip());
        let line = RequestLine {
            method: request.method().as_str(),
            path: request.path(),
            query: request.query_string(),
            client: client(
                peer,
                request.headers(),
                &self.config.trusted_proxies,
                self.config.proxy_header,
            ),
            header: &header,
        };
        let verified = if head_bytes(request) > self.config.max_head_bytes {
            Err(self.head_refusal(request.path()))
        } else {
            self.providers.verify(&line, unix_ms())
        };
        let outcome = match verified {
            Ok(sender) => {
                let connection = request.conn_data::<Rc<Connection>>();
                connection.inspect(|connection| connection.verify());
                let sender = sender.traced(trace_of(request));
                self.receive(sender, request, payload, started).await
            }
            Err(refusal) => {
                let mut answer = refusal.body();
                if let Some(rule) = self.providers.echoed(&line) {
                    let limits = self.limits_of_stranger();
                    if let Ok((body, _share)) = body::read(payload, request.headers(), &limits).await {
                        answer = refusal.echo(rule, &body);
                    }
                }
                let mut response = self.refuse(&refusal, answer, request);
                // Whoever is not known keeps no connection.
                response.head_mut().set_connection_type(ConnectionType::Close);
                return response;
            }
        };
        match outcome {
            Ok(answer) => respond(StatusCode::OK, answer),
            Err(refusal) => self.refuse(&refusal, refusal.body(), request),
        }
    }

    /// For load balancers, which ask the port that they forward to.
    fn health(&self) -> HttpResponse<Bytes> {
        match self.lane.unready() {
            None => respond(StatusCode::OK, r#"{"status":"ready"}"#),
            Some((reason, _)) => respond(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(r#"{{"status":"not ready","reason":"{reason}"}}"#),
            ),
        }
    }

    /// A verified sender's callback becomes durable.
    async fn receive(
        &self,
        sender: Verified,
        request: &HttpRequest,
        payload: Payload,
        started: Instant,
    ) -> Result<Bytes, Refusal> {
        let provider = sender.head().provider;
        let rule = self.providers.rule(sender.head());
        let before = rule.is_some_and(CommandRule::is_before);
        let over_rate = sender.admit().is_err();
        let limits = self.limits(rule, request.headers(), started);
        if over_rate && !before {
            body::skip(payload, &limits).await;
            return Err(Refusal::new(provider, 429, RATE_LIMITED, OVER_RATE));
        }
        let (body, share) = match body::read(payload, request.headers(), &limits).await {
            Ok(body) => body,
            Err(cause) => {
                let refusal = self.body_refusal(provider, &cause);
                return match cause {
                    BodyError::TooSlow | BodyError::Overloaded if before => {
                        Ok(self.allow_unread(sender, refusal.reason))
                    }
                    _ => Err(refusal),
                };
            }
        };
        let mut callback = match self.providers.read(sender, body, unix_ms()) {
            Ok(callback) => callback,
            Err(unreadable) if over_rate => return Err(unreadable.refusal),
            Err(unreadable) => return Err(self.keep_unreadable(*unreadable).await),
        };
        let (command, rule) = self.providers.known(&callback.head);
        let before = rule.is_some_and(CommandRule::is_before);
        let answer = self.providers.success(&callback, rule);
        // What is over the rate is kept off the disk too; the user behind a before-callback has no part in it.
        let outcome = if over_rate {
            Err(RATE_LIMITED)
        } else {
            self.append(&callback, rule, started).await
        };
        let metrics = self.of_command(provider, command);
        metrics.last_arrival.set(callback.head.received_at_ms as f64 / 1000.0);
        if let Err(reason) = outcome {
            let provider_name = provider.as_str();
            if !before {
                metrics.turned_away.inc();
                return Err(Refusal::new(provider, 503, reason, COME_AGAIN));
            }
            self.metrics
                .failed_open
                .with_label_values(&[provider_name, command, reason])
                .inc();
        }
        self.trace(&callback, command, started);
        if let (Ok(seq), AnswerAfter::Kafka) = (outcome, self.config.answer_after)
            && !before
        {
            // Whoever waits holds nothing but his place.
            callback.body = Bytes::new();
            drop(share);
            self.hold(provider, seq).await;
        }
        metrics.accepted.inc();
        metrics.answer_seconds.observe(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Until Kafka has what the callback became, or is too slow.
    async fn hold(&self, provider: Provider, seq: u64) {
        let durable = Instant::now();
        if self.lane.confirmed(seq).await == Release::Early {
            self.metrics
                .answered_early
                .with_label_values(&[provider.as_str()])
                .inc();
        }
        self.metrics.held_seconds.observe(durable.elapsed().as_secs_f64());
    }

    /// From the request's head to the moment when it was durable.
    fn trace(&self, callback: &Callback, command: &str, started: Instant) {
        let spans = &self.metrics.spans;
        let Some(trace) = callback.head.trace.as_ref().filter(|trace| spans.want(trace)) else {
            return;
        };
        let ended = SystemTime::now();
        spans.push(Span {
            trace: trace.clone(),
            name: "receive",
            started: ended.checked_sub(started.elapsed()).unwrap_or(ended),
            ended,
            attributes: vec![
                ("imbridge.provider", callback.head.provider.as_str().to_owned()),
                ("imbridge.command", command.to_owned()),
            ],
        });
    }

    /// The metrics of a known command, or of all unknown ones: as many as there are schemas.
    fn of_command(&self, provider: Provider, command: &str) -> Rc<CommandMetrics> {
        let known = &mut self.commands.borrow_mut()[provider as usize];
        if let Some(metrics) = known.get(command) {
            return Rc::clone(metrics);
        }
        let metrics = Rc::new(self.metrics.of_command(provider.as_str(), command));
        known.insert(command.to_owned(), Rc::clone(&metrics));
        metrics
    }

    /// The user behind a before-callback does not wait for a body that does not come, or that there is no room for.
    fn allow_unread(&self, sender: Verified, reason: &str) -> Bytes {
        let callback = sender.callback(Bytes::new(), unix_ms());
        let (command, rule) = self.providers.known(&callback.head);
        let labels = [callback.head.provider.as_str(), command, reason];
        self.metrics.failed_open.with_label_values(&labels).inc();
        self.providers.success(&callback, rule)
    }

    /// Appends within the deadline of the callback's phase; the error is a label.
    async fn append(
        &self,
        callback: &Callback,
        rule: Option<&CommandRule>,
        started: Instant,
    ) -> Result<u64, &'static str> {
        let append = self.lane.append(callback.to_record());
        let outcome = if rule.is_some_and(CommandRule::is_before) {
            let left = self.patience(rule).saturating_sub(started.elapsed());
            let deadline = left.min(Duration::from_millis(self.config.before_deadline_ms));
            let appended = tokio::time::timeout(deadline, append).await;
            appended.unwrap_or(Err(AppendError::TimedOut))
        } else {
            append.await
        };
        outcome.map_err(|cause| cause.reason())
    }

    /// What a verified sender posted is kept even when it cannot be read; where that fails, the sender is told to come again.
    async fn keep_unreadable(&self, unreadable: crate::provider::Unreadable) -> Refusal {
        let provider = unreadable.callback.head.provider;
        let rule = self.providers.rule(&unreadable.callback.head);
        match self.append(&unreadable.callback, rule, Instant::now()).await {
            Ok(_) => unreadable.refusal,
            Err(reason) => Refusal::new(provider, 503, reason, COME_AGAIN),
        }
    }

    fn head_refusal(&self, path: &str) -> Refusal {
        let most = self.config.max_head_bytes;
        let message = format!("the request's line and headers are larger than server.max_head_bytes, {most} bytes");
        Refusal::new(provider_of(path), 431, "head_too_large", message)
    }

    fn body_refusal(&self, provider: Provider, cause: &BodyError) -> Refusal {
        let (status, reason) = match cause {
            BodyError::TooLarge => (413, "body_too_large"),
            BodyError::TooSlow => (408, "body_too_slow"),
            BodyError::Overloaded => (503, "overloaded"),
            BodyError::UnknownCoding => (415, "content_encoding"),
            BodyError::Broken(_) => (400, "body_broken"),
        };
        let Config {
            max_body_bytes,
            body_timeout_s,
            ..
        } = self.config;
        let message = match cause {
            BodyError::TooLarge => format!("the body is larger than server.max_body_bytes, {max_body_bytes} bytes"),
            BodyError::TooSlow => format!("the body did not arrive within {body_timeout_s} s"),
            BodyError::Overloaded => "the bridge holds as many bytes as it may; send it again later".to_owned(),
            BodyError::UnknownCoding => {
                format!("the body's Content-Encoding is unknown: identity and one of {CODINGS} are read")
            }
            BodyError::Broken(cause) => {
                format!("the body broke off, or is not what its Content-Encoding says: {cause}")
            }
        };
        Refusal::new(provider, status, reason, message)
    }

    fn refuse(&self, refusal: &Refusal, body: Vec<u8>, request: &HttpRequest) -> HttpResponse<Bytes> {
        let provider = refusal.provider.map_or("none", Provider::as_str);
        self.metrics
            .refused
            .with_label_values(&[provider, refusal.reason])
            .inc();
        refusals::log(refusal, request.peer_addr());
        let status = StatusCode::from_u16(refusal.status).expect("refusals have valid statuses");
        let mut response = respond(status, body);
        let more = match refusal.status {
            429 | 503 => Some((RETRY_AFTER, self.config.retry_after_s.to_string())),
            405 => Some((ALLOW, "POST".to_owned())),
            415 => Some((ACCEPT_ENCODING, CODINGS.to_owned())),
            _ => None,
        };
        if let Some((name, value)) = more {
            response
                .headers_mut()
                .insert(name, value.try_into().expect("digits and letters are a header's value"));
        }
        response
    }
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse<Bytes> {
    let mut response = HttpResponse::with_body(status, body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
