//! Checks that a version may follow another. It may only add optional fields at the top of the record, so that every reader
//! reads every record. Avro's own check is not enough: it does not see a changed unit or a changed logical type. It also
//! allows a new field in an inner record, at which ClickHouse stops reading the topic (ClickHouse#88661). Knows schemas as
//! JSON; each has been checked by itself.

use serde_json::Value;

use super::location::{Findings, Located};

/// The attributes that must not change. Documentation and spellings may change.
const FIXED_IN_RECORD: [&str; 3] = ["type", "name", "namespace"];
const FIXED_IN_FIELD: [&str; 3] = ["default", "unit", "json"];

/// Checks that the record `new` only adds to the record `old`.
pub(super) fn check(old: &Value, new: &Located<'_>, findings: &mut Findings) {
    unchanged(&FIXED_IN_RECORD, old, new, findings);
    let fields = new.need("fields", "the fields of the version before");
    let Some((fields, candidates)) =
        findings.note(fields.and_then(|fields| fields.items().map(|items| (fields, items))))
    else {
        return;
    };
    for old_field in old["fields"].as_array().into_iter().flatten() {
        let name = &old_field["name"];
        let Some(field) = candidates.iter().find(|field| field.value["name"] == *name) else {
            findings.push(fields.finding(format!("the field {name} of the version before")));
            continue;
        };
        unchanged(&FIXED_IN_FIELD, old_field, field, findings);
        if let Some(kind) = findings.note(field.need("type", "the type of the version before")) {
            check_type(&old_field["type"], &kind, findings);
        }
    }
}

fn check_type(old: &Value, new: &Located<'_>, findings: &mut Findings) {
    if old == new.value {
        return;
    }
    if let (Some([_, old]), Ok(branches)) = (old.as_array().map(Vec::as_slice), new.items()) {
        return branches
            .iter()
            .skip(1)
            .for_each(|branch| check_type(old, branch, findings));
    }
    match (old["type"].as_str(), new.value["type"].as_str()) {
        (Some("record"), Some("record")) => {
            check(old, new, findings);
            adds_nothing(old, new, findings);
        }
        (Some("array"), Some("array")) => {
            if let Some(items) = findings.note(new.need("items", "items")) {
                check_type(&old["items"], &items, findings);
            }
        }
        _ => findings.push(new.finding(format!("what it was in the version before: {old}"))),
    }
}

/// Checks that an inner record has no new field.
fn adds_nothing(old: &Value, new: &Located<'_>, findings: &mut Findings) {
    let old_names: Vec<_> = old["fields"]
        .as_array()
        .map_or_else(Vec::new, |fields| fields.iter().map(|field| &field["name"]).collect());
    let fields = new
        .get("fields")
        .and_then(|fields| fields.items().ok())
        .unwrap_or_default();
    for name in fields.iter().filter_map(|field| field.get("name")) {
        if !old_names.contains(&name.value) {
            findings.push(name.finding(
                "no new field: an inner record stays as in the version before, and new values in it stay in unmapped",
            ));
        }
    }
}

fn unchanged(names: &[&str], old: &Value, new: &Located<'_>, findings: &mut Findings) {
    for name in names {
        if old.get(name) != new.value.get(name) {
            let was = old.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            findings.push(match new.get(name) {
                Some(now) => now.finding(format!("{was}, as in the version before")),
                None => new.finding(format!("\"{name}\": {was}, as in the version before")),
            });
        }
    }
}
