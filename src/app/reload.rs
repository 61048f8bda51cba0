//! Applies the changes that need no restart: senders and their secrets, the admin port's token, schemas, privacy rules, log levels. If
//! anything in the new configuration is wrong, nothing of it is applied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, bail};
use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{IntCounterVec, IntGauge, Registry};
use tracing::{error, info, warn};

use super::config::{Config, ConfigError};
use super::{load_schemas, subjects_of};
use crate::callback::CommandTable;
use crate::forward::{Renewal, Renewals};
use crate::ingress::tls::{self, Certificates};
use crate::lifecycle::{Levels, Stop, metrics, unix_ms};
use crate::provider::{Privacy, Providers};
use crate::registry_api::Subjects;
use crate::schema::Catalogue;
use crate::secret::Secrets;

/// Tables that a reload applies as a whole.
const TABLES: [&str; 3] = ["tencent", "openim", "privacy"];
/// Single keys of other tables that a reload applies.
const KEYS: [&str; 3] = ["admin.token", "log.level", "schemas.dir"];

/// The parts of a running bridge that a reload changes.
pub struct Reloader {
    pub(super) running: Config,
    pub(super) providers: Arc<ArcSwap<Providers>>,
    pub(super) admin_token: Arc<ArcSwapOption<Secrets>>,
    pub(super) subjects: Arc<ArcSwap<Subjects>>,
    pub(super) renewals: Renewals,
    pub(super) levels: Levels,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) metrics: Metrics,
}

metrics! {
    /// The metrics of reloads.
    pub(super) struct Metrics {
        /// Reloads by SIGHUP, by outcome.
        reloads: IntCounterVec["outcome"] = "imbridge_reloads_total";
        /// 1 if the last reload was applied, 0 if it failed and the state before it is still in use.
        successful: IntGauge = "imbridge_last_reload_successful";
        /// When the configuration in use was loaded, at the start or by a reload, in Unix seconds.
        succeeded_at: IntGauge = "imbridge_last_reload_success_timestamp_seconds";
    }
}

impl Metrics {
    /// Registers them. The start counts as a success.
    pub fn at_start(registry: &Registry) -> prometheus::Result<Metrics> {
        let metrics = Metrics::new(registry)?;
        for outcome in ["ok", "failed"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        metrics.set(true);
        Ok(metrics)
    }

    fn set(&self, successful: bool) {
        self.successful.set(successful.into());
        if successful {
            self.succeeded_at.set(unix_ms() / 1000);
        }
    }
}

impl Reloader {
    /// The state that parts share and a reload changes, from the configuration of the start.
    pub(super) fn at_start(
        config: &Config,
        levels: Levels,
        (catalogue, commands): (&Arc<Catalogue>, &Arc<CommandTable>),
        registry: &Registry,
        draining: &Stop,
    ) -> Result<Reloader> {
        let providers = Providers::new(&config.tencent, &config.openim, Arc::clone(commands));
        providers.register(registry)?;
        Ok(Reloader {
            running: config.clone(),
            providers: Arc::new(ArcSwap::from_pointee(providers)),
            admin_token: Arc::new(ArcSwapOption::from_pointee(config.admin.token.clone())),
            subjects: Arc::new(ArcSwap::new(subjects_of(config, catalogue))),
            renewals: Renewals::default(),
            levels,
            certificates: load_certificates(config, registry, draining)?,
            metrics: Metrics::at_start(registry)?,
        })
    }

    /// Reads and applies everything again. If anything is wrong, logs that and changes nothing. Blocks while it reads the schemas.
    pub fn reload(&mut self, load: impl FnOnce() -> Result<Config, ConfigError>) {
        let attempt = AssertUnwindSafe(|| load().map_err(anyhow::Error::from).and_then(|new| self.apply(new)));
        let outcome = catch_unwind(attempt).unwrap_or_else(|_| bail!("a fault in the bridge itself, please report it"));
        let label = if outcome.is_ok() { "ok" } else { "failed" };
        self.metrics.reloads.with_label_values(&[label]).inc();
        self.metrics.set(outcome.is_ok());
        if let Err(cause) = &outcome {
            error!(
                cause = format!("{cause:#}"),
                "the reload failed: everything stays as it was"
            );
        }
    }

    /// Does first what can fail.
    fn apply(&mut self, new: Config) -> Result<()> {
        let (catalogue, commands) = load_schemas(&new)?;
        let providers = self
            .providers
            .load()
            .renewed(&new.tencent, &new.openim, Arc::clone(&commands));
        // If they cannot be used, this logs the error and keeps the old ones.
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
        self.levels.set(&new.log.level)?;
        let fixed = new
            .differences(&self.running)
            .into_iter()
            .filter(|key| !is_reloaded(key));
        let fixed: Vec<String> = fixed.collect();
        if !fixed.is_empty() {
            warn!(
                keys = fixed.join(", "),
                "these keys have changed and take effect only after a restart"
            );
        }
        // Consumers must find a schema before the first record that is written with it.
        self.subjects.store(subjects_of(&self.running, &catalogue));
        // The forwarder first: callbacks that are accepted under the new rules must be composed with the new schemas.
        let count = catalogue.commands().len();
        self.renewals.post(Renewal {
            catalogue,
            commands,
            privacy: Privacy::new(&new.privacy),
        });
        self.providers.store(Arc::new(providers));
        self.admin_token.store(new.admin.token.clone().map(Arc::new));
        info!(
            commands = count,
            senders = new.tencent.len() + new.openim.len(),
            level = new.log.level,
            "reloaded the configuration, the secrets and the schemas"
        );
        self.running.adopt(new);
        Ok(())
    }
}

/// Loads the certificate of the public port, and starts to watch its files.
fn load_certificates(config: &Config, registry: &Registry, stop: &Stop) -> Result<Option<Arc<Certificates>>> {
    let Some(tls) = &config.server.tls else {
        return Ok(None);
    };
    let metrics = tls::Metrics::new(registry)?;
    let certificates = Arc::new(Certificates::load(tls, metrics)?);
    certificates.watch(stop.clone())?;
    Ok(Some(certificates))
}

fn is_reloaded(key: &str) -> bool {
    TABLES.iter().any(|table| key.split('.').next() == Some(table)) || KEYS.contains(&key)
}
