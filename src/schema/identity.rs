//! Whether a body has an identity of its own, so that two equal bodies are one event that was sent twice. Also the event's
//! number in its group. Does not know how either is used.

use super::capture::Captures;
use super::path::{FieldTest, INTEGER, Paths, STRING_OR_INTEGER};
use super::plan::{FieldPlan, Kind, RecordPlan};

/// A smaller number of milliseconds is before 2001. It is probably a number of seconds.
const FIRST_MS: i64 = 1_000_000_000_000;

/// The fields that can give a body an identity: the slot of each, and the test for a value. If one of them has a value,
/// equal bodies are the same event.
#[derive(Debug, Default)]
pub(super) struct IdentityRule(Vec<(usize, IsValue)>);

type IsValue = fn(&str) -> bool;

const IDENTITY: FieldTest = FieldTest {
    accepts: |field: &FieldPlan| match field.kind {
        Kind::Text | Kind::Long | Kind::Int => field.unique,
        Kind::Millis => true,
        _ => false,
    },
    wanted: "timestamp-millis, or an id that the IM server makes, which has `\"unique\": true`",
};

/// The slots of the field that numbers a group's events without gaps, and of the fields that name the group.
#[derive(Debug)]
pub(super) struct SequenceRule {
    number: usize,
    of: Vec<usize>,
}

/// An event's number in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The group's id. If the group has topics, the topic's id follows behind a slash.
    pub group: String,
    /// The number. It is above 0.
    pub number: i64,
}

impl IdentityRule {
    /// Parses the paths and adds their captures to the plan.
    pub fn read(texts: &[&str], paths: &mut Paths, plan: &mut RecordPlan) -> Result<Self, String> {
        let field = |text: &&str| {
            let (slot, kind) = paths.keep(text, plan, &IDENTITY)?;
            let is_value: IsValue = if matches!(kind, Kind::Millis) { is_moment } else { is_id };
            Ok((slot, is_value))
        };
        texts.iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the command's bodies never have an identity.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this body has an identity.
    pub fn holds(&self, captures: &Captures) -> bool {
        let has_value = |(slot, is_value): &(usize, IsValue)| captures.text(*slot).is_some_and(is_value);
        self.0.iter().any(has_value)
    }
}

impl SequenceRule {
    /// Parses the paths and adds their captures to the plan.
    pub fn read(number: &str, of: &[&str], paths: &mut Paths, plan: &mut RecordPlan) -> Result<Self, String> {
        let (number, _) = paths.keep(number, plan, &INTEGER)?;
        let slot = |path: &&str| Ok(paths.keep(path, plan, &STRING_OR_INTEGER)?.0);
        let of = of.iter().map(slot).collect::<Result<_, String>>()?;
        Ok(Self { number, of })
    }

    /// The event's number. None if the body has no number or does not name the group.
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

/// Both providers write an empty string or 0 if they have no id.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text != "0"
}

/// A whole second may come from a clock with a resolution of one second. The same thing can happen twice within a second,
/// so it is not an identity.
fn is_moment(text: &str) -> bool {
    text.parse::<i64>()
        .is_ok_and(|time_ms| time_ms >= FIRST_MS && time_ms % 1000 != 0)
}
