//! Whether documentation says something: not a note to write it, not two words, not the name once more. Knows no Avro
//! beyond names and docs; that a doc is there at all is the loader's rule.

use super::location::{Faults, Located};

const WORDS_MIN: usize = 3;
/// Words that add nothing to a name.
const FILLERS: [&str; 7] = ["a", "an", "the", "of", "its", "this", "one"];

/// Checks every `doc` below `node`.
pub(super) fn check(node: &Located<'_>, faults: &mut Faults) {
    if let (Some(name), Some(doc)) = (node.get("name"), node.get("doc"))
        && let (Some(name), Some(text)) = (name.value.as_str(), doc.value.as_str())
        && let Some(allowed) = complaint(name, text)
    {
        faults.note::<()>(Err(doc.fault(allowed)));
    }
    for inner in ["type", "items", "fields"] {
        let Some(inner) = node.get(inner) else { continue };
        match inner.items() {
            Ok(items) => items.iter().for_each(|item| check(item, faults)),
            Err(_) => check(&inner, faults),
        }
    }
}

fn complaint(name: &str, doc: &str) -> Option<&'static str> {
    let said: Vec<String> = words(doc);
    if said.first().is_some_and(|first| first == "todo") {
        return Some("what it means, in place of the TODO");
    }
    if said.len() < WORDS_MIN {
        return Some("what it means, in at least three words");
    }
    let named = split_name(name);
    said.iter()
        .all(|word| FILLERS.contains(&word.as_str()) || named.contains(word))
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
    fn documentation_that_says_nothing_is_told_from_what_says_something() {
        for (name, doc) in [
            ("groupID", "The group."),
            ("GroupId", "The id of the group."),
            ("Member_Account", "Account of the member."),
            ("faceURL", "TODO: say where the picture is."),
            ("URL", "..."),
        ] {
            assert!(complaint(name, doc).is_some(), "{name}: {doc}");
        }
        for (name, doc) in [("groupID", "The group concerned."), ("Time", "Seconds since 1970.")] {
            assert_eq!(complaint(name, doc), None, "{name}: {doc}");
        }
    }
}
