//! A command on the first line and a body: a JSON object always encodes, the record is read by the schema's own decoder,
//! every value of the body is in it (by the judge of the encoder's own tests), and what fails leaves nothing behind.

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
    /// One for all inputs, so that nothing of one may linger for the next.
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
            assert_eq!(out, b"before", "{name}: {cause} leaves half a record");
            // What was acknowledged is JSON, and is buried for another reason only.
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
            assert!(is_json(body), "{name}: encoded, and no JSON");
            let body = std::str::from_utf8(body).expect("what encodes is text");
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

/// The command of this name, or one of all by what the bytes add up to.
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
