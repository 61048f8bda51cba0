//! A schema registry with Confluent's API: which number it has for a schema, so that any stock client can read.
//!
//! [`Ids`] is what publishing asks: it never blocks, a thread of its own looks up, retries, and remembers on disk, so that
//! a registry that is down holds up nothing but a schema that was never looked up before. [`Client`] is the API itself,
//! for commands that a person runs. Absent here: Kafka, HTTP as a server, the spool, providers. A subject comes from
//! the caller.

mod cache;
mod client;
mod config;
mod ids;
mod metrics;
mod text;
mod tls;

pub use client::{Client, Found, SUBJECT_COMPATIBILITY};
pub use config::Config;
pub use ids::{Ids, Question};
pub use metrics::Metrics;
pub use text::published;
pub use tls::tls;

/// The subject of a topic's values.
pub fn subject_of(topic: &str) -> String {
    format!("{topic}-value")
}

/// Why there is no number for a schema. Every kind can pass: the caller waits and asks again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// None of the addresses gave an answer.
    #[error("no answer from {url}: {cause}")]
    Unreachable {
        /// The last address that was tried.
        url: String,
        /// What happened.
        cause: String,
    },
    /// It wants other credentials.
    #[error("{url} refuses schemas.registry_auth with status {status}")]
    Unauthorized {
        /// The address.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// It knows no such subject.
    #[error("the registry has no subject {0}")]
    NoSubject(String),
    /// It knows the subject, and not this schema under it.
    #[error("the registry does not have this schema under {0}")]
    NoSchema(String),
    /// The schema does not go with what is there.
    #[error("{subject} does not take this schema: {message}")]
    Incompatible {
        /// The subject.
        subject: String,
        /// The registry's words.
        message: String,
    },
    /// An answer that is none of those.
    #[error("{url} answers with status {status}: {message}")]
    Answer {
        /// The address.
        url: String,
        /// Its status.
        status: u16,
        /// The registry's words, or what is wrong with them.
        message: String,
    },
}

impl RegistryError {
    /// A stable name for a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Unauthorized { .. } => "unauthorized",
            Self::NoSubject(_) | Self::NoSchema(_) => "not_registered",
            Self::Incompatible { .. } => "incompatible",
            Self::Answer { .. } => "answer",
        }
    }

    /// The schema is not there, and registering it is the remedy.
    pub fn is_unregistered(&self) -> bool {
        matches!(self, Self::NoSubject(_) | Self::NoSchema(_))
    }

    /// Another address may do better.
    fn is_of_the_address(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answer { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
