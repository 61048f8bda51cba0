//! Pages that are written by hand and name what the code names: the reasons of answers and dead letters, and the
//! headers.

use std::collections::BTreeSet;

use crate::{files, text};

/// The code of the files in some folders, or of some files, each without its tests.
fn code(places: &[&str]) -> String {
    let is_one = |path: &String| places.iter().any(|place| path.starts_with(place)) && !path.contains("tests");
    let own = |path: String| {
        text(&path)
            .split("#[cfg(test)]")
            .next()
            .expect("split gives one")
            .to_owned()
    };
    files(".rs").into_iter().filter(is_one).map(own).collect()
}

/// The quoted words that follow each `before`. Blanks and line ends between them are skipped.
fn quoted_after(code: &str, before: &str) -> BTreeSet<String> {
    let compact: String = code.split_whitespace().collect();
    let pieces = compact.split(before).skip(1).map(str::to_owned);
    let words = pieces.filter_map(|piece| Some(piece.strip_prefix('"')?.split('"').next()?.to_owned()));
    words
        .filter(|word| {
            word.chars()
                .all(|c| c.is_ascii_lowercase() || "_-0123456789".contains(c))
        })
        .collect()
}

/// The names in backticks in the first column of a page's tables.
fn documented(page: &str) -> BTreeSet<String> {
    let text = text(page);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let names = cells.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.filter(|name| !name.is_empty()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn the_reasons_of_answers_are_those_of_the_code() {
    let refusals = code(&["src/ingress/", "src/provider/"]);
    let mut reasons = BTreeSet::new();
    for status in [400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 503] {
        reasons.extend(quoted_after(&refusals, &format!("{status},")));
    }
    for before in ["&[\"none\",", "refusal(", "RATE_LIMITED:&str="] {
        reasons.extend(quoted_after(&refusals, before));
    }
    reasons.extend(quoted_after(&code(&["src/ingress/hello.rs"]), "Some(("));
    reasons.extend(quoted_after(&code(&["src/spool/queue.rs"]), "=>"));
    // The name of the PROXY protocol stands after its sentence.
    reasons.extend(set(["proxy_protocol", "tls_hello"]));
    for reason in ["proxy_protocol", "tls_hello"] {
        assert!(refusals.contains(&format!("\"{reason}\"")), "{reason}");
    }
    assert_eq!(documented("docs/reference/answers.md"), reasons);
}

#[test]
fn the_headers_of_messages_are_those_of_the_code() {
    let code = code(&["src/publish/message.rs", "src/forward/"]);
    let mut headers = quoted_after(&code, "_HEADER:&str=");
    for before in ["(", "[(", "map(|command|("] {
        let found = quoted_after(&code, before).into_iter();
        headers.extend(found.filter(|name| {
            name.starts_with("ce_")
                || name.starts_with("imbridge-")
                || name.starts_with("trace")
                || name == "content-type"
        }));
    }
    let in_table: BTreeSet<String> = documented("docs/reference/headers.md");
    let words = in_table.iter().map(|name| name.trim_matches([',', ' ']).to_owned());
    assert_eq!(words.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>(), headers);
}

#[test]
fn the_reasons_of_dead_letters_are_those_of_the_code() {
    let mut reasons = quoted_after(&code(&["src/forward/refusals.rs"]), "reason:");
    reasons.extend(quoted_after(&code(&["src/schema/error.rs"]), "=>"));
    let pairs = code(&["src/forward/compose.rs", "src/forward/unfold.rs"]);
    for before in ["Err((", "Some((", "letter((", "|cause|("] {
        reasons.extend(quoted_after(&pairs, before));
    }
    assert_eq!(documented("docs/guide/replay.md"), reasons);
}
