//! Fingerprints of a schema's Parsing Canonical Form, as Java and Python compute them (`fingerprints_are_those_of_fastavro`),
//! and a digest that also covers the attributes which the canonical form leaves out. Knows no files.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Both fingerprints of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// CRC-64-AVRO. Java prints it as a signed number. The header has it in little-endian order.
    pub crc64: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Fingerprint {
    /// The fingerprints of the schema in `json`.
    ///
    /// For a type with a logical type, apache-avro 0.22 keeps `{"type":"long"}` where the canonical form has `"long"`. So
    /// logical types are removed before it parses the schema.
    pub(super) fn of(json: &Value) -> Result<Self, Box<apache_avro::Error>> {
        let mut plain = json.clone();
        strip(&["logicalType"], &mut plain);
        let schema = Schema::parse(&plain)?;
        let digest = schema.fingerprint::<Rabin>().bytes;
        let bytes = digest.as_slice().try_into().expect("CRC-64 is eight bytes");
        Ok(Self {
            crc64: u64::from_le_bytes(bytes),
            sha256: Sha256::digest(schema.canonical_form().as_bytes()).into(),
        })
    }

    /// The schema's id if no registry gives one.
    pub fn id(&self) -> u32 {
        id_of(self.crc64)
    }

    /// The bytes in the header of a single object, in hex.
    pub fn header_hex(&self) -> String {
        hex::encode(self.crc64.to_le_bytes())
    }

    /// The number as Java prints it.
    pub fn java_long(&self) -> i64 {
        self.crc64.cast_signed()
    }
}

/// Attributes that describe records and do not change them: documentation, and what an event means.
const DOCUMENTATION: [&str; 5] = ["doc", "kind", "actor", "targets", "lacks"];

/// The low 31 bits of CRC-64-AVRO. Every replica computes the same id for a schema, without communication. Readers hold
/// ids in a signed `int`, so there are 31 bits. Some readers take 0 for "no id", so 0 becomes 1.
pub(super) fn id_of(crc64: u64) -> u32 {
    let low = u32::try_from(crc64 & 0x7fff_ffff).expect("31 bits");
    low.max(1)
}

/// The id of the schema in `text`. All texts with the same Parsing Canonical Form have the same id.
///
/// # Errors
/// Why the text is not a schema.
pub fn id_of_schema(text: &str) -> Result<u32, String> {
    let json = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
    Ok(Fingerprint::of(&json).map_err(|cause| cause.to_string())?.id())
}

/// What is allowed, in the error for two versions that have the same id.
pub(super) const UNIQUE_ID: &str =
    "a different id for each version: change the one that is not published, for example the order of its fields";

/// The names of two schemas that have the same id, if there are any.
pub(super) fn id_collision<N: Copy>(ids: impl IntoIterator<Item = (N, u32)>) -> Option<(N, N)> {
    let mut owners = HashMap::new();
    ids.into_iter()
        .find_map(|(name, id)| owners.insert(id, name).map(|other| (other, name)))
}

/// SHA-256, in hex, of a schema file without [`DOCUMENTATION`], without white space, and with sorted names.
pub(super) fn digest_without_docs(json: &Value) -> String {
    let mut plain = json.clone();
    strip(&DOCUMENTATION, &mut plain);
    plain.sort_all_objects();
    hex::encode(Sha256::digest(plain.to_string()))
}

/// Removes the attributes with these names, at every depth.
pub(super) fn strip(names: &[&str], json: &mut Value) {
    match json {
        Value::Object(entries) => {
            entries.retain(|name, _| !names.contains(&name.as_str()));
            entries.values_mut().for_each(|value| strip(names, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| strip(names, value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_the_low_31_bits_and_never_0() {
        for (crc64, id) in [
            (0xffff_ffff_ffff_ffff, 0x7fff_ffff),
            (0x0102_0304_8506_0708, 0x0506_0708),
            (0x0102_0304_8000_0000, 1),
        ] {
            assert_eq!(id_of(crc64), id, "{crc64:x}");
        }
    }

    #[test]
    fn two_schemas_with_one_id_are_both_named() {
        assert_eq!(id_collision([("a", 1), ("b", 2), ("c", 1), ("d", 2)]), Some(("a", "c")));
        assert_eq!(id_collision([("a", 1), ("b", 2)]), None);
    }

    #[test]
    fn a_digest_sees_attributes_and_neither_order_nor_documentation() {
        let one = json!({"name": "A", "doc": "One.", "unit": "s", "list": [{}, [], 1]});
        let other = json!({"unit": "s", "list": [{}, [], 1], "name": "A", "doc": "Two."});
        assert_eq!(digest_without_docs(&one), digest_without_docs(&other));
        let changed = json!({"name": "A", "doc": "One.", "unit": "ms", "list": [{}, [], 1]});
        assert_ne!(digest_without_docs(&one), digest_without_docs(&changed));
    }
}
