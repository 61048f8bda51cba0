//! Checks that a `doc` text is useful: not a TODO, not shorter than three words, not only the name again. That a `doc` is
//! there at all is checked by the loader.

use super::location::{Findings, Located};

const WORDS_MIN: usize = 3;
/// Words that add nothing to the words of a name.
const FILLERS: [&str; 7] = ["a", "an", "the", "of", "its", "this", "one"];

/// Checks every `doc` below `node`.
pub(super) fn check(node: &Located<'_>, findings: &mut Findings) {
    if let (Some(name), Some(doc)) = (node.get("name"), node.get("doc"))
        && let (Some(name), Some(text)) = (name.value.as_str(), doc.value.as_str())
        && let Some(allowed) = problem(name, text)
    {
        findings.push(doc.finding(allowed));
    }
    for inner in ["type", "items", "fields"] {
        let Some(inner) = node.get(inner) else { continue };
        match inner.items() {
            Ok(items) => items.iter().for_each(|item| check(item, findings)),
            Err(_) => check(&inner, findings),
        }
    }
}

/// What is allowed in place of a text that is not useful.
fn problem(name: &str, doc: &str) -> Option<&'static str> {
    let doc_words = words(doc);
    if doc_words.first().is_some_and(|first| first == "todo") {
        return Some("what it means, in place of the TODO");
    }
    if doc_words.len() < WORDS_MIN {
        return Some("what it means, in at least three words");
    }
    let name_words = split_name(name);
    doc_words
        .iter()
        .all(|word| FILLERS.contains(&word.as_str()) || name_words.contains(word))
        .then_some("more than the name says already")
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// `groupMemberID` and `Group_Member_ID` are `group`, `member`, `id`.
fn split_name(name: &str) -> Vec<String> {
    let mut parts = String::new();
    let mut before_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_lower {
            parts.push(' ');
        }
        before_lower = c.is_lowercase() || c.is_ascii_digit();
        parts.push(if c == '_' { ' ' } else { c });
    }
    words(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_that_is_only_a_name_or_a_todo_is_refused() {
        for (name, doc) in [
            ("groupID", "The group."),
            ("GroupId", "The id of the group."),
            ("Member_Account", "Account of the member."),
            ("faceURL", "TODO: say where the picture is."),
            ("URL", "..."),
        ] {
            assert!(problem(name, doc).is_some(), "{name}: {doc}");
        }
        for (name, doc) in [("groupID", "The group concerned."), ("Time", "Seconds since 1970.")] {
            assert_eq!(problem(name, doc), None, "{name}: {doc}");
        }
    }
}
