//! The composition root: it builds and starts every part in order, each from its own table of the configuration, and drains them at
//! the end. Only this part knows all others.

mod config;
mod otlp;
mod reload;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use prometheus::{Opts, Registry, register_int_gauge_with_registry};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

pub use config::{Config, ConfigError, Log, LogFormat, Schemas};
pub use reload::Reloader;

use crate::callback::{CommandTable, Provider, Spans};
use crate::forward::{self, Composer, Forwarder};
use crate::lifecycle::{Levels, Pulse, Stop, Watched};
use crate::provider::Privacy;
use crate::publish;
use crate::registry_api::{self, Subjects};
use crate::schema::registry::{self, Ids};
use crate::schema::{Catalogue, Command};
use crate::spool::{self, Opening, Reader, Spool};
use crate::{admin, ingress};

/// The time to close the spool, after `drain_timeout_s`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// The part of it in which a call to Kafka in progress may end.
const CALL_TIMEOUT: Duration = Duration::from_millis(2500);
/// Between two checks whether the forwarder has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The time to answer requests in progress, even if `drain_timeout_s` is shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A bridge that accepts callbacks.
pub struct Bridge {
    /// The address for callbacks: the plain port, or the TLS port if there is no plain one.
    pub address: SocketAddr,
    /// The address for metrics and probes.
    pub admin_address: SocketAddr,
    /// The address where it serves its schemas, if it does.
    pub registry_address: Option<SocketAddr>,
    /// Every part's metrics.
    pub registry: Registry,
    /// Whether a thread of the forwarder or the spool has panicked.
    pub pulse: Pulse,
    ingress: ServerHandle,
    spool: Spool,
    forwarder: JoinHandle<bool>,
    stops: Stops,
    shutdown: config::Shutdown,
    exporter: Option<otlp::Exporter>,
    failure: mpsc::UnboundedReceiver<anyhow::Error>,
}

/// The requests to stop, in the order in which a shutdown raises them.
#[derive(Default)]
struct Stops {
    /// The shutdown has begun.
    draining: Stop,
    /// The forwarder must deliver the spool and end.
    drain: Stop,
    /// The forwarder must end, delivered or not.
    abandon: Stop,
    /// The admin port and the schemas' port must close.
    admin: Stop,
}

/// Loads the schemas folder, and makes the table of its commands.
///
/// # Errors
/// If a schema breaks a rule of the folder.
pub fn load_schemas(config: &Config) -> Result<(Arc<Catalogue>, Arc<CommandTable>)> {
    let catalogue = Catalogue::load(&config.schemas.dir)?;
    let mut table = CommandTable::default();
    for command in catalogue.commands() {
        let provider = Provider::ALL
            .into_iter()
            .find(|provider| provider.as_str() == command.provider());
        let provider = provider.with_context(|| {
            let dir = config.schemas.dir.display();
            format!(
                "{dir}/{}: no such provider; tencent and openim are allowed",
                command.provider()
            )
        })?;
        table.insert(provider, command.name(), command.rule().clone());
    }
    Ok((Arc::new(catalogue), Arc::new(table)))
}

/// Every schema that messages are written with, the timeline's included, and its subject in a registry.
pub fn subjects<'c>(config: &publish::Config, catalogue: &'c Catalogue) -> Vec<(&'c Command, String)> {
    let prefix = &config.topic_prefix;
    let topic = |command: &Command| publish::command_topic(prefix, command.provider(), command.name());
    let commands = catalogue.commands().map(|command| (command, topic(command)));
    let timeline = config.timeline.as_ref();
    let timeline = timeline.map(|timeline| (catalogue.timeline(), timeline.topic(prefix)));
    let topics = commands.chain(timeline);
    topics
        .map(|(command, topic)| (command, registry::subject_of(&topic)))
        .collect()
}

/// The subjects that the bridge serves itself.
fn subjects_of(config: &Config, catalogue: &Catalogue) -> Arc<Subjects> {
    Arc::new(Subjects::of(catalogue, subjects(&config.kafka, catalogue)))
}

/// Starts the bridge's own registry, if `schemas.listen` is set.
fn start_registry_api(config: &Config, subjects: &Arc<ArcSwap<Subjects>>, stop: &Stop) -> Result<Option<SocketAddr>> {
    let Some(listen) = config.schemas.listen() else {
        return Ok(None);
    };
    let started = registry_api::start(listen, Arc::clone(subjects), stop.clone());
    let problem = || format!("cannot listen on schemas.listen = {listen:?}; set another address, or \"\" for none");
    started.map(Some).with_context(problem)
}

