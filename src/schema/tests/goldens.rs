//! Values on which other implementations must agree: fingerprints, and the shipped samples.

use std::path::Path;

use serde_json::{Value, json};

use super::{META, lossless, shipped};
use crate::schema::{Command, Encoder};

/// Computed with Python's fastavro 1.13.1: `fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")`. It writes the
/// eight bytes in little-endian order, as in the header.
const FINGERPRINTS: [(&str, &str, &str); 4] = [
    ("openim", "callbackAfterTransferGroupOwnerCommand", "0b8dab9b5ff427f9"),
    ("tencent", "Group.CallbackAfterChangeGroupOwner", "bd3c5275b7bfd8da"),
    ("tencent", "Group.CallbackAfterCreateGroup", "dea20cedba839fbc"),
    ("tencent", "Group.CallbackAfterGroupAttrChanged", "29c8f2eb77333b5b"),
];

#[test]
fn fingerprints_are_those_of_fastavro() {
    let catalogue = shipped();
    for (provider, name, expected) in FINGERPRINTS {
        let command = catalogue.command(provider, name).expect(name);
        assert_eq!(hex::encode(command.fingerprint().to_le_bytes()), expected, "{name}");
    }
}

/// The values of a sample that its schema cannot hold: this sample has a boolean in quotes.
fn left_over(command: &str) -> &'static [&'static str] {
    match command {
        "Room.CallbackAfterUpdateRoomInfo" => &["RoomInfo/IsCloudRecordingDisabled"],
        _ => &[],
    }
}

/// The events of a body: the elements of a batch, or the body itself.
fn events_of(command: &Command, body: &str) -> Vec<String> {
    let Some(list) = &command.rule().expand else {
        return vec![body.to_owned()];
    };
    let batch: Value = serde_json::from_str(body).expect("JSON");
    batch[list]
        .as_array()
        .expect("a batch")
        .iter()
        .map(Value::to_string)
        .collect()
}

#[test]
fn every_shipped_sample_is_encoded_completely_and_decoded() {
    let catalogue = shipped();
    let mut encoder = Encoder::new();
    for command in catalogue.commands() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas")
            .join(command.provider())
            .join(command.name());
        let body = std::fs::read_to_string(folder.join("sample.json")).expect("every command has a sample");
        for body in events_of(command, &body) {
            let mut out = Vec::new();
            let encoded = encoder
                .encode(command, body.as_bytes(), &META, &mut out)
                .expect("a good sample");
            assert_eq!(encoded.unmapped, left_over(command.name()), "{}", command.name());
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
            let position = ["spool", "spool_seq", "spool_part"].map(|name| &decoded.record[name]);
            assert_eq!(position, [&json!(META.spool), &json!(META.seq), &json!(META.part)]);
            assert_eq!(decoded.record["meta"]["event_id"], META.event_id);
            assert_eq!(decoded.record["meta"]["received_at"], META.received_at_ms);
            assert_eq!(decoded.record["meta"]["client_ip"], "10.0.0.1");
            assert!(decoded.record["meta"]["platform"].is_null());
        }
    }
}

#[test]
fn the_room_is_the_key_of_a_live_rooms_event_at_both_paths() {
    let catalogue = shipped();
    for name in ["Live.CallbackAfterDestroyRoom", "Live.CallbackAfterUpdateRoomInfo"] {
        let command = catalogue.command("tencent", name).expect(name);
        for body in [r#"{"RoomInfo":{"RoomId":"r"}}"#, r#"{"RoomId":"r","RoomInfo":{}}"#] {
            let encoded = Encoder::new().encode(command, body.as_bytes(), &META, &mut Vec::new());
            let encoded = encoded.expect("an object");
            let expected = (Some("r"), Vec::<String>::new());
            assert_eq!((encoded.key.as_deref(), encoded.unmapped), expected, "{name}: {body}");
        }
    }
}
