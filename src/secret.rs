//! Secrets of the configuration: named by `env:NAME` or `file:PATH`, resolved once, compared in constant time, never
//! printed.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use subtle::ConstantTimeEq;

/// A secret's value. Its debug form shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
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

/// What an `Authorization` header says, if it is of this scheme; schemes have no case (RFC 9110, section 11.1).
pub fn credentials<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (sent, credentials) = authorization.split_once(' ')?;
    sent.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}

/// What stands in an `Authorization` header of the scheme Basic: `user:password`.
pub fn basic_credentials(authorization: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(authorization, "basic")?).ok()?;
    String::from_utf8(decoded).ok()
}

/// An address without what stands before an `@` in it, where a password would be.
pub fn without_user(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("...@{host}"),
        None => address.to_owned(),
    }
}

/// A secret, or two while one takes the other's place: then either will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Whether one of them passes. All are tried, so that the time does not tell which.
    pub fn any(&self, passes: impl Fn(&Secret) -> bool) -> bool {
        self.0.iter().fold(false, |found, secret| found | passes(secret))
    }

    /// Whether one of them is the candidate, in a time that does not depend on where they differ.
    pub fn matches(&self, candidate: &str) -> bool {
        self.any(|secret| secret.matches(candidate))
    }

    /// All of them, for what must be computed from them.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    #[cfg(test)]
    pub fn of(values: &[&str]) -> Secrets {
        Secrets(values.iter().map(|value| Secret::of(value)).collect())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secrets, D::Error> {
        deserializer.deserialize_any(SecretsVisitor { most: 2 })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let mut secrets = deserializer.deserialize_any(SecretsVisitor { most: 1 })?;
        Ok(secrets.0.remove(0))
    }
}

/// Reads one secret, or a list with `most` of them. It never repeats what it finds, as serde's own words would.
struct SecretsVisitor {
    most: usize,
}

/// What is no text cannot name a secret; it may be one, without its quotes.
macro_rules! refuse {
    ($($visit:ident $of:ty),*) => {
        $(fn $visit<E: Error>(self, _: $of) -> Result<Secrets, E> {
            Err(E::custom("no text, expected a string: write \"env:NAME\" or \"file:/path\""))
        })*
    };
}

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = if self.most == 1 {
            ""
        } else {
            ", or a list of two of them"
        };
        write!(formatter, "\"env:NAME\" or \"file:/path\"{list}")
    }

    fn visit_str<E: Error>(self, source: &str) -> Result<Secrets, E> {
        let secret = Secret::try_from(source.to_owned()).map_err(E::custom)?;
        Ok(Secrets(vec![secret]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
        if self.most == 1 {
            return Err(A::Error::custom("a list: one secret is allowed"));
        }
        let mut secrets = Vec::new();
        while let Some(secret) = list.next_element()? {
            secrets.push(secret);
        }
        match secrets.len() {
            1 | 2 => Ok(Secrets(secrets)),
            count => Err(A::Error::custom(format!("{count} secrets: one or two are allowed"))),
        }
    }

    refuse!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}
