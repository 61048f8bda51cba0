//! The settings of a registry's client. Does not know the configuration file; the caller maps its keys.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The registry's addresses and how to call it.
#[derive(Clone)]
pub struct Config {
    /// The addresses of one registry, tried in turn. They do not end with a slash.
    pub urls: Vec<String>,
    /// `user:password`.
    pub auth: Option<String>,
    /// A PEM file with the authorities to trust. If there is none, those of the machine are trusted.
    pub ca: Option<PathBuf>,
    /// Whether missing schemas are registered. If not, publishing waits until they are.
    pub auto_register: bool,
    /// The time limit of one call.
    pub timeout: Duration,
}

impl Config {
    /// Parses `http://a:8081, http://b:8081/`.
    ///
    /// # Errors
    /// The first address that is not valid.
    pub fn addresses(text: &str) -> Result<Vec<String>, String> {
        text.split(',').map(|url| address(url.trim())).collect()
    }

    /// The registry's name in the file of ids.
    pub(super) fn name(&self) -> String {
        self.urls.join(",")
    }
}

fn address(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    // An address is printed, so it must not contain a user and a password.
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
