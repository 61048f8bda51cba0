//! A body as it was sent: its names in the order of the text, which a draft keeps. Knows JSON only.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A JSON value whose objects keep their order.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Sample {
    /// An object.
    Object(#[serde(deserialize_with = "entries")] Vec<(String, Sample)>),
    /// An array.
    List(Vec<Sample>),
    /// Anything that holds no other values.
    Scalar(Value),
}

fn entries<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(String, Sample)>, D::Error> {
    input.deserialize_map(Entries)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Sample)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
