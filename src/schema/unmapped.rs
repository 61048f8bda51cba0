//! Collects the values that no field holds, as JSON text by their path, and writes them as the record's `unmapped` map. Does
//! not know why a value did not fit.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use super::avro;

/// How many distinct paths are reported for one body. Further values are stored too, but their paths are not reported.
const LISTED_PATHS_MAX: usize = 16;
/// The capacity of a buffer that is kept from one body to the next.
pub(super) const KEPT_BYTES_MAX: usize = 256 * 1024;
const KEPT_NAMES_MAX: usize = 4096;

/// The path of a value in the body: a linked list from the value to the root, on the stack of the walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyPath<'a> {
    pub parent: Option<&'a BodyPath<'a>>,
    pub segment: Segment<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Segment<'a> {
    Name(&'a str),
    Index(usize),
}

/// Collects the entries of one body's `unmapped` map.
#[derive(Debug, Default)]
pub(super) struct Unmapped {
    entries: Vec<u8>,
    count: usize,
    key: String,
    /// The hashes of the keys in use, with the highest number tried behind `#`. If two keys have the same hash, the later
    /// one only gets a `#2` that it does not need.
    taken: HashMap<u64, u32>,
    hasher: RandomState,
    paths: Vec<String>,
}

impl Unmapped {
    pub fn reset(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(KEPT_BYTES_MAX);
        self.count = 0;
        self.key.clear();
        self.key.shrink_to(KEPT_BYTES_MAX);
        self.taken.clear();
        self.taken.shrink_to(KEPT_NAMES_MAX);
        self.paths.clear();
    }

    /// Keeps the value at `path`; `text` is its JSON. `repeated` is whether an equal name came before it in the same object.
    pub fn keep(&mut self, path: &BodyPath<'_>, text: &str, repeated: bool) {
        self.list(path, repeated);
        self.key.clear();
        write_path(&mut self.key, path, false);
        self.make_unique(repeated);
        avro::put_text(&mut self.entries, &self.key);
        avro::put_text(&mut self.entries, text);
        self.count += 1;
    }

    /// Writes the map, and returns the paths of its values.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Vec<String> {
        if self.count > 0 {
            avro::put_long(out, self.count as i64);
            out.extend_from_slice(&self.entries);
        }
        out.push(0);
        std::mem::take(&mut self.paths)
    }

    /// Adds a number to the key if it is in use: a map cannot have two equal keys. A name in the body may itself look like a
    /// key with a number (`Foo#2`).
    fn make_unique(&mut self, repeated: bool) {
        let base_len = self.key.len();
        let base = self.hasher.hash_one(self.key.as_str());
        let mut number = match self.taken.get(&base) {
            Some(number) => *number,
            None if repeated => 1,
            None => {
                self.taken.insert(base, 1);
                return;
            }
        };
        loop {
            number += 1;
            self.key.truncate(base_len);
            write!(self.key, "#{number}").expect("a String takes any text");
            let hash = self.hasher.hash_one(self.key.as_str());
            if !self.taken.contains_key(&hash) {
                self.taken.insert(hash, 1);
                self.taken.insert(base, number);
                return;
            }
        }
    }

    fn list(&mut self, path: &BodyPath<'_>, repeated: bool) {
        if self.paths.len() == LISTED_PATHS_MAX {
            return;
        }
        self.key.clear();
        write_path(&mut self.key, path, true);
        if repeated {
            self.key.push_str("#*");
        }
        if !self.paths.contains(&self.key) {
            self.paths.push(self.key.clone());
        }
    }
}

fn write_path(out: &mut String, path: &BodyPath<'_>, any_index: bool) {
    if let Some(parent) = path.parent {
        write_path(out, parent, any_index);
        out.push('/');
    }
    match path.segment {
        Segment::Index(_) if any_index => out.push('*'),
        Segment::Index(index) => write!(out, "{index}").expect("a String takes any text"),
        Segment::Name(name) => write_name(out, name),
    }
}

/// Writes a name with `~` as `~0` and `/` as `~1`, as in JSON pointers.
fn write_name(out: &mut String, name: &str) {
    let mut rest = name;
    while let Some(at) = rest.find(['~', '/']) {
        out.push_str(&rest[..at]);
        out.push_str(if rest.as_bytes()[at] == b'~' { "~0" } else { "~1" });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
