//! One version's file: read, and checked by every rule that a file must keep by itself or beside the version before it.
//! Does not know which other files there are.

use std::fs;
use std::path::{Path, PathBuf};

use apache_avro::Schema;
use serde_json::Value;

use super::attributes::Attributes;
use super::command::Command;
use super::compile::compile;
use super::error::{Finding, LoadError};
use super::evolution;
use super::fingerprint::Fingerprint;
use super::location::{Fault, Faults, Located};
use super::source::CommandFolder;
use super::timeline;

/// A file that is JSON.
#[derive(Debug)]
pub(super) struct SchemaFile {
    pub path: PathBuf,
    pub text: String,
    pub json: Value,
}

/// What a file without a fault gives.
#[derive(Debug)]
pub(super) struct Compiled {
    pub command: Command,
    pub schema: Schema,
}

impl SchemaFile {
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let path = path.to_owned();
        match fs::read_to_string(&path) {
            Err(cause) => Err(LoadError::Read { path, cause }),
            Ok(text) => match serde_json::from_str(&text) {
                Err(cause) => Err(LoadError::Json { path, cause }),
                Ok(json) => Ok(Self { path, text, json }),
            },
        }
    }

    /// Compiles the file as this version of a command, or says everything that is wrong with it.
    pub fn compile(&self, folder: &CommandFolder, version: u32) -> Result<Compiled, Vec<LoadError>> {
        if timeline::is_meant(folder) {
            return timeline::compile(self, version);
        }
        let (namespace, name) = record_name(&folder.provider, &folder.name);
        let record = Located::root(&self.json);
        let mut faults = Faults::default();
        let mut plan = compile(&record, &namespace, name, &mut faults);
        let attributes = Attributes::read(&record, &mut plan, &mut faults);
        let mut errors = self.blame(faults);
        let schema = self.schema();
        let fingerprint = self.fingerprint();
        match (attributes, schema, fingerprint) {
            (Some(attributes), Ok(schema), Ok(fingerprint)) if errors.is_empty() => {
                let command = Command {
                    provider: folder.provider.clone(),
                    name: folder.name.clone(),
                    version,
                    fingerprint: fingerprint.crc64,
                    schema: self.text.clone(),
                    attributes,
                    plan,
                };
                Ok(Compiled { command, schema })
            }
            (_, schema, fingerprint) => {
                errors.extend(schema.err().or(fingerprint.err()));
                Err(errors)
            }
        }
    }

    /// What the file does beyond adding to a version before it.
    pub fn breaks(&self, before: &Value) -> Vec<LoadError> {
        let mut faults = Faults::default();
        evolution::check(before, &Located::root(&self.json), &mut faults);
        self.blame(faults)
    }

    pub fn schema(&self) -> Result<Schema, LoadError> {
        Schema::parse(&self.json).map_err(|source| self.no_schema(source.into()))
    }

    pub fn fingerprint(&self) -> Result<Fingerprint, LoadError> {
        Fingerprint::of(&self.json).map_err(|cause| self.no_schema(cause))
    }

    fn no_schema(&self, cause: Box<apache_avro::Error>) -> LoadError {
        let path = self.path.clone();
        LoadError::Avro { path, cause }
    }

    /// What is wrong with the file, from what is wrong in it.
    pub fn blame(&self, faults: Faults) -> Vec<LoadError> {
        let rule = |Fault { place, found, allowed }| {
            LoadError::Rule(Finding {
                path: self.path.clone(),
                place,
                found,
                allowed,
            })
        };
        faults.0.into_iter().map(rule).collect()
    }
}

/// The namespace and the name of a command's record.
pub(super) fn record_name<'c>(provider: &str, command: &'c str) -> (String, &'c str) {
    match command.rsplit_once('.') {
        Some((family, name)) => (format!("im.{provider}.{}", family.to_ascii_lowercase()), name),
        None => (format!("im.{provider}"), command),
    }
}
