//! What one commit writes, and whom it has to tell. It knows neither the file nor the threads.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::queue::{AppendError, LaneQueue};
use super::shared::Progress;

/// What goes into one commit.
#[derive(Default)]
pub(super) struct Group {
    pub appends: Vec<(Arc<LaneQueue>, Vec<Vec<u8>>)>,
    pub progress: Option<Progress>,
    pub syncs: Vec<oneshot::Sender<Result<(), AppendError>>>,
    pub close: bool,
    pub damage: Option<String>,
}

impl Group {
    pub fn records(&self) -> usize {
        self.appends.iter().map(|(_, records)| records.len()).sum()
    }

    pub fn bytes(&self) -> usize {
        self.appends.iter().flat_map(|(_, records)| records).map(Vec::len).sum()
    }

    /// How much there is to write.
    pub fn work(&self) -> usize {
        self.records() + usize::from(self.progress.is_some()) + self.syncs.len()
    }

    /// Tells everyone, where `last` is the last sequence number of the group. Who has gone away needs no answer.
    pub fn acknowledge(self, last: u64) {
        let mut first = last + 1 - self.records() as u64;
        for (lane, records) in self.appends {
            lane.tell(records.len(), Ok(first));
            first += records.len() as u64;
        }
        self.syncs.into_iter().for_each(|done| _ = done.send(Ok(())));
    }
}
