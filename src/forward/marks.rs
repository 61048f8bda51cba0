//! For each partition, the offset behind which everything undelivered of this spool would be found in Kafka. Kept in
//! the spool's notes: a partition has a mark, durably, before the first message goes there. Pure but for the names.

use std::collections::HashSet;

use foldhash::HashMap;

use crate::publish::Slot;

/// The marks and which of them the spool does not have yet.
#[derive(Debug, Default)]
pub struct Marks {
    offsets: HashMap<Slot, i64>,
    changed: HashSet<Slot>,
}

impl Marks {
    /// Reads them from the spool's notes.
    pub fn from_notes(notes: Vec<(String, String)>) -> Marks {
        let mark = |(key, value): (String, String)| {
            let (topic, partition) = key.strip_prefix("mark/")?.rsplit_once('/')?;
            Some((
                Slot {
                    topic: topic.into(),
                    partition: partition.parse().ok()?,
                },
                value.parse().ok()?,
            ))
        };
        Marks {
            offsets: notes.into_iter().filter_map(mark).collect(),
            changed: HashSet::new(),
        }
    }

    /// The mark of a partition.
    pub fn get(&self, slot: &Slot) -> Option<i64> {
        self.offsets.get(slot).copied()
    }

    /// Moves a mark.
    pub fn set(&mut self, slot: Slot, offset: i64) {
        if self.offsets.get(&slot) != Some(&offset) {
            self.changed.insert(slot.clone());
            self.offsets.insert(slot, offset);
        }
    }

    /// The notes for every mark that moved since the last call.
    pub fn take_notes(&mut self) -> Vec<(String, String)> {
        let note = |slot: Slot| {
            let offset = self.offsets[&slot];
            (format!("mark/{}/{}", slot.topic, slot.partition), offset.to_string())
        };
        std::mem::take(&mut self.changed).into_iter().map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_as_notes_and_only_changes_are_noted() {
        let slot = |topic: &str, partition| Slot {
            topic: topic.into(),
            partition,
        };
        let mut marks = Marks::default();
        marks.set(slot("im.tencent.Group.X", 3), 7);
        marks.set(slot("im.tencent.Group.X", 3), 9);
        let notes = marks.take_notes();
        assert_eq!(notes, [("mark/im.tencent.Group.X/3".to_owned(), "9".to_owned())]);
        assert!(marks.take_notes().is_empty());
        let mut marks = Marks::from_notes(notes);
        assert_eq!(marks.get(&slot("im.tencent.Group.X", 3)), Some(9));
        marks.set(slot("im.tencent.Group.X", 3), 9);
        assert!(marks.take_notes().is_empty());
    }
}
