//! A body as it was sent: its names in the order of the text, which a draft keeps. Knows JSON only.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A JSON value whose objects keep their order.
#[derive(Debug, Clone)]
pub enum Sample {
    /// Anything that holds no other values.
    Scalar(Value),
    /// An array.
    List(Vec<Sample>),
    /// An object.
    Object(Vec<(String, Sample)>),
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Sample;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Sample, E> {
        Ok(Sample::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Sample, E> {
        Ok(Sample::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Sample, E> {
        Ok(Sample::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Sample, E> {
        Ok(Sample::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Sample, E> {
        Ok(Sample::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Sample, E> {
        Ok(Sample::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sample, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Sample::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sample, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Sample::Object(object))
    }
}
