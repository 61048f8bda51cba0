//! `[schemas]`: the folder, how records name its schemas, and who serves them: the bridge itself or a registry.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::schema::{Style, registry};
use crate::secret::{Secret, without_user};

/// The usual port of a schema registry, so that a consumer on this machine needs no configuration.
const LISTEN: &str = "127.0.0.1:8081";

/// `[schemas]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schemas {
    /// The folder, relative to the working directory.
    pub dir: PathBuf,
    /// The bytes in front of each record.
    pub framing: Style,
    /// Where the bridge serves its schemas: `address:port`, or empty for nowhere. Unset: 127.0.0.1:8081, or nowhere with a registry.
    pub listen: Option<String>,
    /// Addresses of a schema registry, separated by commas. The registry then gives the ids.
    pub registry_url: Option<String>,
    /// `user:password`.
    pub registry_auth: Option<Secret>,
    /// The authorities to trust instead of the machine's, a PEM file.
    pub registry_ca: Option<PathBuf>,
    /// Whether to register missing schemas.
    pub auto_register: bool,
    /// Milliseconds that one call of the registry may take.
    pub registry_timeout_ms: u64,
}

impl Default for Schemas {
    fn default() -> Schemas {
        Schemas {
            dir: "schemas".into(),
            framing: Style::default(),
            listen: None,
            registry_url: None,
            registry_auth: None,
            registry_ca: None,
            auto_register: false,
            registry_timeout_ms: 3_000,
        }
    }
}

impl Schemas {
    /// Where the bridge serves its schemas, if it does.
    pub fn listen(&self) -> Option<&str> {
        let default = if self.registry_url.is_some() { "" } else { LISTEN };
        Some(self.listen.as_deref().unwrap_or(default)).filter(|listen| !listen.is_empty())
    }

    /// The configuration of the registry's client, if there is a registry.
    pub fn registry(&self) -> Option<registry::Config> {
        Some(registry::Config {
            urls: registry::Config::addresses(self.registry_url.as_deref()?).ok()?,
            auth: self.registry_auth.as_ref().map(|secret| secret.expose().to_owned()),
            ca: self.registry_ca.clone(),
            auto_register: self.auto_register,
            timeout: Duration::from_millis(self.registry_timeout_ms),
        })
    }

    /// What is wrong with a value: the key and what is allowed.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if let Some(listen) = self.listen().filter(|listen| listen.parse::<SocketAddr>().is_err()) {
            let allowed = format!("an address and a port are needed, like {LISTEN:?}, or \"\" for none");
            return Some(("listen", format!("{listen:?}: {allowed}")));
        }
        if self.framing == Style::SingleObject && self.registry_url.is_some() {
            let problem =
                "\"single-object\" needs no registry, but schemas.registry_url is set: leave out one of the two";
            return Some(("framing", problem.into()));
        }
        let Some(url) = &self.registry_url else {
            return self.without_registry();
        };
        if let Err(wrong) = registry::Config::addresses(url) {
            let allowed = "http://host:port or https://host/path, several separated by commas, without a user";
            let wrong = without_user(&wrong);
            return Some(("registry_url", format!("{wrong:?}: {allowed} is allowed")));
        }
        if self
            .registry_auth
            .as_ref()
            .is_some_and(|auth| !auth.expose().contains(':'))
        {
            return Some(("registry_auth", "the secret must have the form user:password".into()));
        }
        if !(1..=60_000).contains(&self.registry_timeout_ms) {
            let found = self.registry_timeout_ms;
            return Some((
                "registry_timeout_ms",
                format!("{found}: at least 1 and at most 60000 is allowed"),
            ));
        }
        let cause = registry::Client::new(&self.registry()?).err()?;
        Some(("registry_ca", cause.to_string()))
    }

    /// A key that has no effect without `registry_url`, if one is set.
    fn without_registry(&self) -> Option<(&'static str, String)> {
        let key = [
            ("registry_auth", self.registry_auth.is_some()),
            ("registry_ca", self.registry_ca.is_some()),
            ("auto_register", self.auto_register),
        ];
        let (key, _) = key.into_iter().find(|(_, set)| *set)?;
        Some((
            key,
            "has no effect without schemas.registry_url; set both or neither".into(),
        ))
    }
}
