//! New schemas and privacy rules for a forwarder that runs. They wait until everything that was composed with the old ones is in Kafka, so
//! a record is never looked up, or sent a second time, as something else than it was.

use std::sync::{Arc, Mutex, PoisonError};

use crate::callback::CommandTable;
use crate::provider::Privacy;
use crate::schema::Catalogue;
use crate::spool::{ReadError, Reader, Record};

/// What a record is made a message with.
pub struct Renewal {
    /// The schemas.
    pub catalogue: Arc<Catalogue>,
    /// The rules of the commands.
    pub commands: Arc<CommandTable>,
    /// What must not leave the bridge.
    pub privacy: Privacy,
}

/// Where a renewal is left for the forwarder. Clones share the place; the latest replaces one that still waits.
#[derive(Clone, Default)]
pub struct Renewals(Arc<Mutex<Option<Renewal>>>);

impl Renewals {
    /// Leaves it. Records that are appended after this returns are composed with it.
    pub fn post(&self, renewal: Renewal) {
        *self.place() = Some(renewal);
    }

    pub(super) fn are_waiting(&self) -> bool {
        self.place().is_some()
    }

    /// What waits, for the composer.
    pub(super) fn take(&self) -> Option<Renewal> {
        self.place().take()
    }

    /// What [`Reader::read`] gives; while a renewal waits, only what may have been composed already, up to `composed`.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
        after_seq: u64,
        max_bytes: usize,
        composed: u64,
    ) -> Result<Vec<Record>, ReadError> {
        // Held while reading: what is appended after a renewal was left must not be read as if it had been before.
        let waiting = self.place();
        if waiting.is_some() && after_seq >= composed {
            return Ok(Vec::new());
        }
        let mut records = reader.read(after_seq, max_bytes)?;
        if waiting.is_some() {
            records.retain(|record| record.seq <= composed);
        }
        Ok(records)
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<Renewal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
