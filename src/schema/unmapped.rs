//! Values that no field holds, kept as their JSON text under their path: the record's `unmapped` map, already in Avro.
//! Does not know why a value did not fit.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use super::avro;

/// Distinct paths reported for one body; more are stored all the same, only not listed.
const LISTED_PATHS_MAX: usize = 16;
/// Room kept from one body to the next.
pub(super) const KEPT_BYTES_MAX: usize = 256 * 1024;
const KEPT_NAMES_MAX: usize = 4096;

/// Where a value stands in the body; a list from the inside out, on the stack of the walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub parent: Option<&'a Place<'a>>,
    pub step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// Collects the entries of one body's `unmapped` map.
#[derive(Debug, Default)]
pub(super) struct Unmapped {
    entries: Vec<u8>,
    count: usize,
    key: String,
    /// Hashes of the keys in use, with the highest number tried behind `#`. A hash that two keys share would only
    /// cost the later one a needless `#2`.
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

    /// Keeps `text`, the JSON of the value at `place`. `repeated` says that an equal name came before it.
    pub fn keep(&mut self, place: &Place<'_>, text: &str, repeated: bool) {
        self.list(place, repeated);
        self.key.clear();
        write_path(&mut self.key, place, false);
        self.make_unique(repeated);
        avro::put_text(&mut self.entries, &self.key);
        avro::put_text(&mut self.entries, text);
        self.count += 1;
    }

    /// Writes the map, and hands out the paths of what it holds.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Vec<String> {
        if self.count > 0 {
            avro::put_long(out, self.count as i64);
            out.extend_from_slice(&self.entries);
        }
        out.push(0);
        std::mem::take(&mut self.paths)
    }

    /// A map cannot hold two equal keys, and a name may itself look like a repeated one (`Foo#2`).
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

    fn list(&mut self, place: &Place<'_>, repeated: bool) {
        if self.paths.len() == LISTED_PATHS_MAX {
            return;
        }
        self.key.clear();
        write_path(&mut self.key, place, true);
        if repeated {
            self.key.push_str("#*");
        }
        if !self.paths.contains(&self.key) {
            self.paths.push(self.key.clone());
        }
    }
}

fn write_path(out: &mut String, place: &Place<'_>, any_index: bool) {
    if let Some(parent) = place.parent {
        write_path(out, parent, any_index);
        out.push('/');
    }
    match place.step {
        Step::Index(_) if any_index => out.push('*'),
        Step::Index(index) => write!(out, "{index}").expect("a String takes any text"),
        Step::Name(name) => write_name(out, name),
    }
}

fn write_name(out: &mut String, name: &str) {
    for part in name.split_inclusive(['~', '/']) {
        if let Some(plain) = part.strip_suffix('~') {
            out.push_str(plain);
            out.push_str("~0");
        } else if let Some(plain) = part.strip_suffix('/') {
            out.push_str(plain);
            out.push_str("~1");
        } else {
            out.push_str(part);
        }
    }
}
