//! The plan into which a schema is compiled: the fields of each record in schema order, the names under which they arrive,
//! and the type of each. Does not know files or JSON.

use super::capture::Capture;

/// A record's fields, in the order of the schema, in which Avro writes them.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordPlan {
    pub fields: Vec<FieldPlan>,
    /// Other names of fields, each with the field's index.
    pub spellings: Vec<(Box<str>, usize)>,
}

/// A field, or an array's item, which has no name.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    pub name: Box<str>,
    pub kind: Kind,
    pub capture: Option<Capture>,
    /// Whether the IM server generates the value, a new one for each event.
    pub unique: bool,
}

/// The type of a field or of an array's item.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    /// Any JSON value, stored as its text.
    Json,
    Long,
    Int,
    /// A long: seconds since 1970.
    Seconds,
    /// A timestamp-millis: milliseconds since 1970.
    Millis,
    Double,
    Boolean,
    Record(RecordPlan),
    Array(Box<FieldPlan>),
}

impl Kind {
    /// Whether the value may be a JSON number or a JSON string.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Json | Self::Boolean | Self::Record(_) | Self::Array(_))
    }
}

impl RecordPlan {
    /// The field that arrives as `name`: its index, and the name as the plan owns it. Senders mostly keep the order of the
    /// schema, so the search starts at `expected`.
    #[inline]
    pub fn find(&self, name: &str, expected: usize) -> Option<(usize, &str)> {
        if let Some(field) = self.fields.get(expected)
            && *field.name == *name
        {
            return Some((expected, &field.name));
        }
        self.search(name, expected)
    }

    fn search(&self, name: &str, expected: usize) -> Option<(usize, &str)> {
        let length = self.fields.len();
        let mut order = (expected.min(length)..length).chain(0..expected.min(length));
        if let Some(index) = order.find(|index| *self.fields[*index].name == *name) {
            return Some((index, &self.fields[index].name));
        }
        let (spelling, index) = self.spellings.iter().find(|(spelling, _)| **spelling == *name)?;
        Some((*index, spelling))
    }
}
