//! Who publishes a spool id, where delivery is transactional. Kafka fences off a producer for two reasons: another bridge has taken
//! over, or the producer's own transaction took too long. The owner of the last checkpoint tells which.

use super::Parts;
use super::source::Completed;
use crate::forward::error::ForwardError;
use crate::lifecycle::unix_ms;
use crate::publish::{Checkpoint, ConnectError, Extent, last_checkpoint};

/// This process's claim to a spool id.
pub(in crate::forward) struct Claim {
    /// This process.
    owner: String,
    /// A checkpoint of this process was committed. From then on, a checkpoint of another owner means that this process is replaced.
    made: bool,
}

impl Claim {
    pub fn new() -> Claim {
        Claim {
            owner: format!("{:x}-{:x}", unix_ms(), std::process::id()),
            made: false,
        }
    }

    /// To be called before a producer takes over and thereby fences off the current one.
    ///
    /// # Errors
    /// [`ForwardError::Replaced`], or [`ForwardError::Connect`] where Kafka does not answer: that is no fault of a producer.
    pub fn verify(&self, parts: &Parts) -> Result<(), ForwardError> {
        if !self.made {
            return Ok(());
        }
        // A transaction of our own last producer may be open for a minute, and would hide later checkpoints. A bridge that has taken
        // over has ended it, so what is visible now is enough.
        self.compare(self.read(parts, Extent::Visible)?.as_ref())
    }

    /// The last checkpoint, which is not another owner's. To be called by a producer that has taken over.
    pub(super) fn take_over(&self, parts: &Parts) -> Result<Option<Checkpoint>, ForwardError> {
        // A broker that has just started may take a minute to end the transaction of the last producer. That is no fault of this one.
        let last = self.read(parts, Extent::Everything)?;
        self.compare(last.as_ref())?;
        Ok(last)
    }

    /// The first checkpoint of this process is committed.
    pub(super) fn confirm(&mut self) {
        self.made = true;
    }

    /// The checkpoint of this process for records up to `last`.
    pub(super) fn checkpoint(&self, spool: &str, last: Completed) -> Checkpoint {
        Checkpoint {
            spool: spool.to_owned(),
            owner: self.owner.clone(),
            delivered: last.seq,
            appended_at_ms: last.appended_at_ms,
        }
    }

    fn read(&self, parts: &Parts, extent: Extent) -> Result<Option<Checkpoint>, ForwardError> {
        Ok(last_checkpoint(&parts.config, &parts.spool, extent).map_err(ConnectError::Claim)?)
    }

    fn compare(&self, last: Option<&Checkpoint>) -> Result<(), ForwardError> {
        match last {
            Some(last) if self.made && last.owner != self.owner => Err(ForwardError::Replaced {
                spool: last.spool.clone(),
            }),
            _ => Ok(()),
        }
    }
}
