//! Random bodies, generated from a schema: fields in any order, with right and wrong types, repeated, unknown, nested, with
//! unusual names and white space. Every body must encode, and the check must find every leaf in the record.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Bench, META, kinds, lossless, shipped};
use crate::schema::Encoder;

/// Decisions, taken from bytes so that proptest can shrink them. After the last byte, each decision is 0.
struct Dice<'b> {
    bytes: std::slice::Iter<'b, u8>,
    out: String,
}

const NAMES: [&str; 9] = ["x", "Id", "", "a/b", "~1", "😀", "\\u0002", "\\\"", "Foo"];
const STRINGS: [&str; 12] = [
    "",
    "a",
    "0",
    "-17",
    "1670574414123",
    "00",
    "0.10",
    "😀 \\ud83d\\ude00",
    "\\u0000\\t\\\\",
    "\\/ é {[\\\"]}",
    "\\ud83d",
    "é\\udc00\\\\\\ud83d\\ude00",
];
const NUMBERS: [&str; 10] = [
    "0",
    "-0",
    "7",
    "2147483648",
    "9007199254740993",
    "9223372036854775808",
    "-9223372036854775808",
    "0.1",
    "1E+2",
    "123456789012345678901234567890.5",
];

impl Dice<'_> {
    fn below(&mut self, sides: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    fn gap(&mut self) {
        let gap = self.pick(&["", "", "", " ", "\n\t", "\r "]);
        self.out.push_str(gap);
    }

    fn name(&mut self, name: &str) {
        self.gap();
        self.out.push_str(&format!("\"{name}\""));
        self.gap();
        self.out.push(':');
    }

    /// An object for a record's schema.
    fn record(&mut self, schema: &Value, root: &Value, depth: usize) {
        let fields: Vec<&Value> = schema["fields"]
            .as_array()
            .expect("fields")
            .iter()
            .filter(|field| field["type"].is_array())
            .collect();
        self.out.push('{');
        let mut next = 0;
        for entry in 0..self.below(fields.len() * 2) {
            if entry > 0 {
                self.out.push(',');
            }
            match self.below(8) {
                0 => {
                    let name = self.pick(&NAMES);
                    self.name(name);
                    self.any(depth + 1);
                }
                1 => next = self.below(fields.len()),
                _ => {}
            }
            if !self.out.ends_with(',') && !self.out.ends_with('{') {
                self.out.push(',');
            }
            let field = fields[next % fields.len()];
            next += 1;
            self.name(field["name"].as_str().expect("a name"));
            match self.below(8) {
                0 => self.any(depth + 1),
                1 => self.out.push_str("null"),
                _ => self.kind(&field["type"][1], root, depth + 1),
            }
            self.gap();
        }
        self.out.push('}');
    }

    fn kind(&mut self, kind: &Value, root: &Value, depth: usize) {
        match (kind.as_str(), kind["type"].as_str()) {
            (Some("string"), _) => self.string(),
            (Some("boolean"), _) => self.out.push_str("true"),
            (Some("long" | "int" | "double"), _) | (_, Some("long")) => self.number(),
            (Some(name), _) => self.record(find(root, name).expect("a record that is defined"), root, depth),
            (_, Some("record")) => self.record(kind, root, depth),
            (_, Some("array")) => {
                self.out.push('[');
                for item in 0..self.below(5) {
                    if item > 0 {
                        self.out.push(',');
                    }
                    self.gap();
                    match self.below(8) {
                        0 => self.any(depth + 1),
                        _ => self.kind(&kind["items"], root, depth + 1),
                    }
                }
                self.out.push(']');
            }
            _ => unreachable!("{kind}"),
        }
    }

    fn string(&mut self) {
        let text = self.pick(&STRINGS);
        self.out.push_str(&format!("\"{text}\""));
    }

    fn number(&mut self) {
        let text = self.pick(&NUMBERS);
        self.out.push_str(text);
    }

    fn any(&mut self, depth: usize) {
        self.gap();
        match self.below(if depth > 100 { 4 } else { 7 }) {
            0 => self.out.push_str("null"),
            1 => self.string(),
            2 => self.number(),
            3 => self.out.push_str("false"),
            4 => {
                self.out.push('[');
                self.any(depth + 1);
                self.out.push(']');
            }
            5 => {
                self.out.push('{');
                let name = self.pick(&NAMES);
                self.name(name);
                self.any(depth + 1);
                self.out.push('}');
            }
            _ => {
                let levels = 1 + self.below(16);
                self.out.push_str(&"[".repeat(levels));
                self.any(depth + levels);
                self.out.push_str(&"]".repeat(levels));
            }
        }
    }
}

fn find<'s>(node: &'s Value, name: &str) -> Option<&'s Value> {
    match node {
        Value::Object(_) if node["type"] == "record" && node["name"] == name => Some(node),
        Value::Object(entries) => entries.values().find_map(|value| find(value, name)),
        Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

fn body(bytes: &[u8], schema: &Value) -> String {
    let mut dice = Dice {
        bytes: bytes.iter(),
        out: String::new(),
    };
    dice.record(schema, schema, 1);
    dice.out
}

/// Runs `check` in this many cases, each with at most `most` random bytes.
fn for_random_bytes(cases: u32, most: usize, check: impl Fn(&[u8])) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let passed = TestRunner::new(config).run(&vec(any::<u8>(), 0..most), |bytes| {
        check(&bytes);
        Ok(())
    });
    if let Err(failure) = passed {
        panic!("{failure}");
    }
}

// All cases use one bench and one encoder: nothing of a body may remain for the next.

#[test]
fn a_json_object_always_encodes_and_nothing_is_lost() {
    let bench = RefCell::new(Bench::new(kinds()));
    for_random_bytes(2000, 400, |bytes| {
        let mut bench = bench.borrow_mut();
        let body = body(bytes, &bench.schema);
        serde_json::from_str::<&RawValue>(&body).expect("the generator writes JSON");
        bench.record(&body);
    });
}

#[test]
fn arbitrary_bytes_never_panic_and_never_leave_a_partial_record() {
    let bench = RefCell::new(Bench::new(kinds()));
    for_random_bytes(2000, 400, |bytes| {
        let mut bench = bench.borrow_mut();
        let mut body = body(bytes, &bench.schema).into_bytes();
        body.truncate(bytes.len());
        body.extend_from_slice(&bytes[..bytes.len() / 4]);
        if let Ok((record, _)) = bench.bytes(&body) {
            assert!(bench.catalogue.decode(&record).is_ok());
        }
    });
}

#[test]
fn bodies_of_every_shipped_command_encode_and_lose_nothing() {
    let catalogue = shipped();
    let encoder = RefCell::new(Encoder::new());
    for command in catalogue.commands() {
        let (name, schema) = (command.name(), serde_json::from_str(command.schema()).expect("JSON"));
        for_random_bytes(50, 1000, |bytes| {
            let body = body(bytes, &schema);
            let mut out = Vec::new();
            let encoded = encoder.borrow_mut().encode(command, body.as_bytes(), &META, &mut out);
            encoded.unwrap_or_else(|cause| panic!("{name}: {cause}: {body}"));
            let decoded = catalogue
                .decode(&out)
                .unwrap_or_else(|cause| panic!("{name}: {cause}: {body}"));
            lossless::check(&body, &schema, &decoded.record);
        });
    }
}
