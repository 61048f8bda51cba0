//! The timeline's record: one flat schema for the events of all commands, which the bridge itself fills. Its versions are
//! compiled into the bridge. The folder has copies of them for readers; a folder without them is accepted too.

use std::path::PathBuf;

use serde_json::Value;

use super::attributes::Attributes;
use super::avro;
use super::command::Command;
use super::error::LoadError;
use super::file::{Compiled, SchemaFile};
use super::fingerprint::digest_without_docs;
use super::identity::IdentityRule;
use super::key::KeyRule;
use super::meaning::Meaning;
use super::path::Paths;
use super::plan::RecordPlan;
use super::source::CommandFolder;
use crate::callback::{Answer, CommandRule, Phase};

/// The folder of the timeline's schema, where others have a provider's and a command's name.
const NAMES: (&str, &str) = ("bridge", "Timeline");
/// All versions. Records are written with the last.
const VERSIONS: [&str; 1] = [include_str!("../../schemas/bridge/Timeline/v1.avsc")];

/// An event in the timeline. The schema documents each field.
#[derive(Debug, Clone, Copy)]
pub struct TimelineEvent<'a> {
    pub ordering_key: &'a str,
    /// Whether the ordering key is a group's id.
    pub of_group: bool,
    pub app: &'a str,
    pub provider: &'a str,
    pub command: &'a str,
    pub phase: Option<Phase>,
    pub meaning: &'a Meaning<'a>,
    pub event_id: &'a str,
    pub spool: &'a str,
    pub seq: u64,
    pub part: u32,
    /// Unix milliseconds.
    pub event_time_ms: Option<i64>,
    /// Unix milliseconds.
    pub received_at_ms: i64,
    pub body: Option<&'a str>,
}

impl TimelineEvent<'_> {
    /// Appends the record to `out`, behind the framing, which the caller has written.
    pub fn write(&self, out: &mut Vec<u8>) {
        let phase = self.phase.map(|phase| match phase {
            Phase::Before => "before",
            Phase::After => "after",
        });
        avro::put_text(out, self.ordering_key);
        avro::put_optional(out, self.of_group.then_some(self.ordering_key), avro::put_text);
        avro::put_text(out, self.app);
        avro::put_text(out, self.provider);
        avro::put_text(out, self.command);
        avro::put_optional(out, phase, avro::put_text);
        avro::put_optional(out, self.meaning.kind, avro::put_text);
        avro::put_optional(out, self.meaning.actor.as_deref(), avro::put_text);
        let (targets, opened) = (&self.meaning.targets, avro::open_array(out));
        targets.iter().for_each(|target| avro::put_text(out, target));
        avro::close_array(out, opened, targets.len());
        avro::put_text(out, self.event_id);
        avro::put_text(out, self.spool);
        avro::put_long(out, self.seq.cast_signed());
        avro::put_long(out, self.part.into());
        avro::put_optional(out, self.event_time_ms, avro::put_long);
        avro::put_long(out, self.received_at_ms);
        avro::put_optional(out, self.body, avro::put_text);
    }
}

/// Whether this is the folder of the timeline's schema.
pub(super) fn is_timeline(folder: &CommandFolder) -> bool {
    (folder.provider.as_str(), folder.name.as_str()) == NAMES
}

/// All versions, compiled.
pub(super) fn built_in() -> Vec<Compiled> {
    let version = |(index, text): (usize, &&str)| {
        let number = index as u32 + 1;
        let file = SchemaFile {
            path: PathBuf::from(format!("schemas/{}/{}/v{number}.avsc", NAMES.0, NAMES.1)),
            text: (*text).to_owned(),
            json: json_of(text),
        };
        compile(&file, number).expect("the built-in schema loads")
    };
    VERSIONS.iter().enumerate().map(version).collect()
}

/// Compiles a version. Apart from its documentation, it must be equal to the built-in one.
pub(super) fn compile(file: &SchemaFile, version: u32) -> Result<Compiled, Vec<LoadError>> {
    let known = VERSIONS.get(version as usize - 1);
    if known.is_none_or(|text| digest_without_docs(&json_of(text)) != digest_without_docs(&file.json)) {
        let allowed = format!(
            "one of the {} versions that are part of this bridge, unchanged",
            VERSIONS.len()
        );
        return Err(vec![LoadError::Rule(file.root().finding(allowed))]);
    }
    let schema = file.schema().map_err(|error| vec![error])?;
    let fingerprint = file.fingerprint().map_err(|error| vec![error])?;
    let command = Command {
        provider: NAMES.0.to_owned(),
        name: NAMES.1.to_owned(),
        version,
        fingerprint: fingerprint.crc64,
        schema: file.text.clone(),
        attributes: Attributes {
            rule: CommandRule {
                phase: Phase::After,
                answer: Answer::Neutral,
                expand: None,
            },
            key: KeyRule::default(),
            identity: IdentityRule::default(),
            sequence: None,
            meaning: None,
            paths: Paths::default(),
        },
        plan: RecordPlan::default(),
    };
    Ok(Compiled { command, schema })
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("the built-in schema is JSON")
}
