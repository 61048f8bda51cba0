//! What a client of the registry is told. Knows no file of configuration; the keys are its caller's.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the registry is, and how to speak with it.
#[derive(Clone)]
pub struct Config {
    /// Addresses of one registry, tried in turn; without a slash at the end.
    pub urls: Vec<String>,
    /// `user:password`.
    pub auth: Option<String>,
    /// The authorities to trust instead of the machine's, a PEM file.
    pub ca: Option<PathBuf>,
    /// Register what is missing instead of waiting for someone to do it.
    pub auto_register: bool,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Config {
    /// Takes `http://a:8081, http://b:8081/` apart.
    ///
    /// # Errors
    /// The address that is none.
    pub fn addresses(text: &str) -> Result<Vec<String>, String> {
        text.split(',').map(|url| address(url.trim())).collect()
    }

    /// Which registry it is, for what is remembered of it.
    pub(super) fn name(&self) -> String {
        self.urls.join(",")
    }
}

fn address(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    // Who it is stands in a secret of its own: this one is printed.
    if host.is_empty() || host.contains('@') || url.contains(['?', '#', ' ']) {
        return Err(url.to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = self.auth.as_ref().map(|_| "(secret)");
        formatter
            .debug_struct("Config")
            .field("urls", &self.urls)
            .field("auth", &auth)
            .field("ca", &self.ca)
            .field("auto_register", &self.auto_register)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_separated_by_commas_and_have_no_user() {
        let found = Config::addresses("http://a:8081/, https://b/apis/ccompat/v7").unwrap();
        assert_eq!(found, ["http://a:8081", "https://b/apis/ccompat/v7"]);
        for wrong in [
            "",
            "a:8081",
            "http://",
            "http://u:p@a",
            "http://a,",
            "ftp://a",
            "http://a?b",
        ] {
            assert!(Config::addresses(wrong).is_err(), "{wrong}");
        }
    }
}
