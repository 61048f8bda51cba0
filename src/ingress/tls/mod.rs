//! TLS of the public port: the server's certificate, the authorities of client certificates, and their change while connections are
//! open. It does not know HTTP.
//!
//! New files take effect with the next handshake; open connections continue. If the files cannot be used, that is logged once for each
//! content, and the old certificate stays in use.

mod config;
mod files;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use prometheus::{Gauge, IntCounterVec};
use rustls::ServerConfig;
use tracing::{error, info};

pub use config::Config;
pub use files::TlsError;

use crate::lifecycle::{Stop, metrics};
use files::{Files, Identity};

metrics! {
    /// The certificate's metrics; cheap to clone.
    pub struct Metrics {
        /// When the certificate in use expires, in Unix seconds.
        expires: Gauge = "imbridge_tls_certificate_expires_seconds";
        /// Changes of the certificate's files, by outcome: used, or refused. If refused, the old certificate stays in use.
        reloads: IntCounterVec["outcome"] = "imbridge_tls_reloads_total";
        /// Handshakes by outcome: done, or failed.
        pub(super) handshakes: IntCounterVec["outcome"] = "imbridge_tls_handshakes_total";
    }
}

/// The certificate in use, and its files.
pub struct Certificates {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    /// For the next handshake.
    pub(super) current: ArcSwap<ServerConfig>,
    /// The digest of the last content that was read, or the error of reading it, so that each content is checked once.
    seen: Mutex<Result<[u8; 32], TlsError>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], with the key whose file cannot be used.
    pub fn load(config: &Config, metrics: Metrics) -> Result<Certificates, TlsError> {
        let files = Files::read(config)?;
        let identity = files.identity()?;
        if identity.not_after < SystemTime::now() {
            error!("the certificate of server.tls.cert has expired: IM servers will not connect");
        }
        metrics.expires.set(unix_seconds(identity.not_after));
        for outcome in ["used", "refused"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        Ok(Certificates {
            config: config.clone(),
            metrics,
            current: ArcSwap::new(identity.config),
            seen: Mutex::new(Ok(files.digest())),
        })
    }

    /// Reads the files now, and uses them if they have changed and are valid.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let files = Files::read(&self.config);
        let found = files.as_ref().map(Files::digest).map_err(TlsError::clone);
        if *seen == found {
            return;
        }
        *seen = found;
        match files
            .and_then(|files| files.identity())
            .and_then(|new| self.refuse_expired(new))
        {
            Ok(identity) => {
                let not_after = humantime::format_rfc3339_seconds(identity.not_after);
                info!(%not_after, "the certificate's files have changed; new connections get the new certificate");
                self.metrics.expires.set(unix_seconds(identity.not_after));
                self.metrics.reloads.with_label_values(&["used"]).inc();
                self.current.store(identity.config);
            }
            Err(cause) => {
                self.metrics.reloads.with_label_values(&["refused"]).inc();
                error!(
                    "the certificate's files have changed and cannot be used; the old certificate stays in use: {cause}"
                );
            }
        }
    }

    fn refuse_expired(&self, identity: Identity) -> Result<Identity, TlsError> {
        if identity.not_after > SystemTime::now() {
            return Ok(identity);
        }
        let problem = "it has expired; a valid certificate is needed";
        Err(files::fault("tls.cert", &self.config.cert, problem))
    }

    /// Checks the files every `reload_s` on a thread of its own, until `stop` is raised.
    ///
    /// # Errors
    /// If the operating system cannot start a thread.
    pub fn watch(self: &Arc<Self>, stop: Stop) -> std::io::Result<()> {
        let certificates = Arc::clone(self);
        let pause = Duration::from_secs(self.config.reload_s);
        let watch = move || {
            stop.pause(pause);
            while !stop.is_raised() {
                certificates.reload();
                stop.pause(pause);
            }
        };
        std::thread::Builder::new().name("tls".into()).spawn(watch).map(drop)
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
