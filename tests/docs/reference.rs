//! Pages that are generated from the code: metrics from their registrations, the command line from its help. The text
//! above the mark is written by hand and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::{PROGRAM, files, hold, text};

const MARK: &str = "<!-- Made by `IMBRIDGE_DOCS=write cargo test --test docs`; what is below is not edited. -->\n";

/// Compares or rewrites the part of a page below its mark.
pub fn hold_below(path: &str, made: &str) {
    let page = text(path);
    let (head, _) = page.split_once(MARK).unwrap_or_else(|| panic!("{path} has no mark"));
    hold(path, &format!("{head}{MARK}{made}"));
}

/// A cell of a table.
pub fn cell(words: &str) -> String {
    words.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}

struct Metric {
    name: String,
    labels: String,
    kind: &'static str,
    help: String,
}

/// A metric's type, from the word in front of its labels or its name.
fn kind(declared: &str) -> &'static str {
    match declared {
        declared if declared.contains("Histogram") => "histogram",
        declared if declared.contains("Counter") => "counter",
        _ => "gauge",
    }
}

/// The fields of a part's table of metrics: comments, then `name: Kind["label"] = "metric"`.
fn of_tables(code: &str) -> Vec<Metric> {
    let (mut metrics, mut help) = (Vec::new(), String::new());
    for line in code.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            help.push_str(words);
        } else if let Some((field, rest)) = line.split_once(" = \"imbridge_") {
            let declared = field.split_once(": ").map_or("", |(_, declared)| declared);
            let labels = declared
                .split_once('[')
                .map_or("", |(_, labels)| labels)
                .trim_end_matches(']');
            metrics.push(Metric {
                name: format!("imbridge_{}", rest.split('"').next().expect("split gives one")),
                labels: labels.replace('"', "").replace(", ", ","),
                kind: kind(declared),
                help: help.trim().to_owned(),
            });
            help.clear();
        } else {
            help.clear();
        }
    }
    metrics
}

/// Metrics that are registered one by one: a name, then a help text, in one call.
fn of_calls(code: &str) -> Vec<Metric> {
    let calls = code.match_indices("\"imbridge_").filter_map(|(at, _)| {
        let mut words = code[at..].split('"').skip(1);
        let (name, between, help) = (words.next()?, words.next()?, words.next()?);
        let opened = code[..at].trim_end().strip_suffix('(')?;
        let call = opened.lines().last()?;
        let labels = code[at..]
            .lines()
            .take(3)
            .find_map(|line| line.split("const_label(\"").nth(1)?.split('"').next());
        let registers = call.ends_with("::new") || call.contains("register_");
        (between.trim() == "," && registers).then(|| Metric {
            name: name.to_owned(),
            labels: labels.unwrap_or_default().to_owned(),
            kind: kind(call),
            help: help.to_owned(),
        })
    });
    calls.collect()
}

/// The heading of each part's metrics on the page.
fn heading(path: &str) -> &'static str {
    match path {
        path if path.starts_with("src/ingress/") || path.starts_with("src/provider/") => "Callbacks",
        path if path.starts_with("src/spool/") => "Spool",
        path if path.starts_with("src/forward/") => "Publishing",
        path if path.starts_with("src/schema/") => "Schema registry",
        _ => "Process",
    }
}

const HEADINGS: [&str; 5] = ["Callbacks", "Spool", "Publishing", "Schema registry", "Process"];

/// All metrics by heading.
fn metrics() -> BTreeMap<&'static str, Vec<Metric>> {
    let mut found: BTreeMap<&str, Vec<Metric>> = BTreeMap::new();
    for path in files(".rs")
        .iter()
        .filter(|path| path.starts_with("src/") && !path.contains("tests"))
    {
        let code = text(path);
        let code = code.split("#[cfg(test)]").next().expect("split gives one");
        let own = found.entry(heading(path)).or_default();
        own.extend(of_tables(code));
        own.extend(of_calls(code));
    }
    found
}

/// How often each name begins a row.
fn counted(page: &str) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let name = row.split(['{', '`']).next().expect("split gives one");
        *counted.entry(name).or_default() += 1;
    }
    counted
}

#[test]
fn the_page_of_metrics_is_made_of_their_registrations() {
    let metrics = metrics();
    let mut page = String::new();
    for heading in HEADINGS {
        page += &format!("\n## {heading}\n\n| metric | type | meaning |\n|---|---|---|\n");
        for Metric {
            name,
            labels,
            kind,
            help,
        } in &metrics[heading]
        {
            assert!(!help.is_empty(), "{name} has no help");
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            page += &format!("| `{name}{labels}` | {kind} | {} |\n", cell(help));
        }
    }
    for (name, count) in counted(&page) {
        assert_eq!(count, 1, "{name} is there once");
    }
    hold_below("docs/reference/metrics.md", &page);
}

/// Fails if a metric is registered in a way that the page does not find.
#[test]
fn every_metric_of_the_rules_and_the_dashboard_is_on_the_page() {
    let page = text("docs/reference/metrics.md");
    let named = [
        "dashboards/alerts.yml",
        "dashboards/imbridge.json",
        "src/admin/status.rs",
        "src/admin/history.rs",
    ];
    let mut names = BTreeSet::new();
    for file in named.map(text) {
        for (at, _) in file.match_indices("imbridge_") {
            let name: String = file[at..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            names.insert(base.unwrap_or(&name).to_owned());
        }
    }
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")) && !page.contains(&format!("`{name}{{")))
        .collect();
    assert!(names.len() > 20 && missing.is_empty(), "{missing:?}");
}

fn help(verb: &[String]) -> String {
    let output = Command::new(PROGRAM)
        .args(verb)
        .arg("--help")
        .env("COLUMNS", "100")
        .output();
    String::from_utf8(output.expect("the program was built").stdout).expect("text")
}

/// The help of a command, then that of each subcommand.
fn chapter(verb: &[String], page: &mut String) {
    let help = help(verb);
    let title = [&["imbridge".to_owned()], verb].concat().join(" ");
    let lines = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    *page += &format!("\n## {title}\n\n```text\n{lines}\n```\n");
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    for command in commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if !command.is_empty() && command != "help" {
            chapter(&[verb, &[command.to_owned()]].concat(), page);
        }
    }
}

#[test]
fn the_page_of_the_command_line_is_its_help() {
    let mut page = String::new();
    chapter(&[], &mut page);
    assert!(
        page.contains("\n## imbridge spool export\n"),
        "commands below commands are there"
    );
    hold_below("docs/reference/command-line.md", &page);
}
