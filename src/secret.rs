//! Secrets of the configuration: named by `env:NAME` or `file:PATH`, resolved once, compared in constant time, never
//! printed.

use std::fmt;

use serde::Deserialize;
use subtle::ConstantTimeEq;

/// A secret's value. Its debug form shows nothing of it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The value itself stands in the configuration.
    #[error("a secret does not stand in the configuration itself: write \"env:NAME\" or \"file:/path\"")]
    Literal,
    /// The environment lacks it.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// Its path.
        path: String,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

impl TryFrom<String> for Secret {
    type Error = SecretError;

    fn try_from(source: String) -> Result<Secret, SecretError> {
        let value = if let Some(name) = source.strip_prefix("env:") {
            std::env::var(name).map_err(|_| SecretError::Environment(name.to_owned()))?
        } else if let Some(path) = source.strip_prefix("file:") {
            std::fs::read_to_string(path).map_err(|cause| SecretError::File {
                path: path.to_owned(),
                cause,
            })?
        } else {
            return Err(SecretError::Literal);
        };
        let value = value.trim_end_matches(['\r', '\n']).to_owned();
        if value.is_empty() {
            Err(SecretError::Empty(source))
        } else {
            Ok(Secret(value))
        }
    }
}

impl Secret {
    /// The value, for what must be computed from it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, candidate: &str) -> bool {
        same(&self.0, candidate)
    }

    #[cfg(test)]
    pub fn of(value: &str) -> Secret {
        Secret(value.to_owned())
    }
}

/// Compares two texts in a time that does not depend on where they differ.
pub fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}
