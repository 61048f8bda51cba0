//! New schemas and privacy rules for a running forwarder. They wait until every record that was composed with the old ones is in Kafka.
//! Otherwise a record could be looked up in Kafka, or sent again, as other messages than before.

use std::sync::{Arc, Mutex, PoisonError};

use crate::callback::CommandTable;
use crate::provider::Privacy;
use crate::schema::Catalogue;
use crate::spool::{ReadError, Reader, Record};

/// What records are composed with.
pub struct Renewal {
    /// The schemas.
    pub catalogue: Arc<Catalogue>,
    /// The rules of the commands.
    pub commands: Arc<CommandTable>,
    /// What must not leave the bridge.
    pub privacy: Privacy,
}

/// Passes a renewal to the forwarder; clones share it. A later renewal replaces one that still waits.
#[derive(Clone, Default)]
pub struct Renewals(Arc<Mutex<Option<Renewal>>>);

impl Renewals {
    /// Passes it on. Records that are appended after this returns are composed with it.
    pub fn post(&self, renewal: Renewal) {
        *self.place() = Some(renewal);
    }

    pub(super) fn are_waiting(&self) -> bool {
        self.place().is_some()
    }

    /// Takes the renewal that waits.
    pub(super) fn take(&self) -> Option<Renewal> {
        self.place().take()
    }

    /// [`Reader::read`]; while a renewal waits, only records up to `composed`, which may have been composed with the old schemas.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
        after_seq: u64,
        max_bytes: usize,
        composed: u64,
    ) -> Result<Vec<Record>, ReadError> {
        // Locked while reading: records that are appended after a renewal was passed on must not be composed without it.
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
