//! The `imbridge` object of a command's record: what the bridge does with the command beyond encoding it. Knows
//! neither the plan's making nor what other parts do with these attributes.

use serde_json::json;

use super::capture::{Capture, TIMES_MAX};
use super::key::{KeyRule, Path};
use super::location::{Fault, Faults, Located};
use super::plan::{Kind, RecordPlan};
use crate::callback::{Answer, Phase};

#[derive(Debug)]
pub(super) struct Attributes {
    pub phase: Phase,
    pub key: KeyRule,
    pub answer: Answer,
    pub expand: Option<String>,
}

impl Attributes {
    /// Reads the attributes, and marks in `plan` the fields whose values the key and the time need.
    pub fn read(record: &Located<'_>, plan: &mut RecordPlan, faults: &mut Faults) -> Option<Self> {
        let attributes = record.need("imbridge", "an object with phase and key, perhaps time, answer, expand");
        let attributes = faults.note(attributes)?;
        faults.note(attributes.only(&["phase", "key", "time", "answer", "expand"]));
        let phase = faults.note(phase(&attributes));
        let key = faults.note(key(&attributes, plan));
        faults.note(time(&attributes, plan));
        let answer = faults.note(answer(&attributes, plan));
        let expand = attributes.get("expand");
        let expand = expand.map(|expand| expand.text().map(str::to_owned)).transpose();
        Some(Self {
            expand: faults.note(expand)?,
            phase: phase?,
            key: key?,
            answer: answer?,
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

fn key(attributes: &Located<'_>, plan: &mut RecordPlan) -> Result<KeyRule, Fault> {
    let key = attributes.need("key", "a key expression")?;
    let blame = |why: String| key.fault(format!("a key expression over the record's fields ({why})"));
    let rule = KeyRule::parse(key.text()?).map_err(blame)?;
    rule.mark(plan).map_err(blame)?;
    Ok(rule)
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
        let capture = Capture::Time { alternative, scale: 1 };
        Path::parse(path)
            .and_then(|path| path.mark(plan, capture))
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
