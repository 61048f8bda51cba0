//! The composition root: every part is built here, in order, from its own table of the configuration; started, and at
//! the end drained. Nothing else knows all of them.

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
use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{Opts, Registry, register_int_gauge_with_registry};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

pub use config::{Config, ConfigError, Log, LogFormat, Schemas};
pub use reload::Reloader;

use crate::callback::{CommandTable, Provider};
use crate::forward::{self, Composer, Forwarder, Renewals};
use crate::ingress::tls::Certificates;
use crate::lifecycle::{Levels, Pulse, Stop};
use crate::provider::{Privacy, Providers};
use crate::publish;
use crate::registry_api::{self, Subjects};
use crate::schema::registry::{self, Ids};
use crate::schema::{Catalogue, Command};
use crate::spool::{self, Reader, Spool};
use crate::{admin, ingress};

/// Beyond the time to drain, for the spool to be closed.
const GRACE: Duration = Duration::from_secs(4);
/// Of this, for a call to Kafka that is under way.
const CALL: Duration = Duration::from_millis(2500);
/// Between two looks whether the forwarder has ended.
const LOOK: Duration = Duration::from_millis(5);
/// However short the time to drain is, requests in progress have this long to be answered.
const ANSWER: Duration = Duration::from_secs(2);

/// A bridge that accepts callbacks.
pub struct Bridge {
    /// Where callbacks go: the plain port, or the one with TLS where there is no other.
    pub address: SocketAddr,
    /// Where metrics and probes are.
    pub admin_address: SocketAddr,
    /// Where it answers for its schemas, if it does.
    pub registry_address: Option<SocketAddr>,
    /// Every part's metrics.
    pub registry: Registry,
    /// Whether the threads that forward and that keep the spool are there.
    pub pulse: Pulse,
    ingress: ServerHandle,
    spool: Spool,
    forwarder: JoinHandle<bool>,
    draining: Stop,
    drain: Stop,
    abandon: Stop,
    stop_admin: Stop,
    drain_timeout: Duration,
    leave: Duration,
    exporter: Option<otlp::Exporter>,
    failure: mpsc::UnboundedReceiver<anyhow::Error>,
}

/// Loads the schemas folder and the table of commands that it gives.
///
/// # Errors
/// When a schema breaks a rule of the folder.
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

/// Every schema that messages are written with, the timeline's too, and its subject in a registry, the bridge's own or another.
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

/// What the bridge answers for, by subject.
fn answered(config: &Config, catalogue: &Catalogue) -> Arc<Subjects> {
    Arc::new(Subjects::of(catalogue, subjects(&config.kafka, catalogue)))
}

/// The bridge's own registry, where it has one.
fn start_registry_api(config: &Config, subjects: &Arc<ArcSwap<Subjects>>, stop: &Stop) -> Result<Option<SocketAddr>> {
    let Some(listen) = config.schemas.listen() else {
        return Ok(None);
    };
    let started = registry_api::start(listen, Arc::clone(subjects), stop.clone());
    let problem = || format!("cannot listen on schemas.listen = {listen:?}; set another address, or \"\" for none");
    started.map(Some).with_context(problem)
}

/// What one way of delivery left on its way, only the same way finds again in Kafka.
///
/// # Errors
/// When records up to `appended` wait in the spool that the other way may have begun to publish, or it cannot be read.
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

/// Where the registry's ids are remembered, beside the spool that waits for them.
const REGISTRY_IDS: &str = "registry-ids.json";

/// Who asks the registry, where there is one.
fn start_registry(config: &Config, metrics: registry::Metrics) -> Result<Option<Ids>> {
    let start = |registry| {
        let path = config.spool.dir.join(REGISTRY_IDS);
        Ids::start(&registry, path, metrics).context("schemas.registry_ca")
    };
    config.schemas.registry().map(start).transpose()
}

/// The certificate of the public port, and the watch over its files.
fn load_certificates(config: &Config, registry: &Registry, stop: &Stop) -> Result<Option<Arc<Certificates>>> {
    let Some(tls) = &config.server.tls else {
        return Ok(None);
    };
    let metrics = ingress::tls::Metrics::new(registry)?;
    let certificates = Arc::new(Certificates::load(tls, metrics)?);
    certificates.watch(stop.clone())?;
    Ok(Some(certificates))
}

