//! A schema as text, laid out as the files of the folder are: a line for each field, records inside fields indented.

use serde_json::Value;

/// The attributes of records and fields, in the order in which they are written; others follow.
const ORDER: [&str; 15] = [
    "name",
    "logicalType",
    "namespace",
    "doc",
    "imbridge",
    "phase",
    "key",
    "time",
    "type",
    "items",
    "values",
    "default",
    "unit",
    "json",
    "spellings",
];

/// The text of a schema file.
pub(super) fn render(schema: &Value) -> String {
    let mut out = String::from("{\n  \"type\": \"record\",\n");
    for name in ["name", "namespace", "doc", "imbridge"] {
        if let Some(value) = schema.get(name) {
            out.push_str(&format!("  \"{name}\": "));
            put(value, 1, &mut out);
            out.push_str(",\n");
        }
    }
    out.push_str("  \"fields\": ");
    put_fields(&schema["fields"], 1, &mut out);
    out.push_str("\n}\n");
    out
}

fn put_fields(fields: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push('[');
    for (index, field) in fields.as_array().into_iter().flatten().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&format!("{indent}  "));
        put(field, depth + 1, out);
    }
    out.push_str(&format!("\n{indent}]"));
}

fn put(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(entries) => {
            let is_type = entries.contains_key("fields") || !entries.contains_key("name");
            let rank = |name: &str| match name {
                "type" if is_type => 0,
                "fields" => usize::MAX,
                _ => ORDER.iter().position(|known| *known == name).map_or(99, |at| at + 1),
            };
            let mut names: Vec<_> = entries.keys().collect();
            names.sort_by_key(|name| rank(name));
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(&format!("{}: ", Value::from(name.as_str())));
                match name.as_str() {
                    "fields" => put_fields(&entries[name], depth, out),
                    _ => put(&entries[name], depth, out),
                }
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                put(item, depth, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
