//! From one schema file to a plan. Every rule of `schemas/README.md` about a record is checked here, so that what
//! encodes and decodes can rely on it. Does not know where the file lies.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::fingerprint::strip;
use super::location::{Fault, Faults, Located};
use super::plan::{FieldPlan, Kind, RecordPlan};

/// What a value may be, in the words of a complaint.
const KINDS: &str =
    "\"string\", \"long\", \"int\", \"double\", \"boolean\", timestamp-millis, a record, an array of one of these";

/// The fields that the bridge itself fills, with which every record ends.
const OWN: [&str; 5] = ["spool", "spool_seq", "spool_part", "meta", "unmapped"];

/// Ids that callers choose, and may choose again.
const CALLERS: [&str; 3] = ["operationID", "clientMsgID", "MsgRandom"];

/// Compiles a command's record, which must be called `name` in `namespace`. The plan is of the body only: the last
/// fields, [`OWN`], are checked and left out. It is good for use only where no fault was noted.
pub(super) fn compile(record: &Located<'_>, namespace: &str, name: &str, faults: &mut Faults) -> RecordPlan {
    let head = |need: &str, expected: &str| record.need(need, expected)?.expect(&json!(expected));
    faults.note(record.only(&["type", "name", "namespace", "doc", "imbridge", "fields"]));
    faults.note(head("type", "record"));
    faults.note(head("name", name));
    faults.note(head("namespace", namespace));
    faults.note(documented(record, "what the record means"));
    let fields = record.need("fields", "an array of fields");
    let Some((fields, items)) = faults.note(fields.and_then(|fields| fields.items().map(|items| (fields, items))))
    else {
        return RecordPlan::default();
    };
    let (mut body, own) = (items, own_fields());
    let end = body.len().saturating_sub(own.len());
    if body[end..].iter().map(|field| &field.value["name"]).eq(OWN) {
        for (field, own) in body.split_off(end).iter().zip(&own) {
            faults.note(check_bridge_field(field, own));
        }
        for field in &body {
            faults.note(not_own(field));
        }
    } else {
        let allowed = format!(
            "at the end, in this order, what the bridge writes: {}; take these fields from a schema that loads",
            OWN.join(", ")
        );
        faults.note::<()>(Err(fields.fault(allowed)));
        body.retain(|field| not_own(field).is_ok());
    }
    let mut compiler = Compiler {
        records: HashMap::new(),
        faults,
    };
    compiler.fields(&body, namespace)
}

fn documented(node: &Located<'_>, what: &str) -> Result<(), Fault> {
    node.need("doc", what)?.text().map(drop)
}

struct Compiler<'f> {
    /// Records that are complete, by full name, for fields that only name theirs.
    records: HashMap<String, RecordPlan>,
    faults: &'f mut Faults,
}

