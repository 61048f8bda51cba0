//! What encoding one event costs: nanoseconds and allocations, beside the ordinary way (a tree of values, resolved by
//! apache-avro) in the same run. `cargo bench --bench encode`.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use imbridge::schema::{Catalogue, Encoder, Meta};
use serde_json::{Value, json};

const ROUNDS: u32 = 9;
const EVENTS_PER_ROUND: u32 = 100_000;

/// A group message as Tencent sends it: 13 fields, one of them a nested array.
const FIELDS: [&str; 13] = [
    r#""CallbackCommand":"Group.CallbackAfterSendMsg""#,
    r#""GroupId":"@TGS#2J4SZEAEL""#,
    r#""Type":"Public""#,
    r#""From_Account":"leckie""#,
    r#""Operator_Account":"admin""#,
    r#""Random":2804799576"#,
    r#""MsgSeq":123456"#,
    r#""MsgTime":1490686222"#,
    r#""OnlineOnlyFlag":1"#,
    r#""MsgId":"144115233775727695-1670574414-8523""#,
    r#""EventTime":"1670574414123""#,
    r#""CloudCustomData":"custom""#,
    r#""MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"red packet, with a few more words around it"}}]"#,
];

/// The program's own allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes on to jemalloc unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { tikv_jemallocator::Jemalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { tikv_jemallocator::Jemalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { tikv_jemallocator::Jemalloc.realloc(pointer, layout, size) }
    }
}

fn main() {
    let schema = schema();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let command = dir.path().join("tencent/Group.CallbackAfterSendMsg");
    std::fs::create_dir_all(&command).expect("a folder");
    std::fs::write(command.join("v1.avsc"), schema.to_string()).expect("a file");
    let catalogue = Catalogue::load(dir.path()).expect("a good schema");
    let command = catalogue
        .command("tencent", "Group.CallbackAfterSendMsg")
        .expect("it is there");

    let mut encoder = Encoder::new();
    let mut out = Vec::with_capacity(4096);
    let encode = |body: &str, encoder: &mut Encoder, out: &mut Vec<u8>| {
        out.clear();
        let encoded = encoder
            .encode(command, black_box(body.as_bytes()), &meta(), out)
            .expect("a good body");
        black_box(encoded);
    };
    let body = format!("{{{}}}", FIELDS.join(","));
    encode(&body, &mut encoder, &mut out);
    println!(
        "{} bytes of JSON become {} bytes of Avro with header and meta",
        body.len(),
        out.len()
    );
    report("plan, fields in schema order", || encode(&body, &mut encoder, &mut out));

    let backwards: Vec<&str> = FIELDS.into_iter().rev().collect();
    let backwards = format!("{{{}}}", backwards.join(","));
    report("plan, fields in reverse order", || {
        encode(&backwards, &mut encoder, &mut out)
    });

    let unknown = body.replacen('{', r#"{"NewField":{"a":1},"#, 1);
    report("plan, one field unknown", || encode(&unknown, &mut encoder, &mut out));

    let avro = Schema::parse(&schema).expect("an Avro schema");
    let writer = GenericDatumWriter::builder(&avro).build().expect("a writer");
    report("serde_json::Value -> apache_avro resolve -> bytes", || {
        let mut tree: Value = serde_json::from_str(black_box(&body)).expect("JSON");
        // Quoted integers and what the bridge adds have to be laid in by hand here.
        tree["EventTime"] = tree["EventTime"]
            .as_str()
            .and_then(|text| text.parse::<i64>().ok())
            .into();
        tree["spool"] = meta().spool.into();
        tree["spool_seq"] = meta().seq.into();
        tree["spool_part"] = meta().part.into();
        tree["meta"] = meta_json();
        tree["unmapped"] = json!({});
        let value = avro_value(tree).resolve(&avro).expect("it resolves");
        out.clear();
        writer.write_value_ref(&mut out, &value).expect("it encodes");
        black_box(&out);
    });
}

/// The best round: the others had company on the machine.
fn report(name: &str, mut event: impl FnMut()) {
    for _ in 0..EVENTS_PER_ROUND / 10 {
        event();
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let mut rounds_ns: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..EVENTS_PER_ROUND {
                event();
            }
            start.elapsed().as_nanos() as f64 / f64::from(EVENTS_PER_ROUND)
        })
        .collect();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    rounds_ns.sort_by(f64::total_cmp);
    println!(
        "{name:<52} {:>7.0} ns (median {:.0}), {:.2} allocations per event",
        rounds_ns[0],
        rounds_ns[rounds_ns.len() / 2],
        allocations as f64 / f64::from(EVENTS_PER_ROUND * ROUNDS),
    );
}

