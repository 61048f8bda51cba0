//! Whether a body carries an identity of its own, so that two equal bodies are one event that was sent twice, and the
//! number that it has in its group. Does not know what is done about either.

use super::capture::Captures;
use super::path::Paths;
use super::plan::{FieldPlan, Kind, RecordPlan};

/// A smaller number of milliseconds is before 2001: seconds, in a field that should have milliseconds.
const FIRST_MS: i64 = 1_000_000_000_000;

/// Fields of which one with a value makes equal bodies one event: the slot of each, and what a value is.
#[derive(Debug, Default)]
pub(super) struct IdentityRule(Vec<(usize, IsValue)>);

type IsValue = fn(&str) -> bool;

/// The field that numbers a group's events without gaps, and those that say which group.
#[derive(Debug)]
pub(super) struct SequenceRule {
    number: usize,
    of: Vec<usize>,
}

/// An event's number in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The group; with its topic where it has topics, joined by a slash.
    pub group: String,
    /// The number, above 0.
    pub number: i64,
}

impl IdentityRule {
    /// Reads the paths and marks their fields.
    pub fn read(texts: &[&str], paths: &mut Paths, plan: &mut RecordPlan) -> Result<Self, String> {
        let fits = |field: &FieldPlan| match field.kind {
            Kind::Text | Kind::Long | Kind::Int => field.unique,
            Kind::Millis => true,
            _ => false,
        };
        let wanted = "timestamp-millis, or an id that the IM server makes, which has `\"unique\": true`";
        let field = |text: &&str| {
            let (slot, kind) = paths.keep(text, plan, (fits, wanted))?;
            let is_value: IsValue = if matches!(kind, Kind::Millis) { is_moment } else { is_id };
            Ok((slot, is_value))
        };
        texts.iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a body can have one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this body has one.
    pub fn holds(&self, captures: &Captures) -> bool {
        let held = |(slot, is_value): &(usize, IsValue)| captures.text(*slot).is_some_and(is_value);
        self.0.iter().any(held)
    }
}

impl SequenceRule {
    /// Reads the paths and marks their fields.
    pub fn read(number: &str, of: &[&str], paths: &mut Paths, plan: &mut RecordPlan) -> Result<Self, String> {
        let integer = |field: &FieldPlan| matches!(field.kind, Kind::Long | Kind::Int);
        let id = |field: &FieldPlan| matches!(field.kind, Kind::Text | Kind::Long | Kind::Int);
        let (number, _) = paths.keep(number, plan, (integer, "an integer"))?;
        let of = of
            .iter()
            .map(|path| Ok(paths.keep(path, plan, (id, "a string or an integer"))?.0))
            .collect::<Result<_, String>>()?;
        Ok(Self { number, of })
    }

    /// The event's number; none where the body has none, or does not name the group.
    pub fn evaluate(&self, captures: &Captures) -> Option<Numbered> {
        let number = captures.text(self.number)?.parse().ok().filter(|number| *number > 0)?;
        let mut parts = self.of.iter().map(|slot| captures.text(*slot).unwrap_or_default());
        let mut group = parts.next().filter(|group| !group.is_empty())?.to_owned();
        for part in parts.filter(|part| !part.is_empty()) {
            group.push('/');
            group.push_str(part);
        }
        Some(Numbered { group, number })
    }
}

/// Both providers write an empty text or 0 where they have none.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text != "0"
}

/// A whole second is taken for a clock that knows no finer: in a second, the same can happen twice.
fn is_moment(text: &str) -> bool {
    text.parse::<i64>()
        .is_ok_and(|time_ms| time_ms >= FIRST_MS && time_ms % 1000 != 0)
}
