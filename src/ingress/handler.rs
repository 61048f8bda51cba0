//! Serves one request, from its head to its answer: verify, read, append, and answer, which may wait for Kafka. Only this file decides
//! between three answers: *received*, *allowed although not durable* (before-callbacks), and *send again later*.

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

use super::body::{self, BodyError, BodyShare, CODINGS, HeldBytes};
use super::client::client;
use super::config::AnswerAfter;
use super::metrics::CommandMetrics;
use super::places::Connection;
use super::{Config, Metrics, refusals};
use crate::callback::{Callback, CommandRule, Provider, Span, Trace};
use crate::lifecycle::unix_ms;
use crate::provider::{Providers, Refusal, RequestLine, Verified, provider_of};
use crate::spool::{AppendError, Lane, Release};

const NOT_DURABLE: &str = "the callback could not be made durable; send it again later";
const RATE_LIMITED: &str = "rate_limited";
const OVER_RATE: &str = "more callbacks than the sender's rate_per_s and burst allow; send it again later";

/// The state of one worker thread.
pub(super) struct Worker {
    pub config: Config,
    pub providers: Arc<ArcSwap<Providers>>,
    pub lane: Lane,
    pub metrics: Metrics,
    pub commands: RefCell<[HashMap<String, Rc<CommandMetrics>>; Provider::ALL.len()]>,
    /// Bytes of bodies that all workers hold.
    pub held: Arc<HeldBytes>,
    /// Bytes of bodies whose fields are echoed, which this worker holds. They do not count towards `held`.
    pub echoes: HeldBytes,
}

/// The worker and the providers that one request uses. A reload does not change them while the request is in progress.
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
    connection.inspect(|connection| connection.begin_request());
    let serving = Serving {
        providers: worker.providers.load_full(),
        worker: &worker,
    };
    let mut response = serving.answer(&request, payload, started).await;
    if request.head().upgrade() {
        // Otherwise the server would copy `Upgrade` (`h2c` from Java's client) into the answer, as if it had accepted the upgrade.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    connection.inspect(|connection| connection.finish());
    response
}

/// Bytes of a request's line and headers, without the separators of HTTP.
fn head_bytes(request: &HttpRequest) -> usize {
    let headers = request.headers().iter();
    let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers + target
}

