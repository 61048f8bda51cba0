//! The meaning of an event, in one vocabulary for all providers: its kind, its actor, its targets. The schema declares
//! where the body has them. Does not know which kinds there are, nor how the meaning is used.

use std::collections::{BTreeMap, HashSet};

use super::capture::Captures;
use super::error::Finding;
use super::key::is_value;
use super::location::{Findings, Located};
use super::path::{EVERY, FIRST, FieldTest, Path, STRING_OR_INTEGER};
use super::plan::{Kind, RecordPlan};
use crate::callback::Phase;

/// The meaning of one event. It is empty if the event has no kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning<'c> {
    /// One of the kinds that `schemas/kinds.json` defines.
    pub kind: Option<&'c str>,
    /// The account that did it, if the body names it.
    pub actor: Option<String>,
    /// The accounts to which it was done, each once. They are in the order of the declaration; within a list, in the order
    /// of the body.
    pub targets: Vec<String>,
}

/// How the meaning of a body is found.
#[derive(Debug)]
pub(super) struct MeaningRule {
    kind: KindRule,
    /// The slots of the alternatives.
    actor: Vec<usize>,
    targets: Vec<Target>,
}

#[derive(Debug)]
enum KindRule {
    Always(String),
    /// The slot of a field, and the kind for each of its values.
    By(usize, BTreeMap<String, String>),
}

#[derive(Debug)]
struct Target {
    slot: usize,
    /// If there is no value, an empty string takes its place. This is so for a path that does not lead into an array and is
    /// not the last.
    keeps_place: bool,
}

const STRING: FieldTest = FieldTest {
    accepts: |field| matches!(field.kind, Kind::Text),
    wanted: "a string",
};
const STRINGS: FieldTest = FieldTest {
    wanted: "a string, or a list of them",
    ..STRING
};

/// Reads `kind`, `actor` and `targets`, and adds their captures to the plan. None if the command has no kind.
pub(super) fn read(
    attributes: &Located<'_>,
    phase: Option<Phase>,
    plan: &mut RecordPlan,
    findings: &mut Findings,
) -> Option<MeaningRule> {
    let mut slots = Slots { plan, count: 0 };
    let Some(kind) = attributes.get("kind") else {
        for name in ["actor", "targets", "lacks"] {
            if let Some(other) = attributes.get(name) {
                findings.push(other.finding("nothing where there is no kind"));
            }
        }
        return None;
    };
    if phase == Some(Phase::Before) {
        findings
            .push(kind.finding("nothing: a before-command asks whether something may happen, a kind is what happened"));
    }
    let kind = findings.note(slots.kind(&kind));
    let actor = attributes.get("actor");
    let actor = findings.note(actor.map_or(Ok(Vec::new()), |actor| slots.actor(&actor)));
    let targets = attributes.get("targets");
    let targets = findings.note(targets.map_or(Ok(Vec::new()), |targets| slots.targets(&targets)));
    findings.note(attributes.get("lacks").map_or(Ok(""), |lacks| lacks.text()));
    Some(MeaningRule {
        kind: kind?,
        actor: actor?,
        targets: targets?,
    })
}

/// Gives the fields their slots.
struct Slots<'p> {
    plan: &'p mut RecordPlan,
    count: usize,
}

impl Slots<'_> {
    fn kind(&mut self, kind: &Located<'_>) -> Result<KindRule, Finding> {
        let allowed = "a kind, or {\"by\": path, \"is\": {value: kind, ...}}";
        if kind.value.is_string() {
            return Ok(KindRule::Always(kind.text()?.to_owned()));
        }
        kind.only(&["by", "is"]).map_err(|_| kind.finding(allowed))?;
        let by = kind.need("by", "the path of a string or an integer field")?;
        let is = kind.need("is", "an object of kinds by the field's values")?;
        let kinds = is.value.as_object().filter(|kinds| !kinds.is_empty());
        let kinds = kinds.ok_or_else(|| is.finding("an object of kinds by the field's values"))?;
        let kinds = kinds
            .keys()
            .map(|value| Ok((value.clone(), is.need(value, allowed)?.text()?.to_owned())));
        let kinds = kinds.collect::<Result<_, Finding>>()?;
        let slot = Path::parse(by.text()?, FIRST).and_then(|path| self.slot(&path, &STRING_OR_INTEGER));
        let slot = slot.map_err(|cause| by.finding(format!("a path of the record's fields ({cause})")))?;
        Ok(KindRule::By(slot, kinds))
    }

    fn actor(&mut self, actor: &Located<'_>) -> Result<Vec<usize>, Finding> {
        let alternatives = actor.text()?.split(" | ");
        let slots = alternatives.map(|path| self.slot(&Path::parse(path, FIRST)?, &STRING));
        slots
            .collect::<Result<_, String>>()
            .map_err(|cause| actor.finding(format!("paths of string fields, joined by ` | ` ({cause})")))
    }

    fn targets(&mut self, targets: &Located<'_>) -> Result<Vec<Target>, Finding> {
        let allowed = "the path of string fields, or a list of such paths";
        let paths = if targets.value.is_array() {
            targets.texts()?
        } else {
            vec![targets.text().map_err(|_| targets.finding(allowed))?]
        };
        let target = |(at, path): (usize, &&str)| {
            let path = Path::parse(path, EVERY)?;
            let keeps_place = !path.leads_into_array() && at + 1 < paths.len();
            let slot = self.slot(&path, &STRINGS)?;
            Ok(Target { slot, keeps_place })
        };
        let found: Result<_, String> = paths.iter().enumerate().map(target).collect();
        found.map_err(|cause| targets.finding(format!("{allowed} ({cause})")))
    }

    /// The slot for the values of a path's field.
    fn slot(&mut self, path: &Path, test: &FieldTest) -> Result<usize, String> {
        let capture = path.field(self.plan, test)?.capture.get_or_insert_default();
        let slot = *capture.meaning.get_or_insert(self.count);
        self.count = self.count.max(slot + 1);
        Ok(slot)
    }
}

impl MeaningRule {
    /// The meaning of the body that was captured.
    pub fn evaluate(&self, captures: &Captures) -> Meaning<'_> {
        let first = |slot: usize| captures.meanings(slot).find_map(|(first, text)| first.then_some(text));
        let kind = match &self.kind {
            KindRule::Always(kind) => Some(kind),
            KindRule::By(slot, kinds) => kinds.get(first(*slot).unwrap_or_default()),
        };
        let Some(kind) = kind else {
            return Meaning::default();
        };
        let mut actors = self.actor.iter().filter_map(|slot| first(*slot));
        Meaning {
            kind: Some(kind),
            actor: actors.find(|text| is_value(text)).map(str::to_owned),
            targets: self.targets(captures).into_iter().map(str::to_owned).collect(),
        }
    }

    fn targets<'t>(&self, captures: &'t Captures) -> Vec<&'t str> {
        let mut targets = Vec::new();
        let mut known = HashSet::new();
        for Target { slot, keeps_place } in &self.targets {
            let before = targets.len();
            let values = captures.meanings(*slot).map(|(_, text)| text);
            targets.extend(values.filter(|text| is_value(text) && known.insert(*text)));
            if *keeps_place && targets.len() == before {
                targets.push("");
            }
        }
        targets
    }
}
