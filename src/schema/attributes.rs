//! The `imbridge` object of a command's record: what the bridge does with the command beyond encoding it. Knows
//! neither the plan's making nor what other parts do with these attributes.

use serde_json::json;

use super::capture::TIMES_MAX;
use super::identity::{IdentityRule, SequenceRule};
use super::key::KeyRule;
use super::location::{Fault, Faults, Located};
use super::meaning::{self, MeaningRule};
use super::path::{FIRST, Path, Paths};
use super::plan::{FieldPlan, Kind, RecordPlan};
use crate::callback::{Answer, CommandRule, Phase};

#[derive(Debug)]
pub(super) struct Attributes {
    pub rule: CommandRule,
    pub key: KeyRule,
    pub identity: IdentityRule,
    pub sequence: Option<SequenceRule>,
    pub meaning: Option<MeaningRule>,
    /// What the key, the identity and the sequence need of a body.
    pub paths: Paths,
}

/// What may stand there.
const NAMES: [&str; 11] = [
    "phase", "key", "time", "answer", "expand", "identity", "sequence", "kind", "actor", "targets", "lacks",
];

impl Attributes {
    /// Reads the attributes, and marks in `plan` the fields whose values they need.
    pub fn read(record: &Located<'_>, plan: &mut RecordPlan, faults: &mut Faults) -> Option<Self> {
        let attributes = record.need(
            "imbridge",
            "an object with phase and key, perhaps time, answer, expand, identity, sequence, kind, actor, targets, lacks",
        );
        let attributes = faults.note(attributes)?;
        faults.note(attributes.only(&NAMES));
        let mut paths = Paths::default();
        let phase = faults.note(phase(&attributes));
        let key = faults.note(key(&attributes, &mut paths, plan));
        faults.note(time(&attributes, plan));
        let identity = faults.note(identity(&attributes, &mut paths, plan));
        let sequence = faults.note(sequence(&attributes, &mut paths, plan));
        let meaning = meaning::read(&attributes, phase, plan, faults);
        let answer = faults.note(answer(&attributes, plan));
        let expand = attributes.get("expand");
        let expand = expand.map(|expand| expand.text().map(str::to_owned)).transpose();
        Some(Self {
            rule: CommandRule {
                expand: faults.note(expand)?,
                phase: phase?,
                answer: answer?,
            },
            key: key?,
            identity: identity?,
            sequence: sequence?,
            meaning,
            paths,
        })
    }
}

fn phase(attributes: &Located<'_>) -> Result<Phase, Fault> {
    let allowed = "\"after\" or \"before\"";
    let phase = attributes.need("phase", allowed)?;
    match phase.value.as_str() {
        Some("after") => Ok(Phase::After),
        Some("before") => Ok(Phase::Before),
        _ => Err(phase.fault(allowed)),
    }
}

fn key(attributes: &Located<'_>, paths: &mut Paths, plan: &mut RecordPlan) -> Result<KeyRule, Fault> {
    let key = attributes.need("key", "a key expression")?;
    let fits = |field: &FieldPlan| matches!(field.kind, Kind::Text | Kind::Long | Kind::Int);
    let mut slot_of = |path: &str| Ok(paths.keep(path, plan, (fits, "a string or an integer"))?.0);
    KeyRule::parse(key.text()?, &mut slot_of)
        .map_err(|why| key.fault(format!("a key expression over the record's fields ({why})")))
}

fn identity(attributes: &Located<'_>, paths: &mut Paths, plan: &mut RecordPlan) -> Result<IdentityRule, Fault> {
    let Some(identity) = attributes.get("identity") else {
        return Ok(IdentityRule::default());
    };
    let blame = |why: String| identity.fault(format!("a list of paths of the record's fields ({why})"));
    let texts = identity.texts()?;
    if texts.is_empty() {
        return Err(blame("it is empty".to_owned()));
    }
    IdentityRule::read(&texts, paths, plan).map_err(blame)
}

fn sequence(attributes: &Located<'_>, paths: &mut Paths, plan: &mut RecordPlan) -> Result<Option<SequenceRule>, Fault> {
    let Some(sequence) = attributes.get("sequence") else {
        return Ok(None);
    };
    sequence.only(&["number", "of"])?;
    let number = sequence.need("number", "the path of an integer field")?.text()?;
    let of = sequence.need("of", "paths of the fields that name the group")?;
    let blame = |why: String| sequence.fault(format!("paths of the record's fields ({why})"));
    let texts = of.texts()?;
    if texts.is_empty() {
        return Err(blame("no group".to_owned()));
    }
    SequenceRule::read(number, &texts, paths, plan).map(Some).map_err(blame)
}

fn time(attributes: &Located<'_>, plan: &mut RecordPlan) -> Result<(), Fault> {
    let Some(time) = attributes.get("time") else {
        return Ok(());
    };
    let blame = |why: String| {
        time.fault(format!(
            "paths of time fields, at most {TIMES_MAX}, joined by ` | ` ({why})"
        ))
    };
    let paths: Vec<&str> = time.text()?.split(" | ").collect();
    if paths.len() > TIMES_MAX {
        return Err(blame(format!("there are {}", paths.len())));
    }
    for (alternative, path) in paths.into_iter().enumerate() {
        Path::parse(path, FIRST)
            .and_then(|path| path.keep_time(plan, alternative))
            .map_err(blame)?;
    }
    Ok(())
}

fn answer(attributes: &Located<'_>, plan: &RecordPlan) -> Result<Answer, Fault> {
    let Some(answer) = attributes.get("answer") else {
        return Ok(Answer::Neutral);
    };
    let field = |name: &str| plan.fields.iter().find(|field| *field.name == *name);
    if let Some(echo) = answer.get("echo") {
        answer.only(&["echo"])?;
        let names = echo.texts()?;
        if names.is_empty() || names.iter().any(|name| field(name).is_none()) {
            return Err(echo.fault("names of the record's fields"));
        }
        Ok(Answer::Echo(names.into_iter().map(str::to_owned).collect()))
    } else if let Some(item) = answer.get("result_item") {
        answer.only(&["result_item"])?;
        let name = item.text()?;
        if !field(name).is_some_and(|field| matches!(field.kind, Kind::Array(_))) {
            return Err(item.fault("the name of one of the record's array fields"));
        }
        Ok(Answer::ResultItem(name.to_owned()))
    } else if answer.value == &json!({"ignore": true}) {
        Ok(Answer::Ignore)
    } else {
        Err(answer.fault("{\"echo\": [names]}, {\"result_item\": name} or {\"ignore\": true}"))
    }
}
