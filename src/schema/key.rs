//! The key expression: how a command's Kafka key is made from its body. It is parsed once and evaluated on the captures of
//! each body. Does not know how keys are used. The grammar is in `schemas/README.md`.

use super::capture::Captures;

/// Finds the slot of a path. The error is what is wrong with the path.
pub(super) type SlotOf<'s> = dyn FnMut(&str) -> Result<usize, String> + 's;

/// What Tencent writes if there is no sender. As a key it would put unrelated events into one partition.
const NOBODY: &str = "@TLS#NOT_FOUND";

/// A parsed expression. Its paths are slots of the captures.
#[derive(Debug, Default)]
pub(super) struct KeyRule {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alternative {
    App,
    Value(usize),
    /// A group's id.
    Group(usize),
    Pair(usize, usize),
    Conversation(usize),
}

impl KeyRule {
    /// Parses an expression. The error is what is wrong with it.
    pub fn parse(expression: &str, slot_of: &mut SlotOf<'_>) -> Result<Self, String> {
        let alternatives = expression.split(" | ");
        let alternatives = alternatives.map(|alternative| Alternative::parse(alternative.trim(), slot_of));
        Ok(Self {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }

    /// The key: the first alternative that has a value, and whether it is a group's id.
    pub fn evaluate(&self, captures: &Captures, app: &str) -> Option<(String, bool)> {
        let value = |slot: usize| captures.text(slot).filter(|text| is_value(text));
        self.alternatives.iter().find_map(|alternative| match *alternative {
            Alternative::App => is_value(app).then(|| (app.to_owned(), false)),
            Alternative::Value(slot) => value(slot).map(|text| (text.to_owned(), false)),
            Alternative::Group(slot) => value(slot).map(|text| (text.to_owned(), true)),
            Alternative::Pair(a, b) => Some((pair(value(a)?, value(b)?), false)),
            Alternative::Conversation(slot) => value(slot).map(|id| (conversation(id), group_in(id).is_some())),
        })
    }
}

impl Alternative {
    fn parse(text: &str, slot_of: &mut SlotOf<'_>) -> Result<Self, String> {
        if text == "app" {
            return Ok(Self::App);
        }
        let Some((function, rest)) = text.split_once('(') else {
            let kind = if names_a_group(text) { Self::Group } else { Self::Value };
            return Ok(kind(slot_of(text)?));
        };
        let arguments = rest
            .strip_suffix(')')
            .ok_or_else(|| format!("`{text}` has no closing parenthesis"))?;
        match (function, arguments.split_once(',')) {
            ("pair", Some((a, b))) => Ok(Self::Pair(slot_of(a.trim())?, slot_of(b.trim())?)),
            ("conversation", None) => Ok(Self::Conversation(slot_of(arguments.trim())?)),
            _ => Err(format!(
                "`{text}` is neither pair(<path>, <path>) nor conversation(<path>)"
            )),
        }
    }
}

/// Whether a text is an id, and not a placeholder for none.
pub(super) fn is_value(text: &str) -> bool {
    !text.is_empty() && text != NOBODY
}

/// The key of a one-to-one conversation, which is the same in both directions.
fn pair(a: &str, b: &str) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    [low, ":", high].concat()
}

/// The key of an OpenIM conversation id: its group, or its pair of accounts. Account ids may contain underscores too. Both
/// ids of a pair are assumed to contain the same number, so the middle underscore separates them. An id without a middle
/// underscore is itself the key.
fn conversation(id: &str) -> String {
    if let Some(group) = group_in(id) {
        return group.to_owned();
    }
    id.strip_prefix("si_")
        .and_then(halves)
        .map_or_else(|| id.to_owned(), |(a, b)| pair(a, b))
}

/// The group that an OpenIM conversation id names.
fn group_in(id: &str) -> Option<&str> {
    id.strip_prefix("sg_").filter(|group| is_value(group))
}

/// Whether a path's last name is that of a group's id: `GroupId`, `groupID`, `Item.ToGroupId`.
fn names_a_group(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with("groupid")
}

fn halves(accounts: &str) -> Option<(&str, &str)> {
    let count = accounts.matches('_').count();
    if count.is_multiple_of(2) {
        return None;
    }
    let (middle, _) = accounts.match_indices('_').nth(count / 2)?;
    let (a, b) = (&accounts[..middle], &accounts[middle + 1..]);
    (is_value(a) && is_value(b)).then_some((a, b))
}

#[cfg(test)]
mod tests {
    use super::super::path::Paths;
    use super::*;

