//! The latest items of a list on the status page, bounded. Of a dead letter, the list has the kind and the shape of its bytes, not the
//! bytes: letters and digits that may be personal data are replaced.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a dead letter that are looked at.
const SAMPLE_BYTES: usize = 300;

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When its callback arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// `tencent`, `openim`, or `unknown`.
    pub provider: &'static str,
    /// The command, where it is known; a long one is cut.
    pub command: Option<String>,
    /// As in the header `imbridge-reason`.
    pub reason: &'static str,
    /// How many bytes it has.
    pub bytes: usize,
    /// Its beginning, redacted.
    pub shape: String,
}

/// The latest items, bounded; a handle for other threads, cheap to clone.
#[derive(Debug, Clone)]
pub struct Latest<T> {
    most: usize,
    found: Arc<Mutex<VecDeque<T>>>,
}

impl<T: Clone> Latest<T> {
    pub(super) fn new(most: usize) -> Latest<T> {
        Latest {
            most,
            found: Arc::default(),
        }
    }

    /// Adds an item and removes the items that `same` holds for.
    pub(super) fn add(&self, one: T, same: impl Fn(&T, &T) -> bool) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|other| !same(other, &one));
        found.truncate(self.most - 1);
        found.push_front(one);
    }

    /// The latest first.
    pub fn list(&self) -> Vec<T> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().cloned().collect()
    }
}

/// The beginning of JSON or of other text: names of fields stay, other letters become `x`, digits `0`.
pub(super) fn shape(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SAMPLE_BYTES)]);
    let mut shape = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(quote) = rest.find('"') {
        shape.extend(rest[..quote].chars().map(redacted));
        let inside = &rest[quote + 1..];
        let Some(end) = closing_quote(inside) else {
            rest = inside;
            shape.push('"');
            break;
        };
        rest = &inside[end + 1..];
        let is_name = rest.trim_start().starts_with(':');
        let content = inside[..end].chars();
        shape.push('"');
        shape.extend(content.map(|character| if is_name { character } else { redacted(character) }));
        shape.push('"');
    }
    shape.extend(rest.chars().map(redacted));
    if bytes.len() > SAMPLE_BYTES {
        shape.push('…');
    }
    shape
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn redacted(character: char) -> char {
    match character {
        '0'..='9' => '0',
        ' ' | '\n' | '\r' | '\t' => ' ',
        character if character.is_ascii_punctuation() => character,
        _ => 'x',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_names_and_structure_and_nobodys_data() {
        for (bytes, expected) in [
            (
                &br#"{"GroupId": "@TGS#2J", "n":[12, true]}"#[..],
                r#"{"GroupId": "@xxx#0x", "n":[00, xxxx]}"#,
            ),
            ("not JSON: Zoë 7".as_bytes(), "xxx xxxx: xxx 0"),
            (b"\xff\x00a", "xxx"),
            (
                br#"{"secret":"with \" quote: a","b":1}"#,
                r#"{"secret":"xxxx \" xxxxx: x","b":0}"#,
            ),
        ] {
            assert_eq!(shape(bytes), expected);
        }
        assert_eq!(
            shape(&[b'a'; 400]).chars().filter(|it| *it == 'x').count(),
            SAMPLE_BYTES
        );
    }

    #[test]
    fn only_the_latest_are_kept_and_of_those_that_are_the_same_the_last() {
        let recent = Latest::new(20);
        let add =
            |name: &'static str, number: u32| recent.add((name, number), |one, other| one.0 == other.0 && one.0 != "-");
        add("g", 5);
        add("h", 6);
        add("g", 7);
        assert_eq!(recent.list(), [("g", 7), ("h", 6)]);
        (0..50).for_each(|number| add("-", number));
        assert_eq!(
            recent.list(),
            (30..50).rev().map(|number| ("-", number)).collect::<Vec<_>>()
        );
    }
}
