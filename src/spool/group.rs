//! The group of one group commit: what it writes, and who waits for it. It knows neither the file nor the threads.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::queue::{AppendError, LaneQueue};
use super::shared::DeliveryUpdate;

/// The work of one commit.
#[derive(Default)]
pub(super) struct Group {
    pub appends: Vec<(Arc<LaneQueue>, Vec<Vec<u8>>)>,
    pub delivery: Option<DeliveryUpdate>,
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

    /// Whether there is something to write.
    pub fn has_work(&self) -> bool {
        !self.appends.is_empty() || self.delivery.is_some() || !self.syncs.is_empty()
    }

    /// Completes everything that waits for this commit. `last` is the sequence number of the last record of the group,
    /// or the error of the commit.
    pub fn complete(self, last: Result<u64, AppendError>) {
        let records = self.records() as u64;
        let mut first = last.map(|last| last + 1 - records);
        for (lane, records) in self.appends {
            lane.complete(records.len(), first);
            first = first.map(|first| first + records.len() as u64);
        }
        // A caller that is no longer there needs no answer.
        self.syncs.into_iter().for_each(|done| _ = done.send(last.map(drop)));
    }
}
