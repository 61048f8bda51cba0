//! The record that all commands have in common: one flat schema, which the bridge itself fills. The folder has its versions
//! beside the commands', for readers; what they say is the bridge's, so that a folder without them will do.

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
use super::location::{Faults, Located};
use super::meaning::Meaning;
use super::path::Paths;
use super::plan::RecordPlan;
use super::source::CommandFolder;
use crate::callback::{Answer, CommandRule, Phase};

/// The provider's folder and the command's, as it were.
const NAMES: (&str, &str) = ("bridge", "Timeline");
/// Every version; records are written with the last.
const VERSIONS: [&str; 1] = [include_str!("../../schemas/bridge/Timeline/v1.avsc")];

/// One event for the timeline. The schema's documentation says what each field means.
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
    /// Appends the record to `out`, behind whatever framing the caller wrote.
    pub fn write(&self, out: &mut Vec<u8>) {
        let phase = self.phase.map(|phase| match phase {
            Phase::Before => "before",
            Phase::After => "after",
        });
        avro::put_text(out, self.ordering_key);
        avro::put_optional_text(out, self.of_group.then_some(self.ordering_key));
        avro::put_text(out, self.app);
        avro::put_text(out, self.provider);
        avro::put_text(out, self.command);
        avro::put_optional_text(out, phase);
        avro::put_optional_text(out, self.meaning.kind);
        avro::put_optional_text(out, self.meaning.actor.as_deref());
        let (targets, opened) = (&self.meaning.targets, avro::open_array(out));
        targets.iter().for_each(|target| avro::put_text(out, target));
        avro::close_array(out, opened, targets.len());
        avro::put_text(out, self.event_id);
        avro::put_text(out, self.spool);
        avro::put_long(out, self.seq.cast_signed());
        avro::put_long(out, self.part.into());
        avro::put_optional_long(out, self.event_time_ms);
        avro::put_long(out, self.received_at_ms);
        avro::put_optional_text(out, self.body);
    }
}

/// Whether a folder's files are the timeline's.
pub(super) fn is_meant(folder: &CommandFolder) -> bool {
    (folder.provider.as_str(), folder.name.as_str()) == NAMES
}

/// The versions that this bridge knows.
pub(super) fn built_in() -> Vec<Compiled> {
    let version = |(index, text): (usize, &&str)| {
        let number = index as u32 + 1;
        let file = SchemaFile {
            path: PathBuf::from(format!("schemas/{}/{}/v{number}.avsc", NAMES.0, NAMES.1)),
            text: (*text).to_owned(),
            json: json_of(text),
        };
        compile(&file, number).expect("what is built in loads")
    };
    VERSIONS.iter().enumerate().map(version).collect()
}

/// Compiles a version, which must be the one that is built in but for its documentation.
pub(super) fn compile(file: &SchemaFile, version: u32) -> Result<Compiled, Vec<LoadError>> {
    let known = VERSIONS.get(version as usize - 1);
    if known.is_none_or(|text| digest_without_docs(&json_of(text)) != digest_without_docs(&file.json)) {
        let mut faults = Faults::default();
        let allowed = format!(
            "the {} versions of the timeline's record that this bridge writes, as it came with them",
            VERSIONS.len()
        );
        faults.note::<()>(Err(Located::root(&file.json).fault(allowed)));
        return Err(file.blame(faults));
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
    serde_json::from_str(text).expect("what is built in is JSON")
}
