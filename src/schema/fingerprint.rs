//! Fingerprints of a schema's Parsing Canonical Form, as Java and Python compute them
//! (`fingerprints_are_those_of_java`), and the digest of what the canonical form leaves out. Knows no files.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Both fingerprints of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// CRC-64-AVRO. As a signed number it is what Java prints; in little-endian order it stands in the header.
    pub crc64: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Fingerprint {
    /// The fingerprints of the schema in `json`.
    ///
    /// apache-avro 0.22 keeps `{"type":"long"}` where the canonical form has `"long"` if a logical type stood there, so
    /// logical types are taken out before it sees the schema.
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

    /// The bytes as they stand in the header of a single object, in hex.
    pub fn header_hex(&self) -> String {
        hex::encode(self.crc64.to_le_bytes())
    }

    /// The number as Java prints it.
    pub fn java_long(&self) -> i64 {
        self.crc64.cast_signed()
    }
}

/// What a schema file says about its records without changing them: words, and what an event means.
const WORDS: [&str; 5] = ["doc", "kind", "actor", "targets", "lacks"];

/// SHA-256, in hex, of everything that a schema file says apart from such words: names are sorted, blanks gone.
pub(super) fn digest_without_docs(json: &Value) -> String {
    let mut plain = json.clone();
    strip(&WORDS, &mut plain);
    plain.sort_all_objects();
    hex::encode(Sha256::digest(plain.to_string()))
}

/// Takes the attributes of these names out, at every depth.
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
    fn a_digest_sees_attributes_and_neither_order_nor_documentation() {
        let one = json!({"name": "A", "doc": "One.", "unit": "s", "list": [{}, [], 1]});
        let other = json!({"unit": "s", "list": [{}, [], 1], "name": "A", "doc": "Two."});
        assert_eq!(digest_without_docs(&one), digest_without_docs(&other));
        let changed = json!({"name": "A", "doc": "One.", "unit": "ms", "list": [{}, [], 1]});
        assert_ne!(digest_without_docs(&one), digest_without_docs(&changed));
    }
}