fn meta() -> Meta<'static> {
    Meta {
        spool: "imbridge-0.5f3e9a1c",
        seq: 123_456_789,
        part: 0,
        event_id: "01J9Z3N5K8Q4W7",
        content_id: None,
        received_at_ms: 1_670_574_414_150,
        app: "1400000000",
        client_ip: Some("203.0.113.7"),
        platform: Some("iOS"),
        request_id: None,
    }
}

fn meta_json() -> Value {
    json!({
        "event_id": meta().event_id,
        "received_at": meta().received_at_ms,
        "app": meta().app,
        "client_ip": meta().client_ip,
        "platform": meta().platform,
        "request_id": meta().request_id,
    })
}

/// The conversion that apache-avro leaves to its user: objects as records, which `resolve` then checks and orders.
fn avro_value(tree: Value) -> AvroValue {
    match tree {
        Value::Null => AvroValue::Null,
        Value::Bool(value) => AvroValue::Boolean(value),
        Value::Number(value) => AvroValue::Long(value.as_i64().expect("only integers here")),
        Value::String(value) => AvroValue::String(value),
        Value::Array(items) => AvroValue::Array(items.into_iter().map(avro_value).collect()),
        Value::Object(entries) if entries.is_empty() => AvroValue::Map(HashMap::new()),
        Value::Object(entries) => AvroValue::Record(
            entries
                .into_iter()
                .map(|(name, value)| (name, avro_value(value)))
                .collect(),
        ),
    }
}

fn schema() -> Value {
    let optional =
        |name: &str, kind: Value| json!({"name": name, "doc": "A field.", "type": ["null", kind], "default": null});
    let required = |name: &str, kind: Value| json!({"name": name, "doc": "A field.", "type": kind});
    let record =
        |name: &str, fields: Vec<Value>| json!({"type": "record", "name": name, "doc": "A record.", "fields": fields});
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    let content = record("Content", vec![optional("Text", json!("string"))]);
    let element = record(
        "Element",
        vec![optional("MsgType", json!("string")), optional("MsgContent", content)],
    );
    let mut meta = record(
        "Meta",
        vec![
            required("event_id", json!("string")),
            optional("event_time", json!({"type": "long", "logicalType": "timestamp-millis"})),
            required("received_at", millis.clone()),
            required("app", json!("string")),
            optional("client_ip", json!("string")),
            optional("platform", json!("string")),
            optional("request_id", json!("string")),
        ],
    );
    meta["namespace"] = json!("im");
    let mut fields: Vec<Value> = ["CallbackCommand", "GroupId", "Type", "From_Account", "Operator_Account"]
        .into_iter()
        .map(|name| optional(name, json!("string")))
        .collect();
    fields.extend(["Random", "MsgSeq", "MsgTime", "OnlineOnlyFlag"].map(|name| optional(name, json!("long"))));
    fields.push(optional("MsgId", json!("string")));
    fields.push(optional("EventTime", millis));
    fields.push(optional("CloudCustomData", json!("string")));
    fields.push(optional("MsgBody", json!({"type": "array", "items": element})));
    let position = [("spool", "string"), ("spool_seq", "long"), ("spool_part", "int")];
    fields.extend(position.map(|(name, kind)| required(name, json!(kind))));
    fields.push(required("meta", meta));
    fields.push(required("unmapped", json!({"type": "map", "values": "string"})));
    let mut root = record("CallbackAfterSendMsg", fields);
    root["namespace"] = json!("im.tencent.group");
    root["imbridge"] = json!({"phase": "after", "key": "GroupId", "time": "EventTime"});
    root
}