/// Refuses to start with undelivered records of another `kafka.delivery`. Messages that were sent in one mode before a crash can be found
/// in Kafka in the same mode only.
///
/// # Errors
/// If the spool holds undelivered records up to `appended` that the other mode may have begun to publish, or if it cannot be read.
pub fn refuse_another_delivery(reader: &mut Reader, appended: u64, config: &publish::Config) -> Result<()> {
    let waiting = appended - reader.delivered();
    let wanted = config.delivery.as_str();
    let begun = forward::delivery_note(reader)?;
    match begun.filter(|begun| begun != wanted && waiting > 0) {
        None => Ok(()),
        Some(begun) => bail!(
            "kafka.delivery is {wanted:?}, and the spool holds {waiting} undelivered records from {begun:?}: start with kafka.delivery = {begun:?} until they are delivered, then change it"
        ),
    }
}

/// The file in `spool.dir` that keeps the registry's ids.
const REGISTRY_IDS: &str = "registry-ids.json";

/// Starts the client of the configured registry, if there is one.
fn start_registry(config: &Config, metrics: registry::Metrics) -> Result<Option<Ids>> {
    let start = |registry| {
        let path = config.spool.dir.join(REGISTRY_IDS);
        Ids::start(&registry, path, metrics).context("schemas.registry_ca")
    };
    config.schemas.registry().map(start).transpose()
}

/// The addresses of all ports, and the handle of the public server.
struct Ports {
    ingress: ServerHandle,
    /// As [`Bridge::address`].
    public: SocketAddr,
    https: Option<SocketAddr>,
    admin: SocketAddr,
    registry: Option<SocketAddr>,
}

impl Ports {
    /// Binds all ports, and starts to serve. Must be called inside an actix system.
    fn open(reloader: &Reloader, state: admin::State, spans: Spans, stop: &Stop) -> Result<Ports> {
        let config = &reloader.running;
        let public = ingress::bind(
            &config.server,
            Arc::clone(&reloader.providers),
            state.appender.clone(),
            ingress::Metrics::new(&state.registry)?.with_spans(spans),
            reloader.certificates.clone(),
        )?;
        let registry = start_registry_api(config, &reloader.subjects, stop)?;
        // The admin port opens after the public port is bound: a client that finds the bridge ready sends callbacks there next.
        let admin = admin::start(&config.admin, state, stop.clone())
            .with_context(|| format!("cannot listen on admin.listen = {:?}", config.admin.listen))?;
        let ingress = public.server.handle();
        actix_web::rt::spawn(public.server);
        let (https, public) = (public.https, public.http.or(public.https));
        Ok(Ports {
            ingress,
            public: public.expect("the configuration was checked"),
            https,
            admin,
            registry,
        })
    }

    fn log_accepting(&self, spool: &str) {
        let (address, admin) = (self.public, self.admin);
        let tls = self.https.map(tracing::field::display);
        let schemas = self.registry.map(tracing::field::display);
        info!(%address, tls, %admin, schemas, spool, "accepting callbacks");
    }
}

impl Bridge {
    /// Builds and starts every part. Also returns the reloader, which changes them later. Must be called inside an actix system. When it
    /// returns, all ports answer. The spool's file may still be opened or repaired then, and Kafka may be down.
    ///
    /// # Errors
    /// If the schemas, the spool's folder or an address cannot be used. [`Bridge::failed`] returns later errors.
    pub fn start(config: &Config, levels: Levels) -> Result<(Bridge, Reloader)> {
        let (catalogue, commands) = load_schemas(config)?;
        let registry = Registry::new();
        register_build_info(&registry)?;
        let (spool, opening) = Spool::start(&config.spool, spool::Metrics::new(&registry)?)?;
        let stops = Stops::default();
        let (spans, exporter) = otlp::start(config.log.otlp_endpoint.as_deref(), &registry)?;
        let reloader = Reloader::at_start(config, levels, (&catalogue, &commands), &registry, &stops.draining)?;

        let metrics = forward::Metrics::new(&registry)?;
        let ids = start_registry(config, registry::Metrics::new(&registry)?)?;
        let composer = Composer::new(catalogue, commands, &config.kafka, "", metrics.clone())
            .with_history(&config.history)
            .with_privacy(Privacy::new(&config.privacy))
            .with_framing(config.schemas.framing, ids);
        let views = views::all(composer.recent_letters(), composer.irregularities());
        let parts = forward::Parts {
            reader: spool.reader(),
            composer,
            config: config.kafka.clone(),
            spool: String::new(),
            metrics,
            spans: spans.clone(),
            renewals: reloader.renewals.clone(),
            drain: stops.drain.clone(),
            abandon: stops.abandon.clone(),
        };
        let forwarder = Forwarder::new(parts, config.providers());

        let state = admin::State {
            registry: registry.clone(),
            appender: spool.appender(),
            levels: reloader.levels.clone(),
            token: Arc::clone(&reloader.admin_token),
            views,
            pulse: spool.pulse(),
        };
        let ports = Ports::open(&reloader, state, spans, &stops.admin)?;
        let (fail, failure) = mpsc::unbounded_channel();
        let pulse = spool.pulse();
        let bridge = Bridge {
            address: ports.public,
            admin_address: ports.admin,
            registry_address: ports.registry,
            registry,
            ingress: ports.ingress.clone(),
            forwarder: start_forwarder(forwarder, opening, pulse.watch("forward"), ports, fail)?,
            pulse,
            spool,
            stops,
            shutdown: config.shutdown.clone(),
            exporter,
            failure,
        };
        Ok((bridge, reloader))
    }

