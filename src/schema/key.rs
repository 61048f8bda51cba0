//! The key expression: how a command's Kafka key comes from its body. Parsed once, evaluated on what the walk has
//! captured. Does not know what keys are good for; the grammar is in `schemas/README.md`.

use super::capture::Captures;

/// Finds the place of a path's text among those that a body yields; the error says what is wrong with the path.
pub(super) type SlotOf<'s> = dyn FnMut(&str) -> Result<usize, String> + 's;

/// What Tencent writes where there is no sender: as a key it would gather unrelated events.
const NOBODY: &str = "@TLS#NOT_FOUND";

/// A parsed expression; paths are slots of what is captured.
#[derive(Debug, Default)]
pub(super) struct KeyRule {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alternative {
    App,
    Value(usize),
    Pair(usize, usize),
    Conversation(usize),
}

impl KeyRule {
    /// Reads an expression; the error says what is wrong with it.
    pub fn parse(expression: &str, slot_of: &mut SlotOf<'_>) -> Result<Self, String> {
        let alternatives = expression.split(" | ");
        let alternatives = alternatives.map(|alternative| Alternative::parse(alternative.trim(), slot_of));
        Ok(Self {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }

    /// The first alternative that yields a value.
    pub fn evaluate(&self, captures: &Captures, app: &str) -> Option<String> {
        let value = |slot: usize| captures.text(slot).filter(|text| is_value(text));
        self.alternatives.iter().find_map(|alternative| match *alternative {
            Alternative::App => is_value(app).then(|| app.to_owned()),
            Alternative::Value(slot) => value(slot).map(str::to_owned),
            Alternative::Pair(a, b) => Some(pair(value(a)?, value(b)?)),
            Alternative::Conversation(slot) => value(slot).map(conversation),
        })
    }
}

impl Alternative {
    fn parse(text: &str, slot_of: &mut SlotOf<'_>) -> Result<Self, String> {
        if text == "app" {
            return Ok(Self::App);
        }
        let Some((function, rest)) = text.split_once('(') else {
            return Ok(Self::Value(slot_of(text)?));
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

/// Whether a text names somebody or something.
pub(super) fn is_value(text: &str) -> bool {
    !text.is_empty() && text != NOBODY
}

/// The same for both directions of a one-to-one conversation.
fn pair(a: &str, b: &str) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    [low, ":", high].concat()
}

/// The group or the pair of accounts that an OpenIM conversation id names. Account ids may hold underscores too; the two
/// of a pair are taken to hold equally many, so that the middle one parts them. An id that has no middle is itself.
fn conversation(id: &str) -> String {
    if let Some(group) = id.strip_prefix("sg_").filter(|group| is_value(group)) {
        return group.to_owned();
    }
    id.strip_prefix("si_")
        .and_then(halves)
        .map_or_else(|| id.to_owned(), |(a, b)| pair(a, b))
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
        rule.evaluate(&captures, "app1")
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
