//! Finds the fields at the top of sample bodies that a schema does not declare. New fields in inner records are only noted,
//! because inner records never change. Knows no files.

use std::collections::HashMap;

use serde_json::Value;

use super::naming::Names;
use super::observed::Observed;
use super::ordered_json::OrderedJson;

/// The fields to add to a schema.
pub(super) struct Additions<'s> {
    root: &'s Value,
    /// The schema's records by name.
    records: HashMap<String, &'s Value>,
    observed: Observed,
    notes: Vec<String>,
}

/// The declaration of a value.
enum Declared<'s> {
    Record(&'s Value),
    List(&'s Value),
    Scalar,
}

impl<'s> Additions<'s> {
    pub fn new(root: &'s Value) -> Self {
        let mut records = HashMap::new();
        collect(root, &mut records);
        Self {
            root,
            records,
            observed: Observed::default(),
            notes: Vec::new(),
        }
    }

    /// Adds the undeclared fields of a body.
    pub fn body(&mut self, body: &OrderedJson) {
        self.record(self.root, body);
    }

    /// Adds the undeclared fields of a record's `unmapped` map. An entry is undeclared, or its value does not fit.
    pub fn unmapped(&mut self, map: &OrderedJson) {
        let OrderedJson::Object(entries) = map else { return };
        for (path, value) in entries {
            // In a record, the value is JSON text.
            let parsed = match value {
                OrderedJson::Scalar(Value::String(text)) => serde_json::from_str(text).ok(),
                _ => None,
            };
            self.entry(path, parsed.as_ref().unwrap_or(value));
        }
    }

    /// The schema with the added fields, if there are any, and notes about what could not be added.
    pub fn finish(mut self) -> (Option<Value>, Vec<String>) {
        self.notes.sort();
        self.notes.dedup();
        let mut names = Names(self.records.keys().cloned().collect());
        let owner = self.root["name"].as_str().unwrap_or_default();
        let added = self.observed.avro_fields(owner, &mut names);
        if added.is_empty() {
            return (None, self.notes);
        }
        let mut schema = self.root.clone();
        if let Some(fields) = schema["fields"].as_array_mut() {
            // Before the bridge's own fields. The first of them is the first field that is not a union.
            let position = fields.iter().position(|field| !field["type"].is_array());
            let at = position.unwrap_or(fields.len());
            fields.splice(at..at, added);
        }
        (Some(schema), self.notes)
    }

    fn record(&mut self, record: &'s Value, body: &OrderedJson) {
        let OrderedJson::Object(entries) = body else { return };
        for (name, value) in entries {
            match find(record, name) {
                Some(field) => self.value(&field["type"][1], value),
                None => self.add(record, name, value),
            }
        }
    }

    fn value(&mut self, kind: &'s Value, value: &OrderedJson) {
        match self.declared(kind) {
            Declared::Record(record) => self.record(record, value),
            Declared::List(items) => {
                let OrderedJson::List(values) = value else { return };
                values.iter().for_each(|value| self.value(items, value));
            }
            Declared::Scalar => {}
        }
    }

    fn entry(&mut self, path: &str, value: &OrderedJson) {
        let mut kind = self.root;
        for part in path.split('/') {
            let part = part.replace("~1", "/").replace("~0", "~");
            match self.declared(kind) {
                Declared::List(items) => kind = items,
                Declared::Scalar => break,
                Declared::Record(record) => {
                    let name = part.rsplit_once('#').filter(|(_, count)| count.parse::<u32>().is_ok());
                    let name = name.map_or(part.as_str(), |(name, _)| name);
                    match find(record, name) {
                        Some(field) => kind = &field["type"][1],
                        None => return self.add(record, name, value),
                    }
                }
            }
        }
        self.notes.push(format!(
            "{path} is declared, but its type does not hold what was sent; types never change"
        ));
    }

    fn add(&mut self, record: &Value, name: &str, value: &OrderedJson) {
        if std::ptr::eq(record, self.root) {
            return self.observed.field(name).add(value);
        }
        let owner = record["name"].as_str().unwrap_or_default();
        self.notes.push(format!(
            "{name} of {owner} stays in unmapped: an inner record never gets a new field"
        ));
    }

    fn declared(&self, kind: &'s Value) -> Declared<'s> {
        if let Some(record) = kind.as_str().and_then(|name| self.records.get(name)) {
            return Declared::Record(record);
        }
        match kind["type"].as_str() {
            Some("record") => Declared::Record(kind),
            Some("array") => Declared::List(&kind["items"]),
            _ => Declared::Scalar,
        }
    }
}

/// The field that arrives as `name`.
fn find<'s>(record: &'s Value, name: &str) -> Option<&'s Value> {
    let body = record["fields"].as_array()?.iter();
    let mut body = body.filter(|field| field["type"].is_array());
    body.find(|field| {
        let spellings = field["spellings"].as_array().into_iter().flatten();
        field["name"] == name || spellings.into_iter().any(|spelling| spelling == name)
    })
}

/// Collects the records of a schema by name.
fn collect<'s>(node: &'s Value, records: &mut HashMap<String, &'s Value>) {
    if node["type"] == "record"
        && let Some(name) = node["name"].as_str()
    {
        records.insert(name.to_owned(), node);
    }
    match node {
        Value::Object(entries) => entries.values().for_each(|value| collect(value, records)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, records)),
        _ => {}
    }
}
