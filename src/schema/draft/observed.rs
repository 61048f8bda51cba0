//! The values that a field had in the samples, and the Avro type that holds them by the rules of `schemas/README.md`. Knows
//! no files and no command.

use serde_json::{Value, json};

use super::naming::{self, Names};
use super::ordered_json::OrderedJson;

/// The types of all values at one path of the samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    text: bool,
    integer: bool,
    fraction: bool,
    boolean: bool,
    /// A value did not have 13 digits, as milliseconds since 1970 have.
    not_millis: bool,
    /// There was an integer that a `long` cannot hold, or an array in an array.
    outside: bool,
    fields: Vec<(String, Observed)>,
    items: Option<Box<Observed>>,
}

impl Observed {
    /// Adds a value.
    pub fn add(&mut self, sample: &OrderedJson) {
        let value = match sample {
            OrderedJson::Object(entries) => {
                entries.iter().for_each(|(name, value)| self.field(name).add(value));
                return;
            }
            OrderedJson::List(values) => {
                self.outside |= values.iter().any(|value| matches!(value, OrderedJson::List(_)));
                let items = self.items.get_or_insert_default();
                values.iter().for_each(|value| items.add(value));
                return;
            }
            OrderedJson::Scalar(value) => value,
        };
        match value {
            Value::Null => return,
            Value::Bool(_) => self.boolean = true,
            Value::String(_) => self.text = true,
            Value::Number(number) if number.is_i64() => self.integer = true,
            Value::Number(number) if number.is_u64() => self.outside = true,
            _ => self.fraction = true,
        }
        let digits = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.not_millis |= digits.len() != 13 || !digits.bytes().all(|byte| byte.is_ascii_digit());
    }

    /// The values of a field. They are empty if the field was not there before.
    pub fn field(&mut self, name: &str) -> &mut Observed {
        let at = self.fields.iter().position(|(known, _)| known == name);
        let at = at.unwrap_or_else(|| {
            self.fields.push((name.to_owned(), Observed::default()));
            self.fields.len() - 1
        });
        &mut self.fields[at].1
    }

    /// The fields as Avro fields of the record `owner`.
    pub fn avro_fields(&self, owner: &str, names: &mut Names) -> Vec<Value> {
        let fields = self.fields.iter();
        fields
            .map(|(name, observed)| observed.avro_field(name, owner, names))
            .collect()
    }

    /// An optional Avro field. A person must write its documentation.
    pub fn avro_field(&self, wire: &str, owner: &str, names: &mut Names) -> Value {
        let name = naming::field_name(wire);
        let kind = self.kind(wire, owner, names);
        let hint = if kind.is_none() { "; its type was not clear" } else { "" };
        let mut field = json!({
            "name": name,
            "doc": format!("TODO: say what {wire} means{hint}."),
            "type": ["null", kind.as_ref().unwrap_or(&json!("string"))],
            "default": null,
        });
        if kind.is_none() {
            field["json"] = json!(true);
        }
        if name != wire {
            field["spellings"] = json!([wire]);
        }
        field
    }

    /// The type that holds all values, if there is one.
    fn kind(&self, wire: &str, owner: &str, names: &mut Names) -> Option<Value> {
        let scalar = self.text || self.integer || self.fraction || self.boolean;
        if self.outside {
            return None;
        }
        if let Some(items) = &self.items {
            let alone = !scalar && self.fields.is_empty();
            let items = items.kind(wire, owner, names).filter(|_| alone)?;
            return Some(json!({"type": "array", "items": items}));
        }
        if !self.fields.is_empty() {
            if scalar {
                return None;
            }
            let name = names.record(owner, wire);
            let fields = self.avro_fields(&name, names);
            let doc = format!("TODO: say what one {wire} is.");
            return Some(json!({"type": "record", "name": name, "doc": doc, "fields": fields}));
        }
        match (self.text, self.integer || self.fraction, self.boolean) {
            (false, false, false) => None,
            (false, false, true) => Some(json!("boolean")),
            (_, _, true) => None,
            _ if wire.ends_with("Time") && !self.not_millis => {
                Some(json!({"type": "long", "logicalType": "timestamp-millis"}))
            }
            (true, ..) => Some(json!("string")),
            _ if naming::is_id(wire) => Some(json!("string")),
            _ if self.fraction => Some(json!("double")),
            _ => Some(json!("long")),
        }
    }
}
