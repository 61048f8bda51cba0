//! Whether a version may follow another: it adds optional fields at the top and changes nothing that was there, so that every
//! reader reads every record. Avro's own check sees neither a changed unit nor a changed logical type, and allows more than
//! readers bear: ClickHouse stops reading a topic in which a record inside the record has got a field (ClickHouse#88661). Knows
//! schemas as JSON, already checked one by one.

use serde_json::Value;

use super::location::{Faults, Located};

/// What of a record or a field may not change; documentation and spellings may.
const FIXED_IN_RECORD: [&str; 3] = ["type", "name", "namespace"];
const FIXED_IN_FIELD: [&str; 3] = ["default", "unit", "json"];

/// Checks that the record `new` only adds to the record `old`.
pub(super) fn check(old: &Value, new: &Located<'_>, faults: &mut Faults) {
    unchanged(&FIXED_IN_RECORD, old, new, faults);
    let fields = new.need("fields", "the fields of the version before");
    let Some((fields, candidates)) = faults.note(fields.and_then(|fields| fields.items().map(|items| (fields, items))))
    else {
        return;
    };
    for old_field in old["fields"].as_array().into_iter().flatten() {
        let name = &old_field["name"];
        let Some(field) = candidates.iter().find(|field| field.value["name"] == *name) else {
            faults.note::<()>(Err(fields.fault(format!("the field {name} of the version before"))));
            continue;
        };
        unchanged(&FIXED_IN_FIELD, old_field, field, faults);
        if let Some(kind) = faults.note(field.need("type", "the type of the version before")) {
            check_type(&old_field["type"], &kind, faults);
        }
    }
}

fn check_type(old: &Value, new: &Located<'_>, faults: &mut Faults) {
    if old == new.value {
        return;
    }
    if let (Some([_, old]), Ok(branches)) = (old.as_array().map(Vec::as_slice), new.items()) {
        return branches
            .iter()
            .skip(1)
            .for_each(|branch| check_type(old, branch, faults));
    }
    match (old["type"].as_str(), new.value["type"].as_str()) {
        (Some("record"), Some("record")) => {
            check(old, new, faults);
            adds_nothing(old, new, faults);
        }
        (Some("array"), Some("array")) => {
            if let Some(items) = faults.note(new.need("items", "items")) {
                check_type(&old["items"], &items, faults);
            }
        }
        _ => drop(faults.note::<()>(Err(new.fault(format!("what it was in the version before: {old}"))))),
    }
}

/// Checks that a record inside the command's record has no fields but those that it had.
fn adds_nothing(old: &Value, new: &Located<'_>, faults: &mut Faults) {
    let had: Vec<_> = old["fields"].as_array().into_iter().flatten().collect();
    for field in new
        .get("fields")
        .and_then(|fields| fields.items().ok())
        .into_iter()
        .flatten()
    {
        if let Some(name) = field
            .get("name")
            .filter(|name| had.iter().all(|old| old["name"] != *name.value))
        {
            faults.note::<()>(Err(name.fault(
                "no field that the version before did not have: a record inside the record stays as it is, and what is new in it in unmapped",
            )));
        }
    }
}

fn unchanged(names: &[&str], old: &Value, new: &Located<'_>, faults: &mut Faults) {
    for name in names {
        if old.get(name) != new.value.get(name) {
            let was = old.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            faults.note::<()>(Err(match new.get(name) {
                Some(now) => now.fault(format!("{was}, as in the version before")),
                None => new.fault(format!("\"{name}\": {was}, as in the version before")),
            }));
        }
    }
}