/// The request's trace context, if it has exactly one `traceparent`. The lines of `tracestate` are joined to one list.
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
                    let limits = self.unverified_limits();
                    if let Ok((body, _share)) = body::read(payload, request.headers(), &limits).await {
                        answer = refusal.echo(rule, &body);
                    }
                }
                let mut response = self.refuse(&refusal, answer, request);
                // An unverified sender does not keep its connection.
                response.head_mut().set_connection_type(ConnectionType::Close);
                return response;
            }
        };
        match outcome {
            Ok(answer) => respond(StatusCode::OK, answer),
            Err(refusal) => self.refuse(&refusal, refusal.body(), request),
        }
    }

    /// For load balancers that ask the port to which they forward.
    fn health(&self) -> HttpResponse<Bytes> {
        match self.lane.unready() {
            None => respond(StatusCode::OK, r#"{"status":"ready"}"#),
            Some((reason, _)) => respond(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(r#"{{"status":"not ready","reason":"{reason}"}}"#),
            ),
        }
    }

    /// Reads a verified sender's callback, and accepts it.
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
        match self.providers.read(sender, body, unix_ms()) {
            Ok(callback) => self.accept(callback, share, over_rate, started).await,
            Err(unreadable) if over_rate => Err(unreadable.refusal),
            Err(unreadable) => Err(self.keep_unreadable(*unreadable).await),
        }
    }

    /// Makes a callback durable, and returns its answer.
    async fn accept(
        &self,
        mut callback: Callback,
        share: BodyShare<'_>,
        over_rate: bool,
        started: Instant,
    ) -> Result<Bytes, Refusal> {
        let provider = callback.head.provider;
        let (command, rule) = self.providers.known(&callback.head);
        let before = rule.is_some_and(CommandRule::is_before);
        let answer = self.providers.success(&callback, rule);
        // Over the rate, only before-callbacks come here. They are allowed, because a user waits, but are not written to the disk.
        let outcome = if over_rate {
            Err(RATE_LIMITED)
        } else {
            self.append(&callback, rule, started).await
        };
        let metrics = self.of_command(provider, command);
        metrics.last_arrival.set(callback.head.received_at_ms as f64 / 1000.0);
        if let Err(reason) = outcome {
            if !before {
                metrics.rejected.inc();
                return Err(Refusal::new(provider, 503, reason, NOT_DURABLE));
            }
            self.metrics
                .failed_open
                .with_label_values(&[provider.as_str(), command, reason])
                .inc();
        }
        self.trace(&callback, command, started);
        if let (Ok(seq), AnswerAfter::Kafka) = (outcome, self.config.answer_after)
            && !before
        {
            // While a request waits for Kafka, it holds no body.
            callback.body = Bytes::new();
            drop(share);
            self.hold(provider, seq).await;
        }
        metrics.accepted.inc();
        metrics.answer_seconds.observe(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Waits until Kafka has all messages of the callback, or is too slow.
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

    /// The span from the request's head to the moment when the callback was durable.
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

    /// The metrics of a known command, or of all unknown commands together, so their number is bounded by that of the schemas.
    fn of_command(&self, provider: Provider, command: &str) -> Rc<CommandMetrics> {
        let known = &mut self.commands.borrow_mut()[provider as usize];
        if let Some(metrics) = known.get(command) {
            return Rc::clone(metrics);
        }
        let metrics = Rc::new(self.metrics.of_command(provider.as_str(), command));
        known.insert(command.to_owned(), Rc::clone(&metrics));
        metrics
    }

    /// Allows a before-callback whose body does not arrive in time or exceeds the memory limit: a user waits for the answer.
    fn allow_unread(&self, sender: Verified, reason: &str) -> Bytes {
        let callback = sender.callback(Bytes::new(), unix_ms());
        let (command, rule) = self.providers.known(&callback.head);
        let labels = [callback.head.provider.as_str(), command, reason];
        self.metrics.failed_open.with_label_values(&labels).inc();
        self.providers.success(&callback, rule)
    }

    /// Appends within the deadline of the callback's phase. The error is a value of the label `reason`.
    async fn append(
        &self,
        callback: &Callback,
        rule: Option<&CommandRule>,
        started: Instant,
    ) -> Result<u64, &'static str> {
        let append = self.lane.append(callback.to_record());
        let outcome = if rule.is_some_and(CommandRule::is_before) {
            let left = self.body_timeout(rule).saturating_sub(started.elapsed());
            let deadline = left.min(Duration::from_millis(self.config.before_deadline_ms));
            let appended = tokio::time::timeout(deadline, append).await;
            appended.unwrap_or(Err(AppendError::TimedOut))
        } else {
            append.await
        };
        outcome.map_err(|cause| cause.reason())
    }

    /// Stores a verified sender's body that cannot be read. If that fails, the sender gets 503 and may send it again.
    async fn keep_unreadable(&self, unreadable: crate::provider::Unreadable) -> Refusal {
        let provider = unreadable.callback.head.provider;
        let rule = self.providers.rule(&unreadable.callback.head);
        match self.append(&unreadable.callback, rule, Instant::now()).await {
            Ok(_) => unreadable.refusal,
            Err(reason) => Refusal::new(provider, 503, reason, NOT_DURABLE),
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
        let (bytes, seconds) = (self.config.max_body_bytes, self.config.body_timeout_s);
        let message = match cause {
            BodyError::TooLarge => format!("the body is larger than server.max_body_bytes, {bytes} bytes"),
            BodyError::TooSlow => format!("the body did not arrive within {seconds} s"),
            BodyError::Overloaded => "the bridge holds as many bytes as it may; send it again later".to_owned(),
            BodyError::UnknownCoding => {
                format!("the body's Content-Encoding is unknown: identity and one of {CODINGS} are supported")
            }
            BodyError::Broken(cause) => {
                format!("the body is incomplete, or does not match its Content-Encoding: {cause}")
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
