//! Compiles a schema into a plan. Checks every rule of `schemas/README.md` about a record, so that encoding and decoding
//! can rely on them. Does not know where the file is.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::error::Finding;
use super::fingerprint::strip;
use super::location::{Findings, Located};
use super::plan::{FieldPlan, Kind, RecordPlan};

/// The types that a value may have, for error messages.
const KINDS: &str =
    "\"string\", \"long\", \"int\", \"double\", \"boolean\", timestamp-millis, a record, an array of one of these";

/// The fields that the bridge itself fills. Every record ends with them.
const BRIDGE_FIELDS: [&str; 5] = ["spool", "spool_seq", "spool_part", "meta", "unmapped"];

/// Ids that the caller of the IM server chooses and may reuse.
const CALLER_CHOSEN: [&str; 3] = ["operationID", "clientMsgID", "MsgRandom"];

/// Compiles a command's record, which must have this name and namespace. The plan is for the body only: the last fields,
/// [`BRIDGE_FIELDS`], are checked and left out. The plan may be used only if no fault was noted.
pub(super) fn compile(record: &Located<'_>, namespace: &str, name: &str, findings: &mut Findings) -> RecordPlan {
    let head = |need: &str, expected: &str| record.need(need, expected)?.expect(&json!(expected));
    findings.note(record.only(&["type", "name", "namespace", "doc", "imbridge", "fields"]));
    findings.note(head("type", "record"));
    findings.note(head("name", name));
    findings.note(head("namespace", namespace));
    findings.note(documented(record, "what the record means"));
    let fields = record.need("fields", "an array of fields");
    let Some((fields, mut body)) = findings.note(fields.and_then(|fields| fields.items().map(|items| (fields, items))))
    else {
        return RecordPlan::default();
    };
    let end = body.len().saturating_sub(BRIDGE_FIELDS.len());
    if body[end..].iter().map(|field| &field.value["name"]).eq(BRIDGE_FIELDS) {
        for (field, expected) in body.split_off(end).iter().zip(bridge_fields()) {
            findings.note(check_bridge_field(field, expected));
        }
        for field in &body {
            findings.note(check_free_name(field));
        }
    } else {
        let allowed = format!(
            "at the end, in this order, what the bridge writes: {}; take these fields from a schema that loads",
            BRIDGE_FIELDS.join(", ")
        );
        findings.push(fields.finding(allowed));
        body.retain(|field| check_free_name(field).is_ok());
    }
    let mut compiler = Compiler {
        records: HashMap::new(),
        findings,
    };
    compiler.fields(&body, namespace)
}

fn documented(node: &Located<'_>, what: &str) -> Result<(), Finding> {
    node.need("doc", what)?.text().map(drop)
}

struct Compiler<'f> {
    /// The records that have been compiled, by full name. Later fields may use a record by its name.
    records: HashMap<String, RecordPlan>,
    findings: &'f mut Findings,
}

impl Compiler<'_> {
    fn fields(&mut self, fields: &[Located<'_>], namespace: &str) -> RecordPlan {
        let mut plan = RecordPlan::default();
        let mut names = HashSet::new();
        for field in fields {
            self.findings
                .note(field.only(&["name", "type", "default", "doc", "spellings", "unit", "json", "unique"]));
            let name = field.need("name", "the name on the wire").and_then(|name| name.text());
            let Some(name) = self.findings.note(name) else {
                continue;
            };
            let spellings = field.get("spellings").as_ref().map(Located::texts).transpose();
            let spellings = self.findings.note(spellings).flatten().unwrap_or_default();
            for spelling in std::iter::once(name).chain(spellings.iter().copied()) {
                if !names.insert(spelling) {
                    let differ = format!("names and spellings that differ; `{spelling}` is there twice");
                    self.findings.push(field.finding(differ));
                }
            }
            self.findings.note(documented(field, "what the field means"));
            let null = field
                .need("default", "null")
                .and_then(|default| default.expect(&Value::Null));
            self.findings.note(null);
            let kind = self.field(field, namespace);
            let unique = self.findings.note(unique(field, name)).unwrap_or_default();
            let index = plan.fields.len();
            plan.spellings
                .extend(spellings.iter().map(|spelling| (Box::from(*spelling), index)));
            plan.fields.push(FieldPlan {
                name: name.into(),
                kind: self.findings.note(kind).unwrap_or(Kind::Text),
                capture: None,
                unique,
            });
        }
        plan
    }

    fn field(&mut self, field: &Located<'_>, namespace: &str) -> Result<Kind, Finding> {
        let union = field.need("type", "[\"null\", T]")?;
        let branches = union.items().map_err(|_| union.finding("[\"null\", T]"))?;
        let [null, branch] = branches.as_slice() else {
            return Err(union.finding("[\"null\", T]"));
        };
        null.expect(&json!("null"))?;
        let mut kind = self.kind(branch, namespace)?;
        if let Some(unit) = field.get("unit") {
            match kind {
                Kind::Long if unit.value == "s" => kind = Kind::Seconds,
                _ => return Err(unit.finding("\"s\", on a long field only")),
            }
        }
        if let Some(any) = field.get("json") {
            match kind {
                Kind::Text if any.value == &Value::Bool(true) => kind = Kind::Json,
                _ => return Err(any.finding("true, on a string field only")),
            }
        }
        Ok(kind)
    }

    fn kind(&mut self, node: &Located<'_>, namespace: &str) -> Result<Kind, Finding> {
        if let Some(name) = node.value.as_str() {
            return match name {
                "string" => Ok(Kind::Text),
                "long" => Ok(Kind::Long),
                "int" => Ok(Kind::Int),
                "double" => Ok(Kind::Double),
                "boolean" => Ok(Kind::Boolean),
                name => match self.records.get(&full_name(name, namespace)) {
                    Some(plan) => Ok(Kind::Record(plan.clone())),
                    None => Err(node.finding(format!("{KINDS}, or the name of a record that stands before"))),
                },
            };
        }
        match node.value.get("type").and_then(Value::as_str) {
            Some("record") => self.record(node, namespace).map(Kind::Record),
            Some("array") => {
                node.only(&["type", "items"])?;
                let items = node.need("items", KINDS)?;
                match self.kind(&items, namespace)? {
                    Kind::Array(_) => Err(items.finding("anything but another array")),
                    kind => Ok(Kind::Array(Box::new(FieldPlan {
                        name: "".into(),
                        kind,
                        capture: None,
                        unique: false,
                    }))),
                }
            }
            Some("long") if *node.value == json!({"type": "long", "logicalType": "timestamp-millis"}) => {
                Ok(Kind::Millis)
            }
            _ => Err(node.finding(KINDS)),
        }
    }

    fn record(&mut self, node: &Located<'_>, namespace: &str) -> Result<RecordPlan, Finding> {
        self.findings
            .note(node.only(&["type", "name", "namespace", "doc", "fields"]));
        self.findings.note(documented(node, "what the record means"));
        let name = node.need("name", "a name")?.text()?;
        let own = node.get("namespace").map(|own| own.text()).transpose()?;
        let namespace = own.unwrap_or(namespace);
        let plan = self.fields(&node.need("fields", "an array of fields")?.items()?, namespace);
        self.records.insert(full_name(name, namespace), plan.clone());
        Ok(plan)
    }
}

