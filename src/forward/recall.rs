//! Puts records that were delivered before this start and are still in the spool into the history, so that a restart does not let copies
//! through. Nothing is sent or counted here.

use tracing::{info, warn};

use super::compose::{Composer, meta};
use super::repeats::{Arrival, ContentId};
use super::unfold::{clear_head, cleared, events_of, open};
use crate::publish::Position;
use crate::spool::{Reader, Record};

/// Bytes of records that are read at a time.
const READ_BYTES: usize = 256 << 10;

impl Composer {
    /// Takes in every record of the spool up to `delivered`. To be called before the first record is composed; later calls do nothing.
    /// Copies of records that cannot be read are sent: that is better than events that wait.
    pub(super) fn recall(&mut self, reader: &mut Reader, delivered: u64) {
        if std::mem::replace(&mut self.recalled, true) || !self.history.repeats.looks_back() {
            return;
        }
        let (mut read, mut count) = (0, 0);
        while read < delivered {
            let records = match reader.read(read, READ_BYTES) {
                Ok(records) => records,
                Err(cause) => {
                    warn!(%cause, "copies of what was delivered before this start may be sent");
                    return;
                }
            };
            let old = records.iter().filter(|record| record.seq <= delivered);
            count += old.map(|record| self.remember(record)).count();
            read = records.last().map_or(delivered, |record| record.seq);
        }
        info!(
            records = count,
            "went through what was delivered lately, to know copies of it"
        );
    }

    /// Does what composing did to the history.
    fn remember(&mut self, record: &Record) {
        let Ok(mut callback) = open(record) else { return };
        clear_head(&mut callback, &self.privacy);
        let events = events_of(&callback, &self.commands).unwrap_or_default();
        let (head, mut unused) = (&callback.head, Vec::new());
        for event in events.iter().filter_map(|event| cleared(event, &self.privacy)) {
            let command = self.catalogue.command(head.provider.as_str(), &event.command);
            let Some(command) = command.filter(|command| command.has_identity()) else {
                continue;
            };
            unused.clear();
            let position = Position {
                seq: record.seq,
                index: event.index,
                part: 0,
            };
            let meta = meta(&self.names.spool, position, head, ("", None));
            let encoded = self.encoder.record(command, &event.body, &meta, &mut unused);
            if encoded.is_ok_and(|encoded| encoded.identified) {
                let id = ContentId::of(head, command.name(), &event.body);
                let arrival = Arrival::of(head, record.seq, event.index);
                // The event was delivered: the answer does not matter.
                self.history.repeats.is_copy(id, arrival);
            }
        }
    }
}
