//! A JSON value that keeps the order of its names, so that a draft has it too. Knows JSON only.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A JSON value whose objects keep their order.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OrderedJson {
    Object(#[serde(deserialize_with = "entries")] Vec<(String, OrderedJson)>),
    List(Vec<OrderedJson>),
    /// A value that contains no other values.
    Scalar(Value),
}

fn entries<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(String, OrderedJson)>, D::Error> {
    input.deserialize_map(Entries)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, OrderedJson)>;

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