impl Compiler<'_> {
    fn fields(&mut self, fields: &[Located<'_>], namespace: &str) -> RecordPlan {
        let mut plan = RecordPlan::default();
        let mut names = HashSet::new();
        for field in fields {
            self.faults
                .note(field.only(&["name", "type", "default", "doc", "spellings", "unit", "json", "unique"]));
            let name = field.need("name", "the name on the wire").and_then(|name| name.text());
            let Some(name) = self.faults.note(name) else {
                continue;
            };
            let spellings = field.get("spellings");
            let others = spellings.as_ref().map_or_else(|| Ok(Vec::new()), Located::texts);
            let others = self.faults.note(others).unwrap_or_default();
            for spelling in std::iter::once(name).chain(others.iter().copied()) {
                if !names.insert(spelling) {
                    let differ = format!("names and spellings that differ; `{spelling}` is there twice");
                    self.faults.note::<()>(Err(field.fault(differ)));
                }
            }
            self.faults.note(documented(field, "what the field means"));
            let null = field
                .need("default", "null")
                .and_then(|default| default.expect(&Value::Null));
            self.faults.note(null);
            let kind = self.field(field, namespace);
            let unique = self.faults.note(unique(field, name)).unwrap_or_default();
            let index = plan.fields.len();
            plan.spellings
                .extend(others.iter().map(|other| (Box::from(*other), index)));
            plan.fields.push(FieldPlan {
                name: name.into(),
                kind: self.faults.note(kind).unwrap_or(Kind::Text),
                capture: None,
                unique,
            });
        }
        plan
    }

    fn field(&mut self, field: &Located<'_>, namespace: &str) -> Result<Kind, Fault> {
        let union = field.need("type", "[\"null\", T]")?;
        let branches = union.items().map_err(|_| union.fault("[\"null\", T]"))?;
        let [null, branch] = branches.as_slice() else {
            return Err(union.fault("[\"null\", T]"));
        };
        null.expect(&json!("null"))?;
        let mut kind = self.kind(branch, namespace)?;
        if let Some(unit) = field.get("unit") {
            match kind {
                Kind::Long if unit.value == "s" => kind = Kind::Seconds,
                _ => return Err(unit.fault("\"s\", on a long field only")),
            }
        }
        if let Some(any) = field.get("json") {
            match kind {
                Kind::Text if any.value == &Value::Bool(true) => kind = Kind::Json,
                _ => return Err(any.fault("true, on a string field only")),
            }
        }
        Ok(kind)
    }

    fn kind(&mut self, node: &Located<'_>, namespace: &str) -> Result<Kind, Fault> {
        if let Some(name) = node.value.as_str() {
            return match name {
                "string" => Ok(Kind::Text),
                "long" => Ok(Kind::Long),
                "int" => Ok(Kind::Int),
                "double" => Ok(Kind::Double),
                "boolean" => Ok(Kind::Boolean),
                name => match self.records.get(&full_name(name, namespace)) {
                    Some(plan) => Ok(Kind::Record(plan.clone())),
                    None => Err(node.fault(format!("{KINDS}, or the name of a record that stands before"))),
                },
            };
        }
        match node.value.get("type").and_then(Value::as_str) {
            Some("record") => self.record(node, namespace).map(Kind::Record),
            Some("array") => {
                node.only(&["type", "items"])?;
                let items = node.need("items", KINDS)?;
                match self.kind(&items, namespace)? {
                    Kind::Array(_) => Err(items.fault("anything but another array")),
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
            _ => Err(node.fault(KINDS)),
        }
    }

    fn record(&mut self, node: &Located<'_>, namespace: &str) -> Result<RecordPlan, Fault> {
        self.faults
            .note(node.only(&["type", "name", "namespace", "doc", "fields"]));
        self.faults.note(documented(node, "what the record means"));
        let name = node.need("name", "a name")?.text()?;
        let own = node.get("namespace").map(|own| own.text()).transpose()?;
        let namespace = own.unwrap_or(namespace);
        let plan = self.fields(&node.need("fields", "an array of fields")?.items()?, namespace);
        self.records.insert(full_name(name, namespace), plan.clone());
        Ok(plan)
    }
}

/// Whether the IM server makes the field's value and gives it to one event alone. That cannot be said of what callers choose.
fn unique(field: &Located<'_>, name: &str) -> Result<bool, Fault> {
    match field.get("unique") {
        None => Ok(false),
        Some(_) if CALLERS.contains(&name) => Err(field.fault(format!("no unique: {name} is the caller's choice"))),
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

/// Compares a field that the bridge fills with its one allowed form, apart from documentation, which must be there.
fn check_bridge_field(field: &Located<'_>, expected: &Value) -> Result<(), Fault> {
    check_docs(field)?;
    let mut found = field.value.clone();
    strip(&["doc"], &mut found);
    if found == *expected {
        return Ok(());
    }
    Err(field.fault(format!("{expected}, documented")))
}

fn check_docs(node: &Located<'_>) -> Result<(), Fault> {
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

/// Whether a field of this name is the bridge's own, for readers to whom case is nothing too.
pub(super) fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn not_own(field: &Located<'_>) -> Result<(), Fault> {
    let name = field.value["name"].as_str().unwrap_or_default();
    if !is_own(name) {
        return Ok(());
    }
    Err(field.fault(format!(
        "another name, as {name}_ with \"spellings\": [\"{name}\"]: {}, in any case, are the bridge's own, each once, at the end",
        OWN.join(", ")
    )))
}

/// [`OWN`] without their documentation.
pub(super) fn own_fields() -> [Value; 5] {
    let optional = |name| json!({"name": name, "type": ["null", "string"], "default": null});
    let meta = json!({"type": "record", "name": "Meta", "namespace": "im", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "event_time", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
        {"name": "received_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "app", "type": "string"},
        optional("client_ip"),
        optional("platform"),
        optional("request_id"),
    ]});
    let kinds = [
        "string".into(),
        "long".into(),
        "int".into(),
        meta,
        json!({"type": "map", "values": "string"}),
    ];
    let mut kinds = kinds.into_iter();
    OWN.map(|name| json!({"name": name, "type": kinds.next()}))
}
