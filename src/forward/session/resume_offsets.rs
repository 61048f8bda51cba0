//! For each partition, the resume offset: every message of this spool that is not known to be delivered lies at or behind it. After a
//! crash, Kafka is read from there. The offsets are kept in the spool's notes; a partition has one there, durably, before its first
//! message is sent. This file does no I/O.

use std::collections::HashSet;

use foldhash::HashMap;

use crate::publish::Slot;

/// The beginning of a note's key; the topic and the partition follow.
const NOTE: &str = "mark/";

/// The resume offsets, and which of them the spool does not have yet.
#[derive(Debug, Default)]
pub struct ResumeOffsets {
    offsets: HashMap<Slot, i64>,
    changed: HashSet<Slot>,
}

impl ResumeOffsets {
    /// Reads them from the spool's notes.
    pub fn from_notes(notes: Vec<(String, String)>) -> ResumeOffsets {
        let offset = |(key, value): (String, String)| {
            let (topic, partition) = key.strip_prefix(NOTE)?.rsplit_once('/')?;
            let slot = Slot {
                topic: topic.into(),
                partition: partition.parse().ok()?,
            };
            Some((slot, value.parse().ok()?))
        };
        ResumeOffsets {
            offsets: notes.into_iter().filter_map(offset).collect(),
            changed: HashSet::new(),
        }
    }

    /// The resume offset of a partition.
    pub fn get(&self, slot: &Slot) -> Option<i64> {
        self.offsets.get(slot).copied()
    }

    /// Sets the resume offset of a partition.
    pub fn set(&mut self, slot: Slot, offset: i64) {
        if self.offsets.get(&slot) != Some(&offset) {
            self.changed.insert(slot.clone());
            self.offsets.insert(slot, offset);
        }
    }

    /// The notes for every offset that changed since the last call.
    pub fn take_notes(&mut self) -> Vec<(String, String)> {
        let note = |slot: Slot| {
            let offset = self.offsets[&slot];
            (format!("{NOTE}{}/{}", slot.topic, slot.partition), offset.to_string())
        };
        std::mem::take(&mut self.changed).into_iter().map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_as_notes_and_only_changes_are_noted() {
        let slot = |topic: &str, partition| Slot {
            topic: topic.into(),
            partition,
        };
        let mut offsets = ResumeOffsets::default();
        offsets.set(slot("im.tencent.Group.X", 3), 7);
        offsets.set(slot("im.tencent.Group.X", 3), 9);
        let notes = offsets.take_notes();
        assert_eq!(notes, [("mark/im.tencent.Group.X/3".to_owned(), "9".to_owned())]);
        assert!(offsets.take_notes().is_empty());
        let mut offsets = ResumeOffsets::from_notes(notes);
        assert_eq!(offsets.get(&slot("im.tencent.Group.X", 3)), Some(9));
        offsets.set(slot("im.tencent.Group.X", 3), 9);
        assert!(offsets.take_notes().is_empty());
    }
}
