//! Formats the folder's commands as aligned text or as JSON, and a fingerprint as a line.

use anyhow::Result;
use serde::Serialize;

use crate::publish::command_topic;
use crate::schema::{Catalogue, Command, Summary, VersionPrint};

#[derive(Serialize)]
struct Line {
    topic: String,
    #[serde(flatten)]
    summary: Summary,
}

/// The heading of a column, and the text of its cells.
type Column = (&'static str, fn(&Line) -> String);

const COLUMNS: [Column; 11] = [
    ("PROVIDER", |line| line.summary.provider.clone()),
    ("COMMAND", |line| line.summary.command.clone()),
    ("VERSION", |line| format!("v{}", line.summary.version)),
    ("PHASE", |line| line.summary.phase.to_owned()),
    ("KIND", |line| or_dash(&line.summary.kind)),
    ("TOPIC", |line| line.topic.clone()),
    ("KEY", |line| line.summary.key.clone()),
    ("TIME", |line| or_dash(&line.summary.time)),
    ("ANSWER", |line| or_dash(&line.summary.answer)),
    ("EXPAND", |line| or_dash(&line.summary.expand)),
    ("FINGERPRINT", |line| line.summary.fingerprint.clone()),
];

fn or_dash(text: &Option<String>) -> String {
    text.as_deref().unwrap_or("-").to_owned()
}

/// All commands. Each column is as wide as its longest cell.
pub(super) fn render(catalogue: &Catalogue, prefix: &str, json: bool) -> Result<String> {
    let line = |command: &Command| Line {
        topic: command_topic(prefix, command.provider(), command.name()),
        summary: command.summary(),
    };
    let lines: Vec<Line> = catalogue.commands().map(line).collect();
    if json {
        return Ok(serde_json::to_string_pretty(&lines)? + "\n");
    }
    let rows = lines.iter().map(|line| COLUMNS.map(|(_, cell)| cell(line)));
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// The version, CRC-64-AVRO as Java prints it and as the header of a record has it, SHA-256.
pub(super) fn fingerprint_line(print: &VersionPrint) -> String {
    let fingerprint = &print.fingerprint;
    let (long, header) = (fingerprint.java_long(), fingerprint.header_hex());
    format!("{} {long} {header} {}", print.name, hex::encode(fingerprint.sha256))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::fingerprint_line;
    use crate::schema::fingerprints;

    #[test]
    fn fingerprints_are_those_of_java() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let golden = std::fs::read_to_string(root.join("tests/golden/fingerprints.txt")).expect("it is committed");
        let golden: Vec<_> = golden.lines().filter(|line| !line.starts_with('#')).collect();
        let mut ours: Vec<_> = fingerprints(&root.join("schemas"))
            .expect("the shipped folder loads")
            .iter()
            .map(fingerprint_line)
            .collect();
        ours.sort();
        assert!(golden.len() >= 132, "{}", golden.len());
        assert_eq!(ours, golden);
    }
}
