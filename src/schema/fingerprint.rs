//! CRC-64-AVRO of a schema's Parsing Canonical Form, as Java and Python compute it.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value;

/// The fingerprint of the schema in `json`.
///
/// apache-avro 0.22 keeps `{"type":"long"}` where the canonical form has `"long"` if a logical type stood there, so
/// logical types are taken out before it sees the schema (`fingerprints_are_those_of_fastavro`).
pub(super) fn fingerprint(json: &Value) -> Result<u64, Box<apache_avro::Error>> {
    let mut plain = json.clone();
    strip_logical_types(&mut plain);
    let schema = Schema::parse(&plain)?;
    let digest = schema.fingerprint::<Rabin>().bytes;
    let bytes = digest.as_slice().try_into().expect("CRC-64 is eight bytes");
    Ok(u64::from_le_bytes(bytes))
}

fn strip_logical_types(json: &mut Value) {
    match json {
        Value::Object(entries) => {
            entries.remove("logicalType");
            entries.values_mut().for_each(strip_logical_types);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_logical_types),
        _ => {}
    }
}
