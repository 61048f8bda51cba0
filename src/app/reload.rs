//! What of a running bridge changes without a restart: senders and their secrets, the admin port's token, schemas, privacy
//! rules, log levels. A new configuration is used as far as it can be, or, where anything in it is wrong, not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, bail};
use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{IntCounterVec, IntGauge, Registry};
use tracing::{error, info, warn};

use super::config::{Config, ConfigError};
use super::{answered, load_schemas};
use crate::forward::{Renewal, Renewals};
use crate::ingress::tls::Certificates;
use crate::lifecycle::{Levels, metrics, unix_ms};
use crate::provider::{Privacy, Providers};
use crate::registry_api::Subjects;
use crate::secret::Secrets;

/// Tables whose every key is read again.
const TABLES: [&str; 3] = ["tencent", "openim", "privacy"];
/// Keys of other tables that are read again.
const KEYS: [&str; 3] = ["admin.token", "log.level", "schemas.dir"];

/// Changes what a running bridge works with.
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
    /// How reloads went.
    pub(super) struct Metrics {
        /// Reloads by SIGHUP.
        reloads: IntCounterVec["outcome"] = "imbridge_reloads_total";
        /// 1 when what was loaded last is in force, 0 when it was wrong and the state before it is.
        successful: IntGauge = "imbridge_last_reload_successful";
        /// When what is in force was loaded, at the start or later, in Unix seconds.
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
    /// Reads everything again and uses it, or says what is wrong and leaves everything as it was.
    /// Blocks for as long as it takes to read the schemas.
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

    /// Everything that can fail comes first.
    fn apply(&mut self, new: Config) -> Result<()> {
        let (catalogue, commands) = load_schemas(&new)?;
        let providers = self
            .providers
            .load()
            .renewed(&new.tencent, &new.openim, Arc::clone(&commands));
        // A bad one is told by itself, and keeps the old one.
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
                "changed in the configuration, and used only after a restart"
            );
        }
        // Readers find a schema before the first record that is written with it.
        self.subjects.store(answered(&self.running, &catalogue));
        // What is accepted under the new rules is composed with the new schemas: the forwarder first.
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

fn is_reloaded(key: &str) -> bool {
    TABLES.iter().any(|table| key.split('.').next() == Some(table)) || KEYS.contains(&key)
}