    /// Waits for an error of opening the spool that a retry cannot fix. If there is none, it never returns.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.failure.recv().await {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }

    /// Lets load balancers leave, stops accepting, answers requests in progress, delivers the spool, and closes it. This takes at most
    /// `drain_timeout_s` and four seconds, whatever Kafka and callers do. A thread that has not ended by then ends with the process.
    pub async fn drain(self) {
        let leave = Duration::from_secs(self.shutdown.leave_s);
        info!(?leave, "shutting down: no new callbacks, answering those in progress");
        let drained_by = Instant::now() + Duration::from_secs(self.shutdown.drain_timeout_s);
        self.stops.draining.raise();
        self.spool.leave();
        tokio::time::sleep(leave).await;
        let abandon = self.stops.abandon.clone();
        let deadline = actix_web::rt::spawn(async move {
            tokio::time::sleep_until(drained_by).await;
            abandon.raise();
        });
        let answered_by = drained_by.max(Instant::now() + ANSWER_TIMEOUT);
        let answered = tokio::time::timeout_at(answered_by, self.ingress.stop(true)).await;
        if answered.is_err() {
            warn!("requests in progress are left without an answer: the time to drain is over");
        }
        self.stops.drain.raise();
        let (done, closed) = oneshot::channel();
        // Not a thread of the runtime, which would wait for it before it ends.
        let delivered_by = drained_by + CALL_TIMEOUT;
        let close = move || {
            join_until(self.forwarder, delivered_by.into_std());
            self.spool.close();
            if let Some(exporter) = self.exporter {
                exporter.finish();
            }
            done.send(()).ok();
        };
        let thread = std::thread::Builder::new().name("drain".into()).spawn(close);
        thread.expect("the operating system starts a thread");
        // If the disk does not answer either, the process ends without closing the spool, which survives that like a crash.
        match tokio::time::timeout_at(drained_by + CLOSE_TIMEOUT, closed).await {
            Ok(closed) => closed.expect("closing the spool does not panic"),
            Err(_) => {
                warn!("leaving while the disk does not answer; what is undelivered stays in the spool")
            }
        }
        deadline.abort();
        self.stops.admin.raise();
    }
}

/// Starts the forwarder's thread. It waits until the spool is open; an error until then goes to `fail`.
fn start_forwarder(
    mut forwarder: Forwarder,
    opening: Opening,
    watched: Watched,
    ports: Ports,
    fail: mpsc::UnboundedSender<anyhow::Error>,
) -> std::io::Result<JoinHandle<bool>> {
    let open = move |forwarder: &mut Forwarder| -> Result<()> {
        let appended = opening.wait()?;
        let parts = &mut forwarder.parts;
        refuse_another_delivery(&mut parts.reader, appended, &parts.config)?;
        forwarder.begin_with(appended);
        Ok(())
    };
    let run = move || {
        let _watched = watched;
        if let Err(cause) = open(&mut forwarder) {
            fail.send(cause).ok();
            return false;
        }
        ports.log_accepting(&forwarder.parts.spool);
        forwarder.run()
    };
    std::thread::Builder::new().name("forward".into()).spawn(run)
}

/// Waits for the forwarder. If a call to Kafka takes longer than `until`, the spool is closed without waiting for it.
fn join_until(forwarder: JoinHandle<bool>, until: std::time::Instant) {
    while !forwarder.is_finished() {
        if std::time::Instant::now() >= until {
            warn!("leaving while Kafka does not answer; what is undelivered stays in the spool");
            return;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    if forwarder.join().expect("the forwarder does not panic") {
        info!("everything is delivered");
    } else {
        warn!("records stay in the spool and are delivered after the next start");
    }
}

fn register_build_info(registry: &Registry) -> Result<()> {
    let opts = Opts::new("imbridge_build_info", "1, with the version as a label.");
    let opts = opts.const_label("version", env!("CARGO_PKG_VERSION"));
    register_int_gauge_with_registry!(opts, registry)?.set(1);
    Ok(())
}
