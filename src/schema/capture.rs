//! Values that a body yields on the way: the parts of its key, its time, its identity, its number, its meaning. They are noted while the text is read,
//! so that no path is looked up twice. Does not know what they are used for.

use std::ops::Range;

use super::exact;
use super::unmapped::KEPT_BYTES_MAX;

/// What to keep of the value of a field or of an array's items; of the first one only, but for the meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Capture {
    /// The text, in this slot.
    pub text: Option<usize>,
    /// The number times the second: milliseconds since 1970, for the first, an alternative of the time.
    pub time: Option<(usize, i64)>,
    /// The text of every item, under this mark, for what the event means.
    pub meaning: Option<usize>,
}

/// Alternatives that the time of a command may have.
pub(super) const TIMES_MAX: usize = 4;

/// What was captured from one body.
#[derive(Debug, Default)]
pub(super) struct Captures {
    text: String,
    slots: Vec<Option<Range<usize>>>,
    times_ms: [Option<i64>; TIMES_MAX],
    /// Whether somebody will ask for what the event means.
    pub meant: bool,
    meanings: Vec<Meant>,
}

/// A value for what the event means: its mark, where its text is, and whether each array on the way was at its first item.
#[derive(Debug)]
struct Meant {
    mark: usize,
    first: bool,
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
        self.meanings.shrink_to(KEPT_BYTES_MAX / size_of::<Meant>());
    }

    /// Keeps a value; `first` says whether each array on the way to it is at its first item.
    pub fn keep(&mut self, capture: Capture, first: bool, text: &str) {
        if let Some(mark) = capture.meaning.filter(|_| self.meant) {
            let text = self.add(text);
            self.meanings.push(Meant { mark, first, text });
        }
        if !first {
            return;
        }
        if let Some(slot) = capture.text {
            self.keep_text(slot, text);
        }
        if let Some((alternative, scale)) = capture.time {
            self.times_ms[alternative] = exact::instant_ms(text, scale);
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

    /// The first alternative that yields a time. Both providers write 0 where they have none.
    pub fn time_ms(&self) -> Option<i64> {
        self.times_ms.iter().flatten().copied().find(|time_ms| *time_ms > 0)
    }

    pub fn text(&self, slot: usize) -> Option<&str> {
        self.slots[slot].clone().map(|range| &self.text[range])
    }

    /// The texts that were kept under a mark, in the body's order, each with whether it is of first items only.
    pub fn meant(&self, mark: usize) -> impl Iterator<Item = (bool, &str)> {
        let own = self.meanings.iter().filter(move |meant| meant.mark == mark);
        own.map(|meant| (meant.first, &self.text[meant.text.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_means_is_kept_only_where_somebody_will_ask() {
        let capture = Capture {
            meaning: Some(0),
            ..Capture::default()
        };
        for meant in [false, true] {
            let mut captures = Captures {
                meant,
                ..Captures::default()
            };
            captures.reset(0);
            captures.keep(capture, false, "a");
            captures.keep(capture, true, "b");
            let kept: Vec<_> = captures.meant(0).collect();
            assert_eq!(kept, [(false, "a"), (true, "b")][..if meant { 2 } else { 0 }]);
            assert_eq!(captures.text.is_empty(), !meant);
        }
    }
}
