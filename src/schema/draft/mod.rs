//! Drafts schemas from sample bodies: the first version for a new command, or the next version with the fields that no
//! version declares. A person must write what the fields mean: drafts contain TODO, which lint refuses.

mod additions;
mod naming;
mod observed;
mod ordered_json;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use self::additions::Additions;
use self::naming::Names;
use self::observed::Observed;
pub use self::ordered_json::OrderedJson;
use super::compile::bridge_fields;
use super::error::LoadError;
use super::file::{SchemaFile, record_name};
use super::source;
use super::text;

/// The input of a draft.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub provider: String,
    /// The name on the wire.
    pub command: String,
    /// The key expression of a first version. If there is none, the key is the app.
    pub key: Option<String>,
    /// The phase of a first version: `after` or `before`.
    pub phase: String,
    /// Bodies as they were sent.
    pub bodies: Vec<OrderedJson>,
    /// The first body as text: the `sample.json` of a first version.
    pub sample: String,
    /// The `unmapped` maps of records: JSON, or its text, by path.
    pub unmapped: Vec<OrderedJson>,
}

/// The result of a draft.
#[derive(Debug, Default)]
pub struct Drafted {
    /// The files that were written.
    pub files: Vec<PathBuf>,
    /// What could not be declared.
    pub notes: Vec<String>,
}

/// Why there is no draft.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The folder or the command's schema cannot be read or written, or has a fault.
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0:?}: not a name for a folder; allowed: [a-z][a-z0-9_]* for providers, [a-zA-Z0-9._-]+ for commands")]
    Name(String),
    #[error("the command has no version yet: at least one body, a JSON object, is needed")]
    NoBody,
    #[error("nothing to add: v{0} declares every field of the samples that a version can add{1}")]
    NothingNew(u32, String),
}

/// Writes the draft into the folder.
///
/// # Errors
/// If there is nothing to draft from, or if files cannot be read or written.
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
    let is_object = |body: &OrderedJson| matches!(body, OrderedJson::Object(_));
    if draft.bodies.is_empty() || !draft.bodies.iter().all(is_object) {
        return Err(DraftError::NoBody);
    }
    let mut observed = Observed::default();
    draft.bodies.iter().for_each(|body| observed.add(body));
    let (namespace, name) = record_name(&draft.provider, &draft.command);
    let mut fields = observed.avro_fields(name, &mut Names::default());
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
    fs::create_dir_all(folder).map_err(LoadError::write(folder))?;
    write(folder.join("v1.avsc"), text::render(&schema), &mut drafted)?;
    let sample = draft.sample.trim_end().to_owned() + "\n";
    write(folder.join("sample.json"), sample, &mut drafted)?;
    if draft.key.is_none() {
        drafted
            .notes
            .push("the key is the app; give a better one by --key".to_owned());
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
    fs::write(&path, text).map_err(LoadError::write(&path))?;
    drafted.files.push(path);
    Ok(())
}
