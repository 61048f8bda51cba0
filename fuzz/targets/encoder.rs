//! Input: a command on the first line, and a body. A JSON object always encodes. The record can be decoded and contains every
//! value of the body, as the check of the encoder's own tests finds. An error leaves the output unchanged.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use imbridge::schema::{Command, Encoder, Meta};
use serde_json::{Map, Value};

use super::{NOW_MS, WORLD, first_line, is_json};

#[path = "../../src/schema/tests/lossless.rs"]
mod lossless;

const META: Meta<'static> = Meta {
    spool: "fuzz",
    seq: 1,
    part: 0,
    event_id: "fuzz.1.0",
    content_id: None,
    received_at_ms: NOW_MS,
    app: "1400000000",
    client_ip: None,
    platform: Some("iOS"),
    request_id: None,
};

/// Every schema as JSON, by its text.
static SCHEMAS: LazyLock<HashMap<&str, Value>> = LazyLock::new(|| {
    let parse = |command: &'static Command| {
        let schema = serde_json::from_str(command.schema()).expect("a schema is JSON");
        (command.schema(), schema)
    };
    WORLD.catalogue.commands().map(parse).collect()
});

thread_local! {
    /// All inputs use one encoder: nothing of an input may remain for the next.
    static ENCODER: RefCell<Encoder> = RefCell::default();
}

pub fn run(data: &[u8]) {
    let (name, body) = first_line(data);
    let command = choose(name);
    let mut out = b"before".to_vec();
    let encoded = ENCODER.with_borrow_mut(|encoder| encoder.encode(command, body, &META, &mut out));
    let name = command.name();
    match encoded {
        Err(cause) => {
            assert_eq!(out, b"before", "{name}: {cause} leaves a partial record");
            // Acknowledged bodies are JSON, so none is dead-lettered as `not_json`.
            assert!(
                cause.reason() != "not_json" || !is_json(body),
                "{name}: {cause}: {}",
                String::from_utf8_lossy(body)
            );
            let object = serde_json::from_slice::<Map<String, Value>>(body).is_ok();
            assert!(
                !object || body.len() > 4300,
                "{name}: {cause}: {}",
                String::from_utf8_lossy(body)
            );
        }
        Ok(_) => {
            assert!(is_json(body), "{name}: encoded, but not JSON");
            let body = std::str::from_utf8(body).expect("an encoded body is text");
            let record = &out[b"before".len()..];
            let decoded = WORLD
                .catalogue
                .decode(record)
                .unwrap_or_else(|cause| panic!("{name}: {cause}: {body}"));
            assert_eq!(decoded.command, name);
            lossless::check(body, &SCHEMAS[command.schema()], &decoded.record);
        }
    }
}

/// The command of this name. If there is none, the sum of the bytes selects one.
fn choose(name: &[u8]) -> &'static Command {
    let sum: usize = name.iter().map(|byte| usize::from(*byte)).sum();
    let mut commands = WORLD.catalogue.commands();
    let nth = sum % commands.len();
    let named = WORLD
        .catalogue
        .commands()
        .find(|command| command.name().as_bytes() == name);
    named.or_else(|| commands.nth(nth)).expect("there are commands")
}
