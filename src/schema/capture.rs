//! Values that a body yields on the way: the parts of its key, its time, its identity, its number. They are noted while the text is read,
//! so that no path is looked up twice. Does not know what they are used for.

use std::ops::Range;

use super::exact;
use super::unmapped::KEPT_BYTES_MAX;

/// What to keep of the value of a field or of an array's first item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Capture {
    /// The text, in this slot.
    pub text: Option<usize>,
    /// The number times the second: milliseconds since 1970, for the first, an alternative of the time.
    pub time: Option<(usize, i64)>,
}

/// Alternatives that the time of a command may have.
pub(super) const TIMES_MAX: usize = 4;

/// What was captured from one body.
#[derive(Debug, Default)]
pub(super) struct Captures {
    text: String,
    slots: Vec<Option<Range<usize>>>,
    times_ms: [Option<i64>; TIMES_MAX],
}

impl Captures {
    pub fn reset(&mut self, slots: usize) {
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES_MAX);
        self.slots.clear();
        self.slots.resize(slots, None);
        self.times_ms = [None; TIMES_MAX];
    }

    pub fn keep(&mut self, capture: Capture, text: &str) {
        if let Some(slot) = capture.text {
            self.keep_text(slot, text);
        }
        if let Some((alternative, scale)) = capture.time {
            self.times_ms[alternative] = exact::integer(text).and_then(|value| value.checked_mul(scale));
        }
    }

    pub fn keep_text(&mut self, slot: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.slots[slot] = Some(start..self.text.len());
    }

    /// The first alternative that yields a time. Both providers write 0 where they have none.
    pub fn time_ms(&self) -> Option<i64> {
        self.times_ms.iter().flatten().copied().find(|time_ms| *time_ms > 0)
    }

    pub fn text(&self, slot: usize) -> Option<&str> {
        self.slots[slot].clone().map(|range| &self.text[range])
    }
}
