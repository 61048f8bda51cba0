//! The `imbridge` object of a command's record: what the bridge does with the command, apart from its encoding. Does not
//! know how the plan is made nor how other parts use these attributes.

use serde_json::json;

use super::capture::TIMES_MAX;
use super::error::Finding;
use super::identity::{IdentityRule, SequenceRule};
use super::key::KeyRule;
use super::location::{Findings, Located};
use super::meaning::{self, MeaningRule};
use super::path::{FIRST, Path, Paths, STRING_OR_INTEGER};
use super::plan::{Kind, RecordPlan};
use crate::callback::{Answer, CommandRule, Phase};

#[derive(Debug)]
pub(super) struct Attributes {
    pub rule: CommandRule,
    pub key: KeyRule,
    pub identity: IdentityRule,
    pub sequence: Option<SequenceRule>,
    pub meaning: Option<MeaningRule>,
    /// The paths that the key, the identity and the sequence use.
    pub paths: Paths,
}

/// The attributes that are allowed.
const NAMES: [&str; 11] = [
    "phase", "key", "time", "answer", "expand", "identity", "sequence", "kind", "actor", "targets", "lacks",
];

impl Attributes {
    /// Reads the attributes, and adds to `plan` the captures that they need.
    pub fn read(record: &Located<'_>, plan: &mut RecordPlan, findings: &mut Findings) -> Option<Self> {
        let attributes = record.need(
            "imbridge",
            "an object with phase and key, perhaps time, answer, expand, identity, sequence, kind, actor, targets, lacks",
        );
        let attributes = findings.note(attributes)?;
        findings.note(attributes.only(&NAMES));
        let mut paths = Paths::default();
        let phase = findings.note(phase(&attributes));
        let key = findings.note(key(&attributes, &mut paths, plan));
        findings.note(time(&attributes, plan));
        let identity = findings.note(identity(&attributes, &mut paths, plan));
        let sequence = findings.note(sequence(&attributes, &mut paths, plan));
        let meaning = meaning::read(&attributes, phase, plan, findings);
        let answer = findings.note(answer(&attributes, plan));
        let expand = attributes.get("expand");
        let expand = expand.map(|expand| expand.text().map(str::to_owned)).transpose();
        Some(Self {
            rule: CommandRule {
                expand: findings.note(expand)?,
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

fn phase(attributes: &Located<'_>) -> Result<Phase, Finding> {
    let allowed = "\"after\" or \"before\"";
    let phase = attributes.need("phase", allowed)?;
    match phase.value.as_str() {
        Some("after") => Ok(Phase::After),
        Some("before") => Ok(Phase::Before),
        _ => Err(phase.finding(allowed)),
    }
}

fn key(attributes: &Located<'_>, paths: &mut Paths, plan: &mut RecordPlan) -> Result<KeyRule, Finding> {
    let key = attributes.need("key", "a key expression")?;
    let mut slot_of = |path: &str| Ok(paths.keep(path, plan, &STRING_OR_INTEGER)?.0);
    KeyRule::parse(key.text()?, &mut slot_of)
        .map_err(|cause| key.finding(format!("a key expression over the record's fields ({cause})")))
}

fn identity(attributes: &Located<'_>, paths: &mut Paths, plan: &mut RecordPlan) -> Result<IdentityRule, Finding> {
    let Some(identity) = attributes.get("identity") else {
        return Ok(IdentityRule::default());
    };
    let finding = |cause: String| identity.finding(format!("a list of paths of the record's fields ({cause})"));
    let texts = identity.texts()?;
    if texts.is_empty() {
        return Err(finding("it is empty".to_owned()));
    }
    IdentityRule::read(&texts, paths, plan).map_err(finding)
}

fn sequence(
    attributes: &Located<'_>,
    paths: &mut Paths,
    plan: &mut RecordPlan,
) -> Result<Option<SequenceRule>, Finding> {
    let Some(sequence) = attributes.get("sequence") else {
        return Ok(None);
    };
    sequence.only(&["number", "of"])?;
    let number = sequence.need("number", "the path of an integer field")?.text()?;
    let of = sequence.need("of", "paths of the fields that name the group")?;
    let finding = |cause: String| sequence.finding(format!("paths of the record's fields ({cause})"));
    let texts = of.texts()?;
    if texts.is_empty() {
        return Err(finding("no group".to_owned()));
    }
    SequenceRule::read(number, &texts, paths, plan)
        .map(Some)
        .map_err(finding)
}

fn time(attributes: &Located<'_>, plan: &mut RecordPlan) -> Result<(), Finding> {
    let Some(time) = attributes.get("time") else {
        return Ok(());
    };
    let finding = |cause: String| {
        time.finding(format!(
            "paths of time fields, at most {TIMES_MAX}, joined by ` | ` ({cause})"
        ))
    };
    let paths: Vec<&str> = time.text()?.split(" | ").collect();
    if paths.len() > TIMES_MAX {
        return Err(finding(format!("there are {}", paths.len())));
    }
    for (alternative, path) in paths.into_iter().enumerate() {
        Path::parse(path, FIRST)
            .and_then(|path| path.keep_time(plan, alternative))
            .map_err(finding)?;
    }
    Ok(())
}

fn answer(attributes: &Located<'_>, plan: &RecordPlan) -> Result<Answer, Finding> {
    let Some(answer) = attributes.get("answer") else {
        return Ok(Answer::Neutral);
    };
    let field = |name: &str| plan.fields.iter().find(|field| *field.name == *name);
    if let Some(echo) = answer.get("echo") {
        answer.only(&["echo"])?;
        let names = echo.texts()?;
        if names.is_empty() || names.iter().any(|name| field(name).is_none()) {
            return Err(echo.finding("names of the record's fields"));
        }
        Ok(Answer::Echo(names.into_iter().map(str::to_owned).collect()))
    } else if let Some(item) = answer.get("result_item") {
        answer.only(&["result_item"])?;
        let name = item.text()?;
        if !field(name).is_some_and(|field| matches!(field.kind, Kind::Array(_))) {
            return Err(item.finding("the name of one of the record's array fields"));
        }
        Ok(Answer::ResultItem(name.to_owned()))
    } else if answer.value == &json!({"ignore": true}) {
        Ok(Answer::Ignore)
    } else {
        Err(answer.finding("{\"echo\": [names]}, {\"result_item\": name} or {\"ignore\": true}"))
    }
}
