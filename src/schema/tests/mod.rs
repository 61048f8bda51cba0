//! Tests of the part as a whole, and what they share: a schema with every kind of field, and a folder to load it from.

mod draft;
mod encoding;
mod evolution;
mod folder;
mod goldens;
mod identity;
mod lint;
mod lossless;
mod random;
mod unmapped;

use std::path::Path;

use serde_json::{Value, json};

use super::{Catalogue, EncodeError, Encoded, Encoder, LoadError, Meta};

const META: Meta<'static> = Meta {
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
    json!({"name": name, "doc": "A field.", "type": ["null", kind], "default": null})
}

fn with(mut field: Value, attribute: &str, value: Value) -> Value {
    field[attribute] = value;
    field
}

fn record(name: &str, fields: Vec<Value>) -> Value {
    json!({"type": "record", "name": name, "doc": "A record.", "fields": fields})
}

fn array(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn millis() -> Value {
    json!({"type": "long", "logicalType": "timestamp-millis"})
}

/// A command's record `im.test.all.Kinds` with these body fields.
fn schema(imbridge: Value, mut fields: Vec<Value>) -> Value {
    let text = |name| json!({"name": name, "doc": "A part.", "type": "string"});
    let parts = vec![
        text("event_id"),
        optional("event_time", millis()),
        json!({"name": "received_at", "doc": "A part.", "type": millis()}),
        text("app"),
        optional("client_ip", json!("string")),
        optional("platform", json!("string")),
        optional("request_id", json!("string")),
    ];
    let mut meta = record("Meta", parts);
    meta["namespace"] = json!("im");
    fields.push(json!({"name": "meta", "doc": "Of the bridge.", "type": meta}));
    fields.push(json!({"name": "unmapped", "doc": "Left over.", "type": {"type": "map", "values": "string"}}));
    let mut root = record("Kinds", fields);
    root["namespace"] = json!("im.test.all");
    root["imbridge"] = imbridge;
    root
}

/// A record with every kind of field, also inside records and arrays.
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
            with(optional("Text", json!("string")), "spellings", json!(["text", "TEXT"])),
            optional("Long", json!("long")),
            optional("Int", json!("int")),
            optional("Double", json!("double")),
            optional("Flag", json!("boolean")),
            optional("Time", millis()),
            with(optional("Seconds", json!("long")), "unit", json!("s")),
            with(optional("Any", json!("string")), "json", json!(true)),
            optional("One", inner),
            optional("List", array(json!("Inner"))),
            optional("Texts", array(json!("string"))),
            optional("Longs", array(json!("long"))),
            optional("Flags", array(json!("boolean"))),
        ],
    )
}

/// Loads a folder that holds this one schema.
fn load(schema: &Value) -> Result<Catalogue, LoadError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let command = dir.path().join("test/All.Kinds");
    std::fs::create_dir_all(&command).expect("a folder");
    std::fs::write(command.join("v1.avsc"), schema.to_string()).expect("a file");
    Catalogue::load(dir.path())
}

/// A schema and all that is needed to encode with it and to read the result.
struct Bench {
    schema: Value,
    catalogue: Catalogue,
    encoder: Encoder,
}

impl Bench {
    fn new(schema: Value) -> Self {
        let catalogue = load(&schema).expect("a good schema");
        Self {
            schema,
            catalogue,
            encoder: Encoder::new(),
        }
    }

    fn bytes(&mut self, body: &str) -> Result<(Vec<u8>, Encoded), EncodeError> {
        let command = self.catalogue.command("test", "All.Kinds").expect("it is there");
        let mut out = b"before".to_vec();
        let encoded = self.encoder.encode(command, body.as_bytes(), &META, &mut out)?;
        Ok((out.split_off(b"before".len()), encoded))
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
