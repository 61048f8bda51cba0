//! The house rules that no compiler checks: which part may import which, and what no file may contain. No Kafka.
//!
//! The rules are pure functions over a file's text, so that `the_rules` can show that each of them fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/the_rules.rs"]
mod the_rules;

/// One part of `src/`: the parts that it may import, and the crates that it must not.
struct Part {
    name: &'static str,
    imports: &'static [&'static str],
    never: &'static [&'static str],
}

/// Top to bottom, as in `ARCHITECTURE.md`.
const PARTS: [Part; 16] = [
    part("main", &["cli"], &["actix_web", "apache_avro", "rdkafka", "rusqlite"]),
    part("lib", &[], &["actix_web", "apache_avro", "rdkafka", "rusqlite"]),
    part(
        "cli",
        &[
            "app",
            "ingress",
            "forward",
            "admin",
            "registry_api",
            "provider",
            "spool",
            "schema",
            "publish",
            "callback",
            "lifecycle",
            "secret",
        ],
        &[],
    ),
    part(
        "app",
        &[
            "ingress",
            "forward",
            "admin",
            "registry_api",
            "provider",
            "spool",
            "schema",
            "publish",
            "callback",
            "lifecycle",
            "secret",
        ],
        &["clap"],
    ),
    part(
        "ingress",
        &["provider", "spool", "callback", "lifecycle", "secret"],
        &["rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part(
        "forward",
        &["provider", "spool", "schema", "publish", "callback", "lifecycle"],
        &["actix_web", "rusqlite", "anyhow"],
    ),
    part(
        "admin",
        &["spool", "callback", "lifecycle", "private_port", "secret"],
        &["rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part(
        "registry_api",
        &["schema", "callback", "lifecycle", "private_port", "secret"],
        &["rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part(
        "provider",
        &["callback", "lifecycle", "secret"],
        &["actix_web", "rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part(
        "spool",
        &["callback", "lifecycle"],
        &["actix_web", "rdkafka", "apache_avro", "serde_json", "anyhow"],
    ),
    part(
        "schema",
        &["callback", "lifecycle"],
        &["actix_web", "rdkafka", "rusqlite", "anyhow"],
    ),
    part(
        "publish",
        &["callback", "lifecycle"],
        &["actix_web", "apache_avro", "serde_json", "rusqlite", "anyhow"],
    ),
    part(
        "callback",
        &[],
        &["actix_web", "rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part(
        "lifecycle",
        &[],
        &["actix_web", "rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
    part("private_port", &[], &["rdkafka", "apache_avro", "rusqlite", "anyhow"]),
    part(
        "secret",
        &[],
        &["actix_web", "rdkafka", "apache_avro", "rusqlite", "anyhow"],
    ),
];

const fn part(name: &'static str, imports: &'static [&'static str], never: &'static [&'static str]) -> Part {
    Part { name, imports, never }
}

/// Tests that may sleep, and why. All other tests wait for a condition.
const MAY_SLEEP: &[(&str, &str)] = &[
    (
        "tests/torture/fencing.rs",
        "the moment of the kill and the length of the sleep are the cases",
    ),
    (
        "tests/torture/endurance.rs",
        "between two measurements of memory and disk",
    ),
    ("tests/torture/kill.rs", "the moment of the kill varies"),
    (
        "tests/torture/campaign.rs",
        "the length of a fault varies; all campaigns wait with its `pass`",
    ),
    ("tests/support/proxy.rs", "a slow network is the case"),
    ("tests/torture/power.rs", "the moment of the power cut varies"),
    ("tests/pipeline/outage.rs", "the length of the outage is the case"),
    (
        "tests/pipeline/clocks.rs",
        "the length of the outage is the case; and it waits for what must not happen: brokers that delete, a batch that is sent early",
    ),
    (
        "tests/support/mod.rs",
        "between two polls of `eventually`, which has a deadline",
    ),
    ("tests/support/registry.rs", "between two polls of a gate's socket"),
];

/// Files with unsafe code: the calls of librdkafka that rust-rdkafka does not wrap.
const MAY_BE_UNSAFE: [&str; 4] = [
    "src/cli/embedded.rs",
    "src/publish/native.rs",
    "src/publish/native/admin.rs",
    "src/publish/native/notice.rs",
];

const LINES_MAX: usize = 400;
const MEDIAN_LINES: std::ops::RangeInclusive<usize> = 60..=180;

/// What code must not contain. The strings are assembled, so that this file does not contain them itself.
fn unfinished() -> [String; 4] {
    [["to", "do!"], ["unimpl", "emented!"], ["db", "g!"], ["#[ig", "nore"]].map(|halves| halves.concat())
}

/// Paths of the machines on which the project was written, assembled likewise.
fn foreign_paths() -> [String; 2] {
    [["/wo", "rk/"].concat(), ["../sha", "red"].concat()]
}

/// A line without a comment at its beginning or after a blank.
fn code(line: &str) -> &str {
    match line.trim_start() {
        comment if comment.starts_with("//") => "",
        _ => line.split_once(" // ").map_or(line, |(code, _)| code),
    }
}

/// The first names after each `crate::` of a text: `crate::a::b`, `crate::{a, b::{c, d}, e}`, also over several lines.
fn crate_imports(text: &str) -> Vec<String> {
    let text: String = text.lines().map(code).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (start, _) in text.match_indices("crate::") {
        // `pub(in crate::x)` is a visibility, `mycrate::x` another crate.
        if text[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &text[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

/// The first names of a group's members, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut member, mut heads) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                heads.extend(head(&group[member..at]));
                member = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let name: String = path
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Whether a text names a crate: `rdkafka::...`, `use rdkafka;`, `extern crate rdkafka`.
fn names_crate(text: &str, name: &str) -> bool {
    text.lines().map(code).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            !before.ends_with(|c: char| c.is_alphanumeric() || "_:\".-".contains(c))
                && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
        })
    })
}

/// The faults in the imports of one file of `src/`. Its path is relative to `src/`.
fn import_faults(path: &str, text: &str) -> Vec<String> {
    let name = path.split('/').next().expect("split gives one").trim_end_matches(".rs");
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        return vec![format!("src/{path}: `{name}` is not in PARTS")];
    };
    let mut faults = Vec::new();
    for import in crate_imports(text) {
        if import != part.name && !part.imports.contains(&import.as_str()) {
            faults.push(format!("src/{path}: {} must not import {import}", part.name));
        }
    }
    for name in part.never.iter().filter(|name| names_crate(text, name)) {
        faults.push(format!("src/{path}: {} must not know the crate {name}", part.name));
    }
    // The way around `crate::`: `super` out of the part. An indented line may be in a module of the file.
    let depth = path.trim_end_matches("/mod.rs").split('/').count();
    let climbs = |line: &str| {
        let inside = usize::from(line.starts_with(' '));
        line.contains(&"super::".repeat(depth + inside))
    };
    if text.lines().map(code).any(climbs) {
        faults.push(format!(
            "src/{path}: paths out of the part begin with crate::, not with super::"
        ));
    }
    faults
}

/// The faults of one Rust file on its own.
fn file_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(format!("{path}: does not begin with //! and its purpose"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!(
            "{path}: {lines} lines, at most {LINES_MAX}: split it by meaning"
        ));
    }
    for (number, line) in (1..).zip(text.lines().map(code)) {
        for word in unfinished().iter().filter(|word| line.contains(word.as_str())) {
            faults.push(format!("{path}:{number}: {word}"));
        }
        if path.starts_with("src/") && !MAY_BE_UNSAFE.contains(&path) && is_unsafe(line) {
            faults.push(format!(
                "{path}:{number}: only wrappers of librdkafka may have unsafe code"
            ));
        }
        let may_sleep = MAY_SLEEP.iter().any(|(file, _)| *file == path);
        if is_test(path) && !may_sleep && line.contains(&["sleep", "("].concat()) {
            faults.push(format!(
                "{path}:{number}: a test must not sleep, but wait for a condition"
            ));
        }
    }
    faults
}

fn is_unsafe(line: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
        .iter()
        .any(|words| line.contains(words))
}

/// A file with tests only: under `tests/`, or in the `tests` module of a part.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Lines with a path of one machine.
fn path_faults(path: &str, text: &str) -> Vec<String> {
    let foreign = foreign_paths();
    let found = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| foreign.iter().any(|place| line.contains(place)));
    found
        .map(|(_, number)| format!("{path}:{number}: a path that exists on one machine only"))
        .collect()
}

fn median(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    lengths[lengths.len() / 2]
}

/// The tracked text files, by path.
fn tracked() -> BTreeMap<String, String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .output()
        .expect("git is there");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths are text");
    let read = |path: &str| Some((path.to_owned(), std::fs::read_to_string(Path::new(path)).ok()?));
    paths.split_terminator('\0').filter_map(read).collect()
}

fn rust() -> BTreeMap<String, String> {
    tracked()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .collect()
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn imports_go_downward_only_and_no_part_knows_a_crate_that_is_not_its_own() {
    let files = rust();
    let src: Vec<_> = files
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("src/")?, text)))
        .collect();
    for part in &PARTS {
        let is_its = |path: &str| path == format!("{}.rs", part.name) || path.starts_with(&format!("{}/", part.name));
        assert!(
            src.iter().any(|(path, _)| is_its(path)),
            "PARTS names {}, which is not there",
            part.name
        );
    }
    assert_none(src.iter().flat_map(|(path, text)| import_faults(path, text)).collect());
}

#[test]
fn every_file_says_what_it_is_and_is_finished_and_short() {
    assert_none(rust().iter().flat_map(|(path, text)| file_faults(path, text)).collect());
}

#[test]
fn the_median_file_is_neither_a_scrap_nor_a_heap() {
    let median = median(rust().values().map(|text| text.lines().count()).collect());
    assert!(
        MEDIAN_LINES.contains(&median),
        "the median file has {median} lines, not {MEDIAN_LINES:?}"
    );
}

#[test]
fn files_that_may_sleep_are_there_and_do() {
    let files = rust();
    for (path, reason) in MAY_SLEEP {
        assert!(
            files.get(*path).is_some_and(|text| text.contains("sleep")),
            "{path} needs no exception ({reason})"
        );
    }
}

#[test]
fn no_tracked_file_names_a_place_of_one_machine() {
    assert_none(
        tracked()
            .iter()
            .flat_map(|(path, text)| path_faults(path, text))
            .collect(),
    );
}
