//! The key expression: how a command's Kafka key comes from its body. Parsed once, evaluated on what the walk has
//! captured. Does not know what keys are good for; the grammar is in `schemas/README.md`.

use super::capture::{Capture, Captures};
use super::plan::{FieldPlan, Kind, RecordPlan};

/// What Tencent writes where there is no sender: as a key it would gather unrelated events.
const NOBODY: &str = "@TLS#NOT_FOUND";

/// A parsed expression; paths are numbered slots.
#[derive(Debug, Default)]
pub(super) struct KeyRule {
    alternatives: Vec<Alternative>,
    paths: Vec<Path>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alternative {
    App,
    Value(usize),
    Pair(usize, usize),
    Conversation(usize),
}

/// A way into a record: names, each perhaps followed by `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Stride>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stride {
    name: String,
    first_item: bool,
}

impl KeyRule {
    /// Reads an expression; the error says what is wrong with it.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let mut rule = Self::default();
        for alternative in expression.split(" | ") {
            let parsed = rule.alternative(alternative.trim())?;
            rule.alternatives.push(parsed);
        }
        Ok(rule)
    }

    /// How many captures the rule needs.
    pub fn slots(&self) -> usize {
        self.paths.len()
    }

    /// Marks the fields whose values the rule needs.
    pub fn mark(&self, plan: &mut RecordPlan) -> Result<(), String> {
        for (slot, path) in self.paths.iter().enumerate() {
            path.mark(plan, Capture::Key(slot))?;
        }
        Ok(())
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

    fn alternative(&mut self, text: &str) -> Result<Alternative, String> {
        if text == "app" {
            return Ok(Alternative::App);
        }
        let Some((function, rest)) = text.split_once('(') else {
            return Ok(Alternative::Value(self.slot(text)?));
        };
        let arguments = rest
            .strip_suffix(')')
            .ok_or_else(|| format!("`{text}` has no closing parenthesis"))?;
        match (function, arguments.split_once(',')) {
            ("pair", Some((a, b))) => Ok(Alternative::Pair(self.slot(a.trim())?, self.slot(b.trim())?)),
            ("conversation", None) => Ok(Alternative::Conversation(self.slot(arguments.trim())?)),
            _ => Err(format!(
                "`{text}` is neither pair(<path>, <path>) nor conversation(<path>)"
            )),
        }
    }

    fn slot(&mut self, text: &str) -> Result<usize, String> {
        let path = Path::parse(text)?;
        if let Some(known) = self.paths.iter().position(|other| *other == path) {
            return Ok(known);
        }
        self.paths.push(path);
        Ok(self.paths.len() - 1)
    }
}

impl Path {
    /// Reads `Info.To_Account` or `PairList[0].From_Account`.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split('.')
            .map(|part| {
                let (name, first_item) = match part.strip_suffix("[0]") {
                    Some(name) => (name, true),
                    None => (part, false),
                };
                if name.is_empty() || name.contains(|c: char| "()[]|, ".contains(c)) {
                    return Err(format!(
                        "`{text}` is no path: names joined by `.`, `[0]` behind an array's"
                    ));
                }
                Ok(Stride {
                    name: name.to_owned(),
                    first_item,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Marks the field at this path for `capture`.
    pub fn mark(&self, plan: &mut RecordPlan, capture: Capture) -> Result<(), String> {
        let (last, way) = self.0.split_last().expect("split yields at least one part");
        let mut record = plan;
        for stride in way {
            let (kind, _) = stride.enter(record)?;
            let Kind::Record(inner) = kind else {
                return Err(format!("`{}` is no record", stride.name));
            };
            record = inner;
        }
        let (kind, noted) = last.enter(record)?;
        let fits = match capture {
            Capture::Key(_) => matches!(kind, Kind::Text | Kind::Long | Kind::Int),
            Capture::Time { .. } => matches!(kind, Kind::Millis | Kind::Seconds),
        };
        if !fits {
            return Err(match capture {
                Capture::Key(_) => format!("`{}` is neither a string nor an integer", last.name),
                Capture::Time { .. } => format!("`{}` is neither timestamp-millis nor a long of unit s", last.name),
            });
        }
        if noted.is_some() {
            return Err(format!("`{}` serves the key and the time, or two of them", last.name));
        }
        *noted = Some(match (capture, &kind) {
            (Capture::Time { alternative, .. }, Kind::Seconds) => Capture::Time {
                alternative,
                scale: 1000,
            },
            (capture, _) => capture,
        });
        Ok(())
    }
}

impl Stride {
    fn enter<'p>(&self, record: &'p mut RecordPlan) -> Result<(&'p mut Kind, &'p mut Option<Capture>), String> {
        let name = &self.name;
        let field = record.fields.iter_mut().find(|field| *field.name == **name);
        let FieldPlan { kind, capture, .. } = field.ok_or_else(|| format!("there is no field `{name}`"))?;
        match (kind, self.first_item) {
            (Kind::Array(items), true) => Ok((&mut items.kind, &mut items.capture)),
            (Kind::Array(_), false) => Err(format!("`{name}` is an array: `{name}[0]` is its first item")),
            (_, true) => Err(format!("`{name}` is no array")),
            (kind, false) => Ok((kind, capture)),
        }
    }
}

fn is_value(text: &str) -> bool {
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
    use super::*;

    fn key(expression: &str, values: &[Option<&str>]) -> Option<String> {
        let rule = KeyRule::parse(expression).expect("a good expression");
        let mut captures = Captures::default();
        captures.reset(rule.slots());
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
            assert!(KeyRule::parse(expression).is_err(), "{expression:?}");
        }
    }

    #[test]
    fn a_path_used_twice_is_captured_once() {
        let rule = KeyRule::parse("A | pair(A, B) | B").expect("a good expression");
        assert_eq!(rule.slots(), 2);
    }
}
