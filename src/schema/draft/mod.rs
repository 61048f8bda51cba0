//! Drafts of schemas from bodies that were seen: a first version for a new command, or the next one with the fields
//! that no version declares. What the fields mean is left to a person: the drafts say TODO, which lint refuses.

mod additions;
mod naming;
mod sample;
mod shape;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use self::additions::Additions;
use self::naming::Names;
pub use self::sample::Sample;
use self::shape::Shape;
use super::compile::own_fields;
use super::error::LoadError;
use super::file::{SchemaFile, record_name};
use super::source;
use super::text;

/// What a draft is made of.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The provider's folder.
    pub provider: String,
    /// The name on the wire.
    pub command: String,
    /// The key expression of a first version; the app where there is none.
    pub key: Option<String>,
    /// `after` or `before`, of a first version.
    pub phase: String,
    /// Bodies as they came over the wire.
    pub bodies: Vec<Sample>,
    /// The first of them as text: the `sample.json` of a first version.
    pub sample: String,
    /// Maps `unmapped` of records: JSON, or its text, by path.
    pub unmapped: Vec<Sample>,
}

/// What was written, and what a person should know.
#[derive(Debug, Default)]
pub struct Drafted {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What could not be declared.
    pub notes: Vec<String>,
}

/// Why there is no draft.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The folder, or what is there of the command, is at fault.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A name that the folder does not allow.
    #[error("{0:?}: not a name for a folder; allowed: [a-z][a-z0-9_]* for providers, [a-zA-Z0-9._-]+ for commands")]
    Name(String),
    /// A first version needs bodies.
    #[error("the command has no version yet: at least one body, a JSON object, is needed")]
    NoBody,
    /// The samples hold nothing that is not declared.
    #[error("nothing to add: v{0} declares every field that was seen and that a version can add{1}")]
    NothingNew(u32, String),
}

/// Writes the draft into the folder.
///
/// # Errors
/// When there is nothing to draft from, or files cannot be read or written.
pub fn draft(dir: &Path, draft: &Draft) -> Result<Drafted, DraftError> {
    for (name, good) in [
        (&draft.provider, source::is_provider(&draft.provider)),
        (&draft.command, source::is_command(&draft.command)),
    ] {
        if name.is_empty() || !good {
            return Err(DraftError::Name(name.clone()));
        }
    }
    let known = source::list(dir)?
        .into_iter()
        .find(|folder| folder.provider == draft.provider && folder.name == draft.command);
    let folder = dir.join(&draft.provider).join(&draft.command);
    match known.as_ref().and_then(|known| known.versions.last()) {
        Some((newest, path)) => next(&folder, *newest, &SchemaFile::read(path)?, draft),
        None => first(&folder, draft),
    }
}

fn first(folder: &Path, draft: &Draft) -> Result<Drafted, DraftError> {
    let mut shape = Shape::default();
    let is_object = |body: &Sample| matches!(body, Sample::Object(_));
    if draft.bodies.is_empty() || !draft.bodies.iter().all(is_object) {
        return Err(DraftError::NoBody);
    }
    draft.bodies.iter().for_each(|body| shape.add(body));
    let (namespace, name) = record_name(&draft.provider, &draft.command);
    let mut fields = shape.avro_fields(name, &mut Names::default());
    let key = draft.key.clone().unwrap_or_else(|| "app".to_owned());
    let mut imbridge = json!({"phase": draft.phase, "key": key});
    let is_time = |field: &&Value| field["type"][1]["logicalType"] == "timestamp-millis";
    if let Some(time) = fields.iter().find(is_time) {
        imbridge["time"] = time["name"].clone();
    }
    fields.extend(bridge_fields());
    let schema = json!({
        "type": "record", "name": name, "namespace": namespace, "imbridge": imbridge, "fields": fields,
        "doc": "TODO: say when the command is sent.",
    });
    let mut drafted = Drafted::default();
    fs::create_dir_all(folder).map_err(|cause| LoadError::Write {
        path: folder.to_owned(),
        cause,
    })?;
    write(folder.join("v1.avsc"), text::render(&schema), &mut drafted)?;
    let sample = draft.sample.trim_end().to_owned() + "\n";
    write(folder.join("sample.json"), sample, &mut drafted)?;
    if draft.key.is_none() {
        drafted
            .notes
            .push("the key is the app; --key names a better one".to_owned());
    }
    Ok(drafted)
}

fn next(folder: &Path, newest: u32, file: &SchemaFile, draft: &Draft) -> Result<Drafted, DraftError> {
    let mut additions = Additions::new(&file.json);
    draft.bodies.iter().for_each(|body| additions.body(body));
    draft.unmapped.iter().for_each(|map| additions.unmapped(map));
    let (schema, notes) = additions.finish();
    let Some(schema) = schema else {
        let notes = notes.iter().map(|note| format!("; {note}")).collect();
        return Err(DraftError::NothingNew(newest, notes));
    };
    let mut drafted = Drafted { files: vec![], notes };
    write(
        folder.join(format!("v{}.avsc", newest + 1)),
        text::render(&schema),
        &mut drafted,
    )?;
    Ok(drafted)
}

fn write(path: PathBuf, text: String, drafted: &mut Drafted) -> Result<(), DraftError> {
    match fs::write(&path, text) {
        Ok(()) => drafted.files.push(path),
        Err(cause) => return Err(LoadError::Write { path, cause }.into()),
    }
    Ok(())
}

/// The bridge's own fields, documented as in every schema.
pub(super) fn bridge_fields() -> [Value; 5] {
    let mut own = own_fields();
    let docs = [
        "The spool of the bridge that published it. Positions are compared within one spool only.",
        "The callback's number in the spool. It rises, and within a spool no two callbacks have the same.",
        "The event's place in its callback, from 0: a batch has several events.",
        "What the bridge knows of the callback.",
        "What no field holds exactly, as JSON text by its path in the body.",
    ];
    for (field, doc) in own.iter_mut().zip(docs) {
        field["doc"] = json!(doc);
    }
    let record = &mut own[3]["type"];
    record["doc"] = json!("Where and when a callback arrived; the same in every record.");
    let docs = [
        "Names this event; equal only in copies of the same one.",
        "When it happened, milliseconds since 1970, where the body says so in whatever unit.",
        "When the bridge received the callback, milliseconds since 1970.",
        "The app (Tencent's SdkAppid) or the instance that sent the callback.",
        "Address of the user's device, where the sender names it.",
        "What the user acted from (iOS, Web, RESTAPI and others), where the sender names it.",
        "The sender's own id of the request, where it has one.",
    ];
    for (index, doc) in docs.into_iter().enumerate() {
        record["fields"][index]["doc"] = json!(doc);
    }
    own
}
