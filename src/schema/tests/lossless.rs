//! An independent check: every leaf of a body is exactly in the record or in its `unmapped` map, and the record contains
//! nothing else. It reads the body with serde_json, keeps the order, the repetitions and the text of every value, and does
//! not use plans.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Panics unless `record`, written with `schema`, contains all of `body` and nothing else.
pub fn check(body: &str, schema: &Value, record: &Value) {
    let unmapped = record["unmapped"].as_object().expect("a map");
    let repetitions_max = unmapped.len() + 1;
    let mut judge = Judge {
        body,
        unmapped: unmapped.clone(),
        repetitions_max,
        records: HashMap::new(),
    };
    judge.learn(schema);
    let raw: Box<RawValue> = serde_json::from_str(&readable(body)).expect("bodies here are JSON");
    judge.object(&raw, schema, record.as_object().expect("a record"), "");
    assert!(
        judge.unmapped.is_empty(),
        "not in the body: {:?}\n{body}",
        judge.unmapped
    );
}

struct Judge<'b> {
    body: &'b str,
    /// The entries that have not been found in the body yet.
    unmapped: Map<String, Value>,
    repetitions_max: usize,
    records: HashMap<String, Value>,
}

impl Judge<'_> {
    /// Collects the records that a schema defines, for fields that use their names.
    fn learn(&mut self, node: &Value) {
        match node {
            Value::Object(entries) => {
                if node["type"] == "record" {
                    self.records
                        .insert(node["name"].as_str().expect("a name").to_owned(), node.clone());
                }
                entries.values().for_each(|value| self.learn(value));
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            _ => {}
        }
    }

    fn object(&mut self, raw: &RawValue, schema: &Value, record: &Map<String, Value>, path: &str) {
        let any = Value::from("any JSON");
        let Entries(entries) = serde_json::from_str(raw.get()).expect("an object");
        let fields: Vec<Value> = schema["fields"]
            .as_array()
            .expect("fields")
            .iter()
            .filter(|field| field["type"].is_array())
            .cloned()
            .collect();
        let mut filled = vec![false; fields.len()];
        for (name, raw) in &entries {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let path = if path.is_empty() {
                escaped
            } else {
                format!("{path}/{escaped}")
            };
            let index = fields.iter().position(|field| arrives_as(field, name));
            let held = index.is_some_and(|index| {
                let field = &fields[index];
                !filled[index]
                    && self.value(
                        raw,
                        if field["json"] == true { &any } else { &field["type"][1] },
                        &record[field["name"].as_str().expect("a name")],
                        &path,
                    )
            });
            if let Some(index) = index {
                filled[index] = true;
            }
            assert!(held || self.take(&path, raw), "{path} is lost\n{}", self.body);
        }
        for (field, _) in fields.iter().zip(filled).filter(|(_, filled)| !filled) {
            let value = &record[field["name"].as_str().expect("a name")];
            assert!(value.is_null(), "{field} holds {value} from nowhere\n{}", self.body);
        }
    }

    /// Whether the value is in the record, as a whole or in its parts.
    fn value(&mut self, raw: &RawValue, kind: &Value, held: &Value, path: &str) -> bool {
        let sent = raw.get();
        if sent == "null" || held.is_null() {
            return sent == "null" && held.is_null();
        }
        let kind = match kind.as_str() {
            Some(name) => self.records.get(name).unwrap_or(kind).clone(),
            None => kind.clone(),
        };
        if kind["type"] == "record" && sent.starts_with('{') {
            self.object(raw, &kind, held.as_object().expect("a record"), path);
            return true;
        }
        if kind["type"] == "array" && sent.starts_with('[') {
            self.array(raw, &kind["items"], held.as_array().expect("an array"), path);
            return true;
        }
        if kind == "any JSON" {
            return is_sent(held, sent);
        }
        same_scalar(sent, held)
    }

    fn array(&mut self, raw: &RawValue, items: &Value, held: &[Value], path: &str) {
        let sent: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).expect("an array");
        let mut rest = held.iter();
        for (index, raw) in sent.iter().enumerate() {
            let path = format!("{path}/{index}");
            if self.take(&path, raw) {
                continue;
            }
            let held = rest.next().unwrap_or_else(|| panic!("{path} is lost\n{}", self.body));
            assert!(
                raw.get() != "null" && self.value(raw, items, held, &path),
                "{path} is {held}\n{}",
                self.body
            );
        }
        assert_eq!(rest.next(), None, "{path} has too many items\n{}", self.body);
    }

    /// Removes the entry with this text: under the path or, for a repeated name, under the path with a number.
    fn take(&mut self, path: &str, raw: &RawValue) -> bool {
        let repetitions = (2..=self.repetitions_max).map(|number| format!("{path}#{number}"));
        let key = std::iter::once(path.to_owned())
            .chain(repetitions)
            .find(|key| self.unmapped.get(key).is_some_and(|text| is_sent(text, raw.get())));
        key.is_some_and(|key| self.unmapped.remove(&key).is_some())
    }
}

fn is_sent(text: &Value, readable_text: &str) -> bool {
    text.as_str().is_some_and(|text| readable(text) == readable_text)
}

/// The same JSON with U+FFFD in place of each unpaired surrogate, which serde_json cannot read in strings and names.
fn readable(json: &str) -> String {
    let unit = |escape: &str| escape.get(2..6).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let (mut text, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let is_unicode = rest.as_bytes().get(1) == Some(&b'u');
        let taken = match unit(rest).filter(|_| is_unicode) {
            Some(first @ 0xD800..=0xDFFF) => {
                let second = rest.get(6..).filter(|next| next.starts_with("\\u")).and_then(unit);
                let pair = [first, second.unwrap_or(0)];
                if String::from_utf16(&pair).is_ok_and(|pair| pair.chars().count() == 1) {
                    12
                } else {
                    text.push_str("\\ufffd");
                    rest = &rest[6..];
                    continue;
                }
            }
            _ => 2,
        };
        text.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    text + rest
}

fn arrives_as(field: &Value, name: &str) -> bool {
    let spellings = field["spellings"].as_array().map_or(&[][..], Vec::as_slice);
    field["name"] == name || spellings.iter().any(|spelling| spelling == name)
}

fn same_scalar(sent: &str, held: &Value) -> bool {
    let text = if sent.starts_with('"') {
        serde_json::from_str(sent).expect("a string")
    } else {
        sent.to_owned()
    };
    match held {
        Value::String(held) => *held == text && !matches!(sent, "true" | "false"),
        Value::Bool(held) => sent == held.to_string(),
        Value::Number(held) => match held.as_i64() {
            Some(held) => held.to_string() == text,
            None => held.as_f64() == text.parse().ok(),
        },
        _ => false,
    }
}

/// An object's entries, in the order in which they were sent.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