    fn parse(expression: &str) -> Result<(KeyRule, Paths), String> {
        let mut paths = Paths::default();
        let rule = KeyRule::parse(expression, &mut |path| paths.slot(path))?;
        Ok((rule, paths))
    }

    fn key(expression: &str, values: &[Option<&str>]) -> Option<String> {
        let (rule, paths) = parse(expression).expect("a good expression");
        let mut captures = Captures::default();
        captures.reset(paths.len());
        for (slot, value) in values.iter().enumerate() {
            if let Some(value) = value {
                captures.keep_text(slot, value);
            }
        }
        rule.evaluate(&captures, "app1").map(|(key, _)| key)
    }

    #[test]
    fn the_first_alternative_that_yields_a_value_wins() {
        assert_eq!(key("A | B", &[Some("a"), Some("b")]).as_deref(), Some("a"));
        assert_eq!(key("A | B", &[None, Some("b")]).as_deref(), Some("b"));
        assert_eq!(key("A | app", &[None]).as_deref(), Some("app1"));
        assert_eq!(key("A | B", &[None, None]), None);
    }

    #[test]
    fn an_empty_string_and_nobody_are_no_values() {
        assert_eq!(key("A | B", &[Some(""), Some("b")]).as_deref(), Some("b"));
        assert_eq!(key("A | B", &[Some(NOBODY), Some("b")]).as_deref(), Some("b"));
        assert_eq!(key("pair(A, B)", &[Some("a"), Some("")]), None);
        assert_eq!(key("conversation(A)", &[Some("")]), None);
    }

    #[test]
    fn a_pair_is_the_same_in_both_directions() {
        assert_eq!(key("pair(A, B)", &[Some("x"), Some("b")]).as_deref(), Some("b:x"));
        assert_eq!(key("pair(A,B)", &[Some("b"), Some("x")]).as_deref(), Some("b:x"));
    }

    #[test]
    fn a_conversation_is_its_group_or_its_pair_of_accounts() {
        for (id, expected) in [
            ("sg_2559096486", "2559096486"),
            ("sg_a_b", "a_b"),
            ("si_b_a", "a:b"),
            ("si_user_001_user_002", "user_001:user_002"),
            ("si_user_a_b", "si_user_a_b"),
            ("si_a", "si_a"),
            ("si__a", "si__a"),
            ("sn_a_b", "sn_a_b"),
            ("sg_", "sg_"),
            ("anything", "anything"),
        ] {
            assert_eq!(key("conversation(A)", &[Some(id)]).as_deref(), Some(expected), "{id}");
        }
    }

    #[test]
    fn a_key_is_a_groups_where_the_name_of_its_field_or_the_conversation_says_so() {
        for (expression, values, expected) in [
            ("GroupId", ["g", ""], true),
            ("groupID | sendID", ["g", "a"], true),
            ("groupID | sendID", ["", "a"], false),
            ("Item.ToGroupId | From_Account", ["g", "a"], true),
            ("conversation(A)", ["sg_g", ""], true),
            ("conversation(A)", ["si_a_b", ""], false),
            ("pair(groupID, B)", ["g", "b"], false),
            ("RoomId", ["r", ""], false),
            ("app", ["", ""], false),
        ] {
            let (rule, _) = parse(expression).expect("a good expression");
            let mut captures = Captures::default();
            captures.reset(2);
            values
                .iter()
                .enumerate()
                .for_each(|(slot, value)| captures.keep_text(slot, value));
            let (_, is_group) = rule.evaluate(&captures, "app1").expect("a key");
            assert_eq!(is_group, expected, "{expression} {values:?}");
        }
    }

    #[test]
    fn a_bad_expression_is_refused() {
        for expression in [
            "",
            "A | ",
            "pair(A)",
            "pair(A, B",
            "A..B",
            "A[1]",
            "max(A, B)",
            "conversation(A, B)",
            "A|B",
        ] {
            assert!(parse(expression).is_err(), "{expression:?}");
        }
    }

    #[test]
    fn a_path_used_twice_is_captured_once() {
        let (_, paths) = parse("A | pair(A, B) | B").expect("a good expression");
        assert_eq!(paths.len(), 2);
    }
}
