//! Circles among the files of a part. A folder counts as one with its file. `mod.rs` and tests may import every file.

use std::collections::BTreeSet;

use super::*;

/// For each file of a part, such as `publish/topics`: the files of the part that it names.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Arrows that close a circle, with the reason why they may.
const MAY_POINT_BACK: [(&str, &str, &str); 4] = [
    (
        "publish/timeline",
        "publish/config",
        "[timeline] is checked by the rules of [kafka], which holds it",
    ),
    (
        "publish/reach",
        "publish/diagnosis",
        "without an answer, the diagnosis is the result of a new attempt to reach Kafka",
    ),
    (
        "schema/timeline",
        "schema/file",
        "the timeline's file is compiled like any other, except for its record",
    ),
    ("spool/opening", "spool/writer", "opening is a state of the writer"),
];

/// `publish/topics` for `publish/topics.rs` and its folder; nothing for `mod.rs`, tests, and a part with one file.
fn node(path: &str) -> Option<String> {
    let (part, rest) = path.trim_end_matches(".rs").split_once('/')?;
    let name = rest.split('/').next()?;
    (name != "mod" && !is_test(path)).then(|| format!("{part}/{name}"))
}

/// The files of its part that a file names.
fn named(path: &str, text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let text = text.lines().map(code).collect::<Vec<_>>().join("\n");
    let depth = path.trim_end_matches("/mod.rs").split('/').count() - 1;
    let part = path.split('/').next().unwrap_or_default();
    let mut names = Vec::new();
    for way in ["super::".repeat(depth), format!("crate::{part}::")] {
        for (start, _) in text.match_indices(&way) {
            let rest = &text[start + way.len()..];
            if text[..start].ends_with("super::") || rest.starts_with("super::") {
                continue;
            }
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_heads(group)),
                None => names.extend(head(rest)),
            }
        }
    }
    names.into_iter().map(|name| format!("{part}/{name}")).collect()
}

fn arrows<'a>(files: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Arrows {
    let nodes: BTreeSet<String> = files.clone().filter_map(|(path, _)| node(path)).collect();
    let mut arrows = Arrows::new();
    for (path, text) in files {
        let Some(from) = node(path) else { continue };
        let to = named(path, text).into_iter();
        let to: Vec<_> = to.filter(|to| nodes.contains(to) && *to != from).collect();
        arrows.entry(from).or_default().extend(to);
    }
    arrows
}

/// Removes files that are in no circle.
fn circular(mut arrows: Arrows) -> Arrows {
    loop {
        let (count, there) = (arrows.len(), arrows.keys().cloned().collect());
        for to in arrows.values_mut() {
            *to = &*to & &there;
        }
        arrows.retain(|_, to| !to.is_empty());
        if arrows.len() == count {
            return arrows;
        }
    }
}

#[test]
fn the_files_of_a_part_have_no_circles() {
    let files = rust();
    let src = files
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("src/")?, text.as_str())));
    let mut arrows = arrows(src);
    for (from, to, reason) in MAY_POINT_BACK {
        let found = arrows.get_mut(from).is_some_and(|found| found.remove(to));
        assert!(found, "{from} does not name {to} and needs no exception ({reason})");
    }
    let circles = circular(arrows);
    assert!(circles.is_empty(), "these files know one another: {circles:#?}");
}

#[test]
fn every_circle_is_found_and_a_path_without_return_is_none() {
    let closed = |texts: [&str; 3]| {
        let files = ["p/a.rs", "p/b.rs", "p/c/d.rs"].into_iter().zip(texts);
        !circular(arrows(files)).is_empty()
    };
    assert!(closed(["use super::b::X;", "use super::{Z, a::Y};", ""]));
    assert!(closed(["use super::{c, b};", "", "use super::super::a::Y;"]));
    assert!(closed([
        "use super::b::X;",
        "fn f() -> super::c::Z {}",
        "use crate::p::a;"
    ]));
    assert!(!closed(["use super::b::X;", "use super::c;", "use super::e;"]));
    assert!(!closed([
        "use super::b;",
        "// super::a\n#[cfg(test)]\nmod tests {\n    use super::a;\n}",
        ""
    ]));
    assert!(!closed([
        "use super::b;",
        "use super::Y;",
        "use super::super::Z;\nuse crate::q::a;"
    ]));
}
