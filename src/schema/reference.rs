//! Writes the commands as a Markdown document for readers of the topics. Uses the schemas only; the caller gives the
//! topics' names.

use std::fmt::Write;

use serde_json::Value;

use super::compile::is_bridge_field;
use super::{Catalogue, Command};

/// Writes the document; `topic` gives the topic of a provider's command.
pub fn reference(catalogue: &Catalogue, topic: impl Fn(&str, &str) -> String) -> String {
    let mut page = String::from(
        "# Commands\n\nThis page is generated from the schemas by `imbridge schemas docs`. Change the schemas, not this page.\n\n\
         Every field may be null, except for the fields that the bridge itself fills. Every record ends with these:\n\n",
    );
    if let Some(command) = catalogue.commands().next() {
        fields(&mut page, &only(command.parsed(), true), 0);
    }
    let mut provider = "";
    for command in catalogue.commands() {
        if command.provider() != provider {
            provider = command.provider();
            let _ = writeln!(page, "\n## {provider}\n");
            let own = catalogue.commands().filter(|command| command.provider() == provider);
            own.for_each(|command| {
                let _ = writeln!(page, "- [{}](#{})", command.name(), anchor(command.name()));
            });
        }
        section(&mut page, command, &topic(provider, command.name()));
    }
    page
}

/// The anchor that Markdown renderers make from a heading.
fn anchor(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    kept.collect::<String>().to_lowercase()
}

fn section(page: &mut String, command: &Command, topic: &str) {
    let (schema, summary) = (command.parsed(), command.summary());
    let doc = schema["doc"].as_str().unwrap_or_default();
    let _ = writeln!(page, "\n### {}\n\n{}\n", command.name(), escaped(doc));
    let version = format!("v{}", summary.version);
    let rows = [
        ("Phase", Some(summary.phase)),
        ("Topic", Some(topic)),
        ("Key", Some(&summary.key)),
        ("Time", summary.time.as_deref()),
        ("Equal bodies are one event with", summary.identity.as_deref()),
        ("Numbers", summary.sequence.as_deref()),
        ("Answer", summary.answer.as_deref()),
        ("One event for each element of", summary.expand.as_deref()),
        ("Kind", summary.kind.as_deref()),
        ("Actor", summary.actor.as_deref()),
        ("Targets", summary.targets.as_deref()),
        ("Version", Some(&version)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(page, "- {name}: `{value}`");
        }
    }
    page.push_str("\nFields:\n\n");
    fields(page, &only(schema, false), 0);
}

/// The record with the bridge's own fields only, or with all others only.
fn only(mut record: Value, bridge_fields: bool) -> Value {
    if let Some(fields) = record["fields"].as_array_mut() {
        fields.retain(|field| field["name"].as_str().is_some_and(is_bridge_field) == bridge_fields);
    }
    record
}

/// Writes a line for each field of a record, and below it, indented, the fields of the record inside.
fn fields(page: &mut String, record: &Value, depth: usize) {
    for field in record["fields"].as_array().into_iter().flatten() {
        let (name, doc) = (&field["name"], field["doc"].as_str().unwrap_or_default());
        let name = name.as_str().unwrap_or_default();
        let kind = field["type"].get(1).unwrap_or(&field["type"]);
        let items = kind.get("items");
        let inner = items.unwrap_or(kind);
        let list = if items.is_some() { "array of " } else { "" };
        let mut label = format!("{list}{}", kind_name(inner));
        if field["unit"] == "s" {
            label.push_str(", seconds");
        }
        if field["json"] == true {
            label.push_str(", JSON text");
        }
        let indent = "  ".repeat(depth);
        let _ = writeln!(page, "{indent}- `{name}` ({label}): {}", escaped(doc));
        fields(page, inner, depth + 1);
    }
}

fn kind_name(kind: &Value) -> String {
    match (kind.as_str(), kind["logicalType"].as_str(), kind["name"].as_str()) {
        (Some("string" | "long" | "int" | "double" | "boolean"), ..) => kind.as_str().unwrap_or_default().to_owned(),
        (Some(name), ..) => format!("`{name}`, as above"),
        (_, Some(logical), _) => logical.to_owned(),
        (.., Some(name)) => format!("`{name}`"),
        _ => "map".to_owned(),
    }
}

/// Escapes text so that Markdown shows it as it is.
pub(super) fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*").replace('_', "\\_")
}
