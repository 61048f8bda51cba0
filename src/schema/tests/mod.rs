//! Tests of the part as a whole. Shared by them: a schema with every type of field, and a folder to load it from.

mod draft;
mod encoding;
mod evolution;
mod folder;
mod goldens;
mod identity;
mod lint;
mod lossless;
mod meaning;
mod random;
mod timeline;
mod unmapped;

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::compile::bridge_fields;
use super::{Catalogue, EncodeError, Encoded, Encoder, LoadError, Meta};

const META: Meta<'static> = Meta {
    spool: "imbridge-0.7",
    seq: 42,
    part: 3,
    event_id: "e-1",
    content_id: None,
    received_at_ms: 1_670_574_414_999,
    app: "1400000000",
    client_ip: Some("10.0.0.1"),
    platform: None,
    request_id: Some("r-1"),
};

/// The schemas that are shipped.
fn shipped() -> Catalogue {
    Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")).expect("the shipped folder loads")
}

fn optional(name: &str, kind: Value) -> Value {
    json!({"name": name, "doc": "What is known about it.", "type": ["null", kind], "default": null})
}

/// The schema with this value at a JSON pointer, whose parent must exist.
fn with(mut schema: Value, at: &str, value: Value) -> Value {
    match schema.pointer_mut(at) {
        Some(there) => *there = value,
        None => {
            let (parent, name) = at.rsplit_once('/').expect("a JSON pointer");
            schema.pointer_mut(parent).expect(at)[name] = value;
        }
    }
    schema
}

/// The schema without the value at a JSON pointer.
fn without(mut schema: Value, at: &str) -> Value {
    let (parent, last) = at.rsplit_once('/').expect("a JSON pointer");
    match schema.pointer_mut(parent).expect(at) {
        Value::Array(items) => drop(items.remove(last.parse().expect("an index"))),
        other => drop(other.as_object_mut().expect("an object").remove(last)),
    }
    schema
}

/// The record with one more field, before the others.
fn adding(mut record: Value, field: Value) -> Value {
    record["fields"].as_array_mut().expect("fields").insert(0, field);
    record
}

fn record(name: &str, fields: Vec<Value>) -> Value {
    json!({"type": "record", "name": name, "doc": "What happened, in short.", "fields": fields})
}

fn array(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn millis() -> Value {
    json!({"type": "long", "logicalType": "timestamp-millis"})
}

/// A command's record `im.test.all.Kinds` with these body fields.
fn schema(imbridge: Value, mut fields: Vec<Value>) -> Value {
    fields.extend(bridge_fields());
    let mut root = record("Kinds", fields);
    root["namespace"] = json!("im.test.all");
    root["imbridge"] = imbridge;
    root
}

/// A record with every type of field, also inside records and arrays.
fn kinds() -> Value {
    let inner = record(
        "Inner",
        vec![
            optional("Id", json!("string")),
            optional("Level", json!("int")),
            optional(
                "Deeper",
                array(record(
                    "Deeper",
                    vec![optional("Id", json!("string")), optional("On", json!("boolean"))],
                )),
            ),
        ],
    );
    schema(
        json!({"phase": "after", "key": "Text | List[0].Id", "time": "Time | Seconds"}),
        vec![
            with(optional("Text", json!("string")), "/spellings", json!(["text", "TEXT"])),
            optional("Long", json!("long")),
            optional("Int", json!("int")),
            optional("Double", json!("double")),
            optional("Flag", json!("boolean")),
            optional("Time", millis()),
            with(optional("Seconds", json!("long")), "/unit", json!("s")),
            with(optional("Any", json!("string")), "/json", json!(true)),
            optional("One", inner),
            optional("List", array(json!("Inner"))),
            optional("Texts", array(json!("string"))),
            optional("Longs", array(json!("long"))),
            optional("Flags", array(json!("boolean"))),
        ],
    )
}

/// Writes a file of a schemas folder.
fn write(dir: &TempDir, path: &str, text: &str) {
    let path = dir.path().join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// A folder with these versions of one command.
fn folder(versions: &[Value]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (number, schema) in (1..).zip(versions) {
        write(&dir, &format!("test/All.Kinds/v{number}.avsc"), &schema.to_string());
    }
    dir
}

fn load(versions: &[Value]) -> Result<Catalogue, LoadError> {
    Catalogue::load(folder(versions).path())
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// A schema with its catalogue and an encoder.
struct Bench {
    schema: Value,
    catalogue: Catalogue,
    encoder: Encoder,
}

impl Bench {
    fn new(schema: Value) -> Self {
        let catalogue = load(std::slice::from_ref(&schema)).expect("a good schema");
        Self {
            schema,
            catalogue,
            encoder: Encoder::new(),
        }
    }

    /// Encodes behind other bytes, which must not change.
    fn bytes(&mut self, body: impl AsRef<[u8]>) -> Result<(Vec<u8>, Encoded), EncodeError> {
        let command = self.catalogue.command("test", "All.Kinds").expect("it is there");
        let mut out = b"before".to_vec();
        let encoded = self.encoder.encode(command, body.as_ref(), &META, &mut out);
        let written = out.split_off(b"before".len());
        assert!(out == b"before" && (encoded.is_ok() || written.is_empty()));
        Ok((written, encoded?))
    }

    /// Encodes, decodes with apache-avro, and checks that nothing is lost.
    fn record(&mut self, body: &str) -> (Value, Encoded) {
        let (bytes, encoded) = self.bytes(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let decoded = self
            .catalogue
            .decode(&bytes)
            .unwrap_or_else(|error| panic!("{error}: {body}"));
        lossless::check(body, &self.schema, &decoded.record);
        (decoded.record, encoded)
    }
}
