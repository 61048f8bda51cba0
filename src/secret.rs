//! Secrets of the configuration. They are named by `env:NAME` or `file:PATH`, read once, compared in constant time and
//! never printed.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use subtle::ConstantTimeEq;

/// A secret's value. Its debug output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The configuration contains the value itself.
    #[error("a secret must not be written into the configuration itself: write \"env:NAME\" or \"file:/path\"")]
    Literal,
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// Its path.
        path: String,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// The value is empty.
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
    /// The value, to compute something from it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub fn of(value: &str) -> Secret {
        Secret(value.to_owned())
    }
}

/// Compares two texts in constant time: it does not depend on where they differ.
pub fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// The credentials of an `Authorization` header of this scheme. Schemes are case-insensitive (RFC 9110, section 11.1).
pub fn credentials<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (sent, credentials) = authorization.split_once(' ')?;
    sent.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}

/// `user:password` from an `Authorization` header of the scheme Basic.
pub fn basic_credentials(authorization: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(authorization, "basic")?).ok()?;
    String::from_utf8(decoded).ok()
}

/// An address without the part before `@`, which may hold a password.
pub fn without_user(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("...@{host}"),
        None => address.to_owned(),
    }
}

/// One secret, or two during a rotation: then either is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Whether one of them passes. All are tried, so that the time does not depend on which one does.
    pub fn any(&self, passes: impl Fn(&Secret) -> bool) -> bool {
        self.0.iter().fold(false, |found, secret| found | passes(secret))
    }

    /// Whether one of them is the candidate; compares in constant time.
    pub fn matches(&self, candidate: &str) -> bool {
        self.any(|secret| same(&secret.0, candidate))
    }

    /// All of them, to compute something from them.
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

/// Reads one secret, or a list of up to `most`. Its errors never contain the value, unlike those of serde.
struct SecretsVisitor {
    most: usize,
}

/// Refuses values that are not text. They may be a secret that was written without quotes.
macro_rules! refuse {
    ($($visit:ident $of:ty),*) => {
        $(fn $visit<E: Error>(self, _: $of) -> Result<Secrets, E> {
            Err(E::custom("this is not text, expected a string: write \"env:NAME\" or \"file:/path\""))
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
