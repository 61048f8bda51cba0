//! Why a session of a producer ends early.

use crate::publish::{self, Unready};
use crate::spool::{AppendError, ReadError};

/// What ends a session before it is drained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error(transparent)]
    Kafka(#[from] publish::Fault),
    #[error(transparent)]
    Connect(#[from] publish::ConnectError),
    #[error(transparent)]
    Topic(#[from] Unready),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the spool does not take notes: {0}")]
    Note(#[from] AppendError),
    #[error(
        "another bridge publishes for this spool id now (its spool is {spool}): only one may; nothing more is accepted or published here. Stop this one, or give one of them another spool.id"
    )]
    Replaced { spool: String },
    #[error("a fault in the bridge itself, please report it: {0}")]
    Panic(String),
}

impl ForwardError {
    /// The label `reason` of `imbridge_producer_rebuilds_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            ForwardError::Kafka(fault) => fault.reason,
            ForwardError::Connect(_) => "connect",
            ForwardError::Topic(Unready::Fault(fault)) => fault.reason,
            ForwardError::Topic(Unready::Refused(_)) => "refused",
            ForwardError::Read(_) | ForwardError::Note(_) => "spool",
            ForwardError::Replaced { .. } => "replaced",
            ForwardError::Panic(_) => "panic",
        }
    }
}
