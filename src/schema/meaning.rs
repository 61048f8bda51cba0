//! What an event means, in the one vocabulary for all providers: its kind, who did it, to whom. The schema says where
//! that stands. Does not know which kinds there are, nor who asks.

use std::collections::{BTreeMap, HashSet};

use super::capture::Captures;
use super::key::is_value;
use super::location::{Fault, Faults, Located};
use super::path::{EVERY, FIRST, Path};
use super::plan::{FieldPlan, Kind, RecordPlan};
use crate::callback::Phase;

/// What one event means. All of it is empty where the event has no kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning<'c> {
    /// One of `schemas/kinds.json`, which defines it.
    pub kind: Option<&'c str>,
    /// The account that did it, where the body says so.
    pub actor: Option<String>,
    /// The accounts to which it was done, each once, in the declaration's order and within a list in the body's.
    pub targets: Vec<String>,
}

/// Where a body says what it means.
#[derive(Debug)]
pub(super) struct MeaningRule {
    kind: KindRule,
    /// Marks of the alternatives.
    actor: Vec<usize>,
    targets: Vec<Target>,
}

#[derive(Debug)]
enum KindRule {
    Always(String),
    /// The mark of the field, and the kind for each of its values.
    By(usize, BTreeMap<String, String>),
}

#[derive(Debug)]
struct Target {
    mark: usize,
    /// It leads to no list, and others follow: it keeps its place, also without a value.
    placed: bool,
}

/// Reads `kind`, `actor` and `targets`, and marks their fields in the plan. None where the command has no kind.
pub(super) fn read(
    attributes: &Located<'_>,
    phase: Option<Phase>,
    plan: &mut RecordPlan,
    faults: &mut Faults,
) -> Option<MeaningRule> {
    let mut marks = Marks { plan, count: 0 };
    let Some(kind) = attributes.get("kind") else {
        for name in ["actor", "targets", "lacks"] {
            if let Some(other) = attributes.get(name) {
                faults.note::<()>(Err(other.fault("nothing where there is no kind")));
            }
        }
        return None;
    };
    if phase == Some(Phase::Before) {
        let fault =
            kind.fault("nothing: a before-command asks whether something may happen, and a kind says that it has");
        faults.note::<()>(Err(fault));
    }
    let kind = faults.note(marks.kind(&kind));
    let actor = attributes
        .get("actor")
        .map_or(Ok(Vec::new()), |actor| marks.actor(&actor));
    let actor = faults.note(actor);
    let targets = attributes.get("targets");
    let targets = faults.note(targets.map_or(Ok(Vec::new()), |targets| marks.targets(&targets)));
    faults.note(attributes.get("lacks").map_or(Ok(""), |lacks| lacks.text()));
    Some(MeaningRule {
        kind: kind?,
        actor: actor?,
        targets: targets?,
    })
}

struct Marks<'p> {
    plan: &'p mut RecordPlan,
    count: usize,
}

impl Marks<'_> {
    fn kind(&mut self, kind: &Located<'_>) -> Result<KindRule, Fault> {
        let allowed = "a kind, or {\"by\": path, \"is\": {value: kind, ...}}";
        if kind.value.is_string() {
            return Ok(KindRule::Always(kind.text()?.to_owned()));
        }
        kind.only(&["by", "is"]).map_err(|_| kind.fault(allowed))?;
        let by = kind.need("by", "the path of a string or an integer field")?;
        let is = kind.need("is", "an object of kinds by the field's values")?;
        let kinds = is.value.as_object().filter(|kinds| !kinds.is_empty());
        let kinds = kinds.ok_or_else(|| is.fault("an object of kinds by the field's values"))?;
        let kinds = kinds
            .keys()
            .map(|value| Ok((value.clone(), is.need(value, allowed)?.text()?.to_owned())));
        let kinds = kinds.collect::<Result<_, Fault>>()?;
        let fits = |field: &FieldPlan| matches!(field.kind, Kind::Text | Kind::Long | Kind::Int);
        let path = by.text()?;
        let mark = self.mark(path, FIRST, (fits, "a string or an integer"));
        let (mark, _) = mark.map_err(|why| by.fault(format!("a path of the record's fields ({why})")))?;
        Ok(KindRule::By(mark, kinds))
    }

    fn actor(&mut self, actor: &Located<'_>) -> Result<Vec<usize>, Fault> {
        let blame = |why: String| actor.fault(format!("paths of string fields, joined by ` | ` ({why})"));
        let alternatives = actor.text()?.split(" | ");
        let marks = alternatives.map(|path| Ok(self.mark(path, FIRST, (is_text, "a string"))?.0));
        marks.collect::<Result<_, String>>().map_err(blame)
    }

    fn targets(&mut self, targets: &Located<'_>) -> Result<Vec<Target>, Fault> {
        let allowed = "the path of string fields, or a list of such paths";
        let paths = if targets.value.is_array() {
            targets.texts()?
        } else {
            vec![targets.text().map_err(|_| targets.fault(allowed))?]
        };
        let mark = |(at, path): (usize, &&str)| {
            let (mark, listed) = self.mark(path, EVERY, (is_text, "a string, or a list of them"))?;
            let placed = !listed && at + 1 < paths.len();
            Ok(Target { mark, placed })
        };
        let marks: Result<_, String> = paths.iter().enumerate().map(mark).collect();
        marks.map_err(|why| targets.fault(format!("{allowed} ({why})")))
    }

    /// The mark of a path's field, where it `fits`, and whether the path leads into an array.
    fn mark(
        &mut self,
        path: &str,
        items: &'static str,
        (fits, wanted): (fn(&FieldPlan) -> bool, &str),
    ) -> Result<(usize, bool), String> {
        let parsed = Path::parse(path, items)?;
        let field = parsed.enter(self.plan)?;
        if !fits(field) {
            return Err(format!("`{path}` is not {wanted}"));
        }
        let mark = *field.capture.get_or_insert_default().meaning.get_or_insert(self.count);
        self.count = self.count.max(mark + 1);
        Ok((mark, parsed.leads_into_array()))
    }
}

fn is_text(field: &FieldPlan) -> bool {
    matches!(field.kind, Kind::Text)
}

impl MeaningRule {
    /// What a body means whose values were captured.
    pub fn evaluate(&self, captures: &Captures) -> Meaning<'_> {
        let first = |mark: usize| captures.meant(mark).find_map(|(first, text)| first.then_some(text));
        let kind = match &self.kind {
            KindRule::Always(kind) => Some(kind),
            KindRule::By(mark, kinds) => kinds.get(first(*mark).unwrap_or_default()),
        };
        let Some(kind) = kind else {
            return Meaning::default();
        };
        let values = self.actor.iter().filter_map(|mark| first(*mark));
        Meaning {
            kind: Some(kind),
            actor: values.filter(|text| is_value(text)).map(str::to_owned).next(),
            targets: self.targets(captures).into_iter().map(str::to_owned).collect(),
        }
    }

    fn targets<'t>(&self, captures: &'t Captures) -> Vec<&'t str> {
        let mut targets = Vec::new();
        let mut known = HashSet::new();
        for Target { mark, placed } in &self.targets {
            let before = targets.len();
            let values = captures
                .meant(*mark)
                .map(|(_, text)| text)
                .filter(|text| is_value(text));
            targets.extend(values.filter(|text| known.insert(*text)));
            if *placed && targets.len() == before {
                targets.push("");
            }
        }
        targets
    }
}
