//! `[server.tls]` of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

use super::files::Files;

/// The public port with TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `address:port` for callbacks over https.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// A PEM file: the certificate, then those up to its authority.
    pub cert: PathBuf,
    /// Its private key, a PEM file.
    pub key: PathBuf,
    /// The authorities of client certificates, a PEM file. If set, every client needs a certificate.
    pub client_ca: Option<PathBuf>,
    /// Seconds between two checks of the files.
    #[serde(default = "default_reload")]
    pub reload_s: u64,
}

fn default_listen() -> String {
    "0.0.0.0:8443".into()
}

fn default_reload() -> u64 {
    5
}

impl Config {
    /// What is wrong with a value: the key below `[server]` and what is allowed. Reads the files.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        if self.listen.parse::<std::net::SocketAddr>().is_err() {
            let allowed = "an address and a port are needed, like \"0.0.0.0:8443\"";
            return Some(("tls.listen", format!("{:?}: {allowed}", self.listen)));
        }
        if self.reload_s == 0 {
            return Some(("tls.reload_s", "0: at least 1 is allowed".into()));
        }
        let fault = Files::read(self).and_then(|files| files.identity()).err()?;
        Some((fault.key, fault.problem))
    }
}
