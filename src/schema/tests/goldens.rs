//! What other implementations must agree with: fingerprints, and the bytes of one record.

use std::path::Path;

use super::{META, lossless, shipped};
use crate::schema::Encoder;

/// Made with Python's fastavro 1.13.1: `fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")`, which writes
/// the eight bytes in little-endian order, as they stand in the header.
const FINGERPRINTS: [(&str, &str, &str); 4] = [
    (
        "openim",
        "callbackAfterTransferGroupOwnerCommand",
        "8039932a3e30346b",
    ),
    (
        "tencent",
        "Group.CallbackAfterChangeGroupOwner",
        "43c9980f20584f51",
    ),
    (
        "tencent",
        "Group.CallbackAfterCreateGroup",
        "b319ee3ea7bdc233",
    ),
    (
        "tencent",
        "Group.CallbackAfterGroupAttrChanged",
        "2cc8b72888270781",
    ),
];

#[test]
fn fingerprints_are_those_of_fastavro() {
    let catalogue = shipped();
    for (provider, name, expected) in FINGERPRINTS {
        let command = catalogue.command(provider, name).expect(name);
        assert_eq!(
            hex::encode(command.fingerprint().to_le_bytes()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn every_shipped_sample_is_encoded_whole_and_read_back() {
    let catalogue = shipped();
    let mut encoder = Encoder::new();
    for command in catalogue.commands() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas")
            .join(command.provider())
            .join(command.name());
        let body = std::fs::read_to_string(folder.join("sample.json"))
            .expect("every command has a sample");
        let mut out = Vec::new();
        let encoded = encoder
            .encode(command, body.as_bytes(), &META, &mut out)
            .expect("a good sample");
        assert_eq!(encoded.unmapped.paths, [""; 0], "{}", command.name());
        assert!(encoded.key.is_some(), "{}", command.name());

        let decoded = catalogue.decode(&out).expect("a good record");
        assert_eq!(
            (decoded.command.as_str(), decoded.version),
            (command.name(), command.version())
        );
        lossless::check(
            &body,
            &serde_json::from_str(command.schema()).expect("JSON"),
            &decoded.record,
        );
        assert_eq!(decoded.record["meta"]["event_id"], META.event_id);
        assert_eq!(decoded.record["meta"]["received_at"], META.received_at_ms);
        assert_eq!(decoded.record["meta"]["client_ip"], "10.0.0.1");
        assert!(decoded.record["meta"]["platform"].is_null());
    }
}