/// Whether the field is declared unique: the IM server generates its value, a new one for each event. An id that the caller
/// chooses cannot be declared so.
fn unique(field: &Located<'_>, name: &str) -> Result<bool, Finding> {
    match field.get("unique") {
        None => Ok(false),
        Some(_) if CALLER_CHOSEN.contains(&name) => {
            Err(field.finding(format!("no unique: {name} is the caller's choice")))
        }
        Some(unique) => unique.expect(&Value::Bool(true)).map(|()| true),
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// Checks that a field which the bridge fills has its one allowed form, apart from its documentation, which must be there.
fn check_bridge_field(field: &Located<'_>, mut expected: Value) -> Result<(), Finding> {
    check_docs(field)?;
    let mut found = field.value.clone();
    strip(&["doc"], &mut found);
    strip(&["doc"], &mut expected);
    if found == expected {
        return Ok(());
    }
    Err(field.finding(format!("{expected}, documented")))
}

fn check_docs(node: &Located<'_>) -> Result<(), Finding> {
    if node.get("name").is_some() {
        node.need("doc", "what it means")?.text()?;
    }
    if let Some(record) = node.get("type").filter(|inner| inner.value.is_object()) {
        check_docs(&record)?;
    }
    match node.get("fields") {
        Some(fields) => fields.items()?.iter().try_for_each(check_docs),
        None => Ok(()),
    }
}

/// Whether this is the name of one of [`BRIDGE_FIELDS`]. Case is ignored, since some readers ignore it.
pub(super) fn is_bridge_field(name: &str) -> bool {
    BRIDGE_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn check_free_name(field: &Located<'_>) -> Result<(), Finding> {
    let name = field.value["name"].as_str().unwrap_or_default();
    if !is_bridge_field(name) {
        return Ok(());
    }
    Err(field.finding(format!(
        "another name, as {name}_ with \"spellings\": [\"{name}\"]: {}, in any case, are the bridge's own, each once, at the end",
        BRIDGE_FIELDS.join(", ")
    )))
}

/// The schema of [`BRIDGE_FIELDS`], with the documentation that every schema has.
pub(super) fn bridge_fields() -> [Value; 5] {
    let string = json!("string");
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    let field = |name, kind: &Value, doc| json!({"name": name, "type": kind, "doc": doc});
    let optional = |name, kind: &Value, doc| json!({"name": name, "type": ["null", kind], "default": null, "doc": doc});
    let meta = json!({"type": "record", "name": "Meta", "namespace": "im",
        "doc": "Where and when a callback arrived; the same in every record.", "fields": [
        field("event_id", &string, "Names this event; equal only in copies of the same one."),
        optional("event_time", &millis, "When it happened, milliseconds since 1970, where the body says so in whatever unit."),
        field("received_at", &millis, "When the bridge received the callback, milliseconds since 1970."),
        field("app", &string, "The app (Tencent's SdkAppid) or the instance that sent the callback."),
        optional("client_ip", &string, "Address of the user's device, where the sender names it."),
        optional("platform", &string, "What the user acted from (iOS, Web, RESTAPI and others), where the sender names it."),
        optional("request_id", &string, "The sender's own id of the request, where it has one."),
    ]});
    let map = json!({"type": "map", "values": "string"});
    let kinds = [string, json!("long"), json!("int"), meta, map];
    let docs = [
        "The spool of the bridge that published it. Positions are compared within one spool only.",
        "The callback's number in the spool. It rises, and within a spool no two callbacks have the same.",
        "The event's place in its callback, from 0: a batch has several events.",
        "What the bridge knows of the callback.",
        "What no field holds exactly, as JSON text by its path in the body.",
    ];
    std::array::from_fn(|index| field(BRIDGE_FIELDS[index], &kinds[index], docs[index]))
}
