//! Values that a body yields on the way: the parts of its key and its time. They are noted while the text is read,
//! so that no path is looked up twice. Does not know what they are used for.

use std::ops::Range;

/// What to do with the value of a field or of an array's first item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// Keep the text, for the key expression.
    Key(usize),
    /// Keep the milliseconds.
    Time,
}

/// What was captured from one body.
#[derive(Debug, Default)]
pub(super) struct Captures {
    text: String,
    slots: Vec<Option<Range<usize>>>,
    pub time_ms: Option<i64>,
}

impl Captures {
    pub fn reset(&mut self, slots: usize) {
        self.text.clear();
        self.slots.clear();
        self.slots.resize(slots, None);
        self.time_ms = None;
    }

    pub fn keep_text(&mut self, slot: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.slots[slot] = Some(start..self.text.len());
    }

    pub fn text(&self, slot: usize) -> Option<&str> {
        self.slots[slot].clone().map(|range| &self.text[range])
    }
}
