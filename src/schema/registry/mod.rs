//! A schema registry with Confluent's API: finds the registry's id of a schema, so that stock clients can read the records.
//!
//! Publishing uses [`Ids`], which never blocks: a thread looks up ids, retries, and keeps them on disk. If the registry is
//! down, only schemas that were never looked up before have to wait. The command line uses [`Client`], the API itself.
//! Absent here: Kafka, HTTP servers, the spool, providers. The caller gives the subjects.

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

/// Why there is no id for a schema. Every cause can be temporary, so the caller waits and retries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No address answered.
    #[error("no answer from {url}: {cause}")]
    Unreachable {
        /// The last address that was tried.
        url: String,
        cause: String,
    },
    /// The registry refuses the credentials.
    #[error("{url} refuses schemas.registry_auth with status {status}")]
    Unauthorized {
        url: String,
        /// 401 or 403.
        status: u16,
    },
    #[error("the registry has no subject {0}")]
    NoSubject(String),
    /// The registry has the subject, but not this schema under it.
    #[error("the registry does not have this schema under {0}")]
    NoSchema(String),
    /// The schema is not compatible with the subject's versions.
    #[error("{subject} does not take this schema: {message}")]
    Incompatible {
        subject: String,
        /// The registry's error message.
        message: String,
    },
    /// Any other answer.
    #[error("{url} answers with status {status}: {message}")]
    Answer {
        url: String,
        status: u16,
        /// The registry's error message, or why the answer is not valid.
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

    /// Whether the schema must be registered.
    pub fn is_unregistered(&self) -> bool {
        matches!(self, Self::NoSubject(_) | Self::NoSchema(_))
    }

    /// Whether another address may give a better answer.
    fn is_of_the_address(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answer { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
