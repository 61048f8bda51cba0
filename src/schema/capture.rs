//! Values that are captured while a body is encoded: the parts of its key, its time, its identity, its number, its meaning.
//! They are captured in the same pass, so that no path is looked up in the body again. Does not know how they are used.

use std::ops::Range;

use super::exact;
use super::unmapped::KEPT_BYTES_MAX;

/// What to capture of a field's value or of an array's items. Text and time are captured of the first item only, the
/// meaning of all items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Capture {
    /// The slot for the value's text.
    pub text: Option<usize>,
    pub time: Option<TimeCapture>,
    /// The slot for the text of every item, for the meaning of the event.
    pub meaning: Option<usize>,
}

/// A value that is one alternative of the event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeCapture {
    pub alternative: usize,
    /// The unit in which the value counts the time since 1970.
    pub unit_ms: i64,
}

/// How many alternatives the time of a command may have.
pub(super) const TIMES_MAX: usize = 4;

/// What was captured from one body.
#[derive(Debug, Default)]
pub(super) struct Captures {
    text: String,
    slots: Vec<Option<Range<usize>>>,
    times_ms: [Option<i64>; TIMES_MAX],
    /// Whether values are captured for the meaning of the event.
    pub with_meanings: bool,
    meanings: Vec<MeaningValue>,
}

/// A value for the meaning of the event.
#[derive(Debug)]
struct MeaningValue {
    slot: usize,
    /// Whether each array on the path to the value was at its first item.
    first: bool,
    /// Where the value's text is.
    text: Range<usize>,
}

impl Captures {
    pub fn reset(&mut self, slots: usize) {
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES_MAX);
        self.slots.clear();
        self.slots.resize(slots, None);
        self.times_ms = [None; TIMES_MAX];
        self.meanings.clear();
        self.meanings.shrink_to(KEPT_BYTES_MAX / size_of::<MeaningValue>());
    }

    /// Captures a value. `first` is whether each array on the path to it is at its first item.
    pub fn keep(&mut self, capture: Capture, first: bool, text: &str) {
        if let Some(slot) = capture.meaning.filter(|_| self.with_meanings) {
            let text = self.add(text);
            self.meanings.push(MeaningValue { slot, first, text });
        }
        if !first {
            return;
        }
        if let Some(slot) = capture.text {
            self.keep_text(slot, text);
        }
        if let Some(TimeCapture { alternative, unit_ms }) = capture.time {
            self.times_ms[alternative] = exact::instant_ms(text, unit_ms);
        }
    }

    pub fn keep_text(&mut self, slot: usize, text: &str) {
        self.slots[slot] = Some(self.add(text));
    }

    fn add(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The first alternative that has a time. Both providers write 0 if they have no time.
    pub fn time_ms(&self) -> Option<i64> {
        self.times_ms.iter().flatten().copied().find(|time_ms| *time_ms > 0)
    }

    pub fn text(&self, slot: usize) -> Option<&str> {
        self.slots[slot].clone().map(|range| &self.text[range])
    }

    /// The texts in a slot for meanings, in the body's order. Each has a flag: whether every array on the path to it was at
    /// its first item.
    pub fn meanings(&self, slot: usize) -> impl Iterator<Item = (bool, &str)> {
        let values = self.meanings.iter().filter(move |value| value.slot == slot);
        values.map(|value| (value.first, &self.text[value.text.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_the_meaning_are_captured_only_with_meanings() {
        let capture = Capture {
            meaning: Some(0),
            ..Capture::default()
        };
        for with_meanings in [false, true] {
            let mut captures = Captures {
                with_meanings,
                ..Captures::default()
            };
            captures.reset(0);
            captures.keep(capture, false, "a");
            captures.keep(capture, true, "b");
            let kept: Vec<_> = captures.meanings(0).collect();
            assert_eq!(kept, [(false, "a"), (true, "b")][..if with_meanings { 2 } else { 0 }]);
            assert_eq!(captures.text.is_empty(), !with_meanings);
        }
    }
}
