//! Links between documents, and to other files of the repository.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{assert_none, files, markdown, text};

/// A path with its `..` resolved; nothing if it leaves the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The fault of one link of a page, if it has one.
fn fault(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        let Some(file) = resolve(page, path) else {
            return Some("leads out of the repository".to_owned());
        };
        file
    };
    if !Path::new(&file).exists() {
        return Some(format!("{file} is not there"));
    }
    let known = || markdown::anchors(&text(&file));
    (!anchor.is_empty() && !known().iter().any(|known| known == anchor))
        .then(|| format!("{file} has no heading for #{anchor}"))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_is_there() {
    let mut faults = Vec::new();
    for page in files(".md") {
        for (line, target) in markdown::links(&text(&page)) {
            faults.extend(fault(&page, &target).map(|fault| format!("{page}:{line}: {target}: {fault}")));
        }
    }
    assert_none(faults);
}

#[test]
fn broken_links_are_found() {
    for (target, wrong) in [
        ("CHANGELOG.md", false),
        ("docs/guide/tencent.md#test-it", false),
        ("https://example.com/x", false),
        ("docs/nowhere.md", true),
        ("docs/guide/tencent.md#nowhere", true),
        ("../outside.md", true),
        ("#nowhere", true),
    ] {
        assert_eq!(fault("README.md", target).is_some(), wrong, "{target}");
    }
}

/// A reader who follows links from the README reaches every page.
#[test]
fn every_page_is_reached_from_the_readme() {
    let (mut reached, mut open) = (BTreeSet::new(), vec!["README.md".to_owned()]);
    while let Some(page) = open.pop() {
        if !page.ends_with(".md") || !reached.insert(page.clone()) {
            continue;
        }
        let targets = markdown::links(&text(&page)).into_iter();
        let paths = targets.filter_map(|(_, target)| resolve(&page, target.split('#').next()?));
        open.extend(paths.filter(|path| Path::new(path).is_file()));
    }
    let lost = files(".md").into_iter().filter(|page| !reached.contains(page));
    assert_none(lost.map(|page| format!("{page}: no link leads here")).collect());
}

/// The paths of documents that a text names, relative to the repository's root.
fn named(text: &str) -> Vec<String> {
    let starts = text.match_indices("docs/");
    let apart = starts.filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '/'));
    let is_of_path = |c: &char| c.is_ascii_alphanumeric() || "/._-".contains(*c);
    let paths = apart.map(|(at, _)| text[at..].chars().take_while(is_of_path).collect::<String>());
    paths.filter(|path| path.ends_with(".md")).collect()
}

/// Comments, charts and programs name documents too.
#[test]
fn documents_that_other_files_name_are_there() {
    let ends = [
        ".rs",
        ".toml",
        ".yml",
        ".yaml",
        ".txt",
        ".py",
        ".service",
        "CHANGELOG.md",
    ];
    let mut faults = Vec::new();
    for file in ends
        .iter()
        .flat_map(|end| files(end))
        .filter(|file| file != "tests/docs/links.rs")
    {
        let lost = named(&text(&file))
            .into_iter()
            .filter(|path| !Path::new(path).is_file());
        faults.extend(lost.map(|path| format!("{file}: names {path}, which is not there")));
    }
    assert_none(faults);
}

#[test]
fn names_of_documents_are_found_in_comments() {
    let text = "//! `docs/guide/alerts.md` says so; mydocs/x.md and tests/docs/main.rs do not: docs/nowhere.md#x.";
    assert_eq!(named(text), ["docs/guide/alerts.md", "docs/nowhere.md"]);
}