impl Bridge {
    /// Builds and starts every part; gives also what changes them while they run. Must be called inside an actix system.
    /// Both ports answer when it returns; the spool's file may still be opened or repaired then, and Kafka be absent.
    ///
    /// # Errors
    /// When the schemas, the spool's folder or an address is not to be had; [`Bridge::failed`] has what is found out later.
    pub fn start(config: &Config, levels: Levels) -> Result<(Bridge, Reloader)> {
        let (catalogue, commands) = load_schemas(config)?;
        let registry = Registry::new();
        register_build_info(&registry)?;
        let (spool, opening) = Spool::start(&config.spool, spool::Metrics::new(&registry)?)?;
        let [draining, drain, abandon, stop_admin] = std::array::from_fn(|_| Stop::default());

        let renewals = Renewals::default();
        let (spans, exporter) = otlp::start(config.log.otlp_endpoint.as_deref(), &registry)?;
        let metrics = forward::Metrics::new(&registry)?;
        let subjects = Arc::new(ArcSwap::new(answered(config, &catalogue)));
        let composer = Composer::new(catalogue, Arc::clone(&commands), &config.kafka, "", metrics.clone())
            .with_history(&config.history)
            .with_privacy(Privacy::new(&config.privacy))
            .with_framing(
                config.schemas.framing,
                start_registry(config, registry::Metrics::new(&registry)?)?,
            );
        let (letters, groups) = (composer.recent_letters(), composer.irregularities());
        let parts = forward::Parts {
            reader: spool.reader(),
            composer,
            config: config.kafka.clone(),
            spool: String::new(),
            metrics,
            spans: spans.clone(),
            renewals: renewals.clone(),
            drain: drain.clone(),
            abandon: abandon.clone(),
        };
        let mut forwarder = Forwarder::new(parts, config.providers());

        let providers = Providers::new(&config.tencent, &config.openim, commands);
        providers.register(&registry)?;
        let providers = Arc::new(ArcSwap::from_pointee(providers));
        let certificates = load_certificates(config, &registry, &draining)?;
        let bound = ingress::bind(
            &config.server,
            Arc::clone(&providers),
            spool.appender(),
            ingress::Metrics::new(&registry)?.with_spans(spans),
            certificates.as_deref(),
        )?;
        let admin_token = Arc::new(ArcSwapOption::from_pointee(config.admin.token.clone()));
        let state = admin::State {
            registry: registry.clone(),
            appender: spool.appender(),
            levels: levels.clone(),
            token: Arc::clone(&admin_token),
            views: views::all(letters, groups),
            pulse: spool.pulse(),
        };
        let registry_address = start_registry_api(config, &subjects, &stop_admin)?;
        // Not before the public port is bound: who asks here whether callbacks are taken sends them there next.
        let admin_address = admin::start(&config.admin, state, stop_admin.clone())
            .with_context(|| format!("cannot listen on admin.listen = {:?}", config.admin.listen))?;
        let handle = bound.server.handle();
        actix_web::rt::spawn(bound.server);
        let address = bound.http.or(bound.https).expect("the configuration was checked");
        let reloader = Reloader {
            running: config.clone(),
            providers,
            admin_token,
            subjects,
            renewals,
            levels,
            certificates,
            metrics: reload::Metrics::at_start(&registry)?,
        };
        let pulse = spool.pulse();
        let watched = pulse.watch("forward");
        let (fail, failure) = mpsc::unbounded_channel();
        let kafka = config.kafka.clone();
        let forward = move || {
            let _watched = watched;
            let opened = opening.wait().map_err(anyhow::Error::from);
            let checked = opened.and_then(|appended| {
                refuse_another_delivery(forwarder.reader(), appended, &kafka)?;
                Ok(appended)
            });
            let spool = match checked {
                Ok(appended) => forwarder.begin_with(appended),
                Err(cause) => {
                    fail.send(cause).ok();
                    return false;
                }
            };
            let tls = bound.https.map(tracing::field::display);
            let schemas = registry_address.map(tracing::field::display);
            info!(%address, tls, admin = %admin_address, schemas, spool, "accepting callbacks");
            forwarder.run()
        };
        let bridge = Bridge {
            address,
            admin_address,
            registry_address,
            registry,
            pulse,
            ingress: handle,
            spool,
            forwarder: std::thread::Builder::new().name("forward".into()).spawn(forward)?,
            draining,
            drain,
            abandon,
            stop_admin,
            drain_timeout: Duration::from_secs(config.shutdown.drain_timeout_s),
            leave: Duration::from_secs(config.shutdown.leave_s),
            exporter,
            failure,
        };
        Ok((bridge, reloader))
    }

    /// Waits until the spool is found to be one that waiting cannot mend, and says why; for ever where it is well.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.failure.recv().await {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }

    /// Lets load balancers leave, stops accepting, answers what is in progress, delivers what is in the spool, closes. It takes the time to drain and
    /// four seconds at most, whatever Kafka and callers do. A thread that does not end in this time is left to the process's end.
    pub async fn drain(self) {
        info!(leave = ?self.leave, "shutting down: no new callbacks, answering those in progress");
        let begun = Instant::now();
        let drained_by = begun + self.drain_timeout;
        self.draining.raise();
        self.spool.leave();
        tokio::time::sleep(self.leave).await;
        let abandon = self.abandon.clone();
        let deadline = actix_web::rt::spawn(async move {
            tokio::time::sleep_until(drained_by).await;
            abandon.raise();
        });
        let answered_by = drained_by.max(Instant::now() + ANSWER);
        let answered = tokio::time::timeout_at(answered_by, self.ingress.stop(true)).await;
        if answered.is_err() {
            warn!("requests in progress are left without an answer: the time to drain is over");
        }
        self.drain.raise();
        let (done, closed) = oneshot::channel();
        // Not a thread of the runtime's, which waits for its threads before it ends.
        let delivered_by = drained_by + CALL;
        let close = move || {
            end_of(self.forwarder, delivered_by.into_std());
            self.spool.close();
            if let Some(exporter) = self.exporter {
                exporter.finish();
            }
            done.send(()).ok();
        };
        let thread = std::thread::Builder::new().name("drain".into()).spawn(close);
        thread.expect("the operating system starts a thread");
        // The disk may not answer either; the spool survives being left, like a crash.
        match tokio::time::timeout_at(drained_by + GRACE, closed).await {
            Ok(closed) => closed.expect("closing the spool does not panic"),
            Err(_) => {
                warn!("leaving while the disk does not answer; what is undelivered stays in the spool")
            }
        }
        deadline.abort();
        self.stop_admin.raise();
    }
}

/// Waits for the forwarder until then: a call to Kafka that is under way may take longer, and the spool is closed without it.
fn end_of(forwarder: JoinHandle<bool>, until: std::time::Instant) {
    while !forwarder.is_finished() {
        if std::time::Instant::now() >= until {
            warn!("leaving while Kafka does not answer; what is undelivered stays in the spool");
            return;
        }
        std::thread::sleep(LOOK);
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
