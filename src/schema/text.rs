//! Writes a schema as text in the layout of the folder's files: one line for each field, inner records indented.

use serde_json::Value;

/// The attributes of records and fields, in the order in which they are written. Other attributes follow them.
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
    let line = |name: &str| Some(format!("  \"{name}\": {},\n", text(schema.get(name)?, 1)));
    let attributes = ["name", "namespace", "doc", "imbridge"].into_iter().filter_map(line);
    format!(
        "{{\n  \"type\": \"record\",\n{}  \"fields\": {}\n}}\n",
        attributes.collect::<String>(),
        fields_text(&schema["fields"], 1)
    )
}

fn fields_text(fields: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let fields = fields.as_array().into_iter().flatten();
    let lines: Vec<_> = fields
        .map(|field| format!("{indent}  {}", text(field, depth + 1)))
        .collect();
    format!("[\n{}\n{indent}]", lines.join(",\n"))
}

fn text(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(entries) => {
            let is_type = entries.contains_key("fields") || !entries.contains_key("name");
            let rank = |name: &str| match name {
                "type" if is_type => 0,
                "fields" => usize::MAX,
                _ => ORDER.iter().position(|known| *known == name).map_or(99, |at| at + 1),
            };
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(name, _)| rank(name));
            let entry = |(name, value): (&String, &Value)| match name.as_str() {
                "fields" => format!("\"fields\": {}", fields_text(value, depth)),
                name => format!("{}: {}", Value::from(name), text(value, depth)),
            };
            format!("{{{}}}", entries.into_iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| text(item, depth)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
