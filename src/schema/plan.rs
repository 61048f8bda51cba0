//! What a schema is compiled into: for each record its fields in schema order, the names they arrive under, and what
//! each can hold. Knows nothing of files or JSON.

use super::capture::Capture;

/// A record's fields, in the order in which Avro wants them.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordPlan {
    pub fields: Vec<FieldPlan>,
    /// Other names of fields, with the field's index.
    pub spellings: Vec<(Box<str>, usize)>,
}

/// A field; or an array's item, which has no name and is captured from the first one only.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    pub name: Box<str>,
    pub kind: Kind,
    pub capture: Option<Capture>,
    /// Whether the IM server makes the value, for one event alone.
    pub unique: bool,
}

/// What a field, or an array's item, can hold.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    /// Any JSON value, as its text.
    Json,
    Long,
    Int,
    /// A long that counts seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    Double,
    Boolean,
    Record(RecordPlan),
    Array(Box<FieldPlan>),
}

impl RecordPlan {
    /// The field that arrives as `name`, with the name as the plan owns it. Senders mostly keep
    /// the order of the schema, so the search starts at `expected`.
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
        let (before, after) = self.fields.split_at(expected.min(self.fields.len()));
        let position = after
            .iter()
            .position(|field| *field.name == *name)
            .map(|found| found + before.len())
            .or_else(|| before.iter().position(|field| *field.name == *name));
        match position {
            Some(index) => Some((index, &self.fields[index].name)),
            None => {
                let (spelling, index) = self.spellings.iter().find(|(spelling, _)| **spelling == *name)?;
                Some((*index, spelling))
            }
        }
    }
}
