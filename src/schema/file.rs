//! Reads and compiles the file of one version. Checks the rules for a single file and for its predecessor. Does not know
//! which other files there are.

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
use super::location::{Findings, Located};
use super::source::CommandFolder;
use super::timeline;

/// A version's file, which is JSON.
#[derive(Debug)]
pub(super) struct SchemaFile {
    pub path: PathBuf,
    pub text: String,
    pub json: Value,
}

/// The result for a file without a fault.
#[derive(Debug)]
pub(super) struct Compiled {
    pub command: Command,
    pub schema: Schema,
}

impl SchemaFile {
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let path = path.to_owned();
        let text = fs::read_to_string(&path).map_err(LoadError::read(&path))?;
        match serde_json::from_str(&text) {
            Ok(json) => Ok(Self { path, text, json }),
            Err(cause) => Err(LoadError::Json { path, cause }),
        }
    }

    /// Compiles the file as this version of a command, or returns everything that is wrong with it.
    pub fn compile(&self, folder: &CommandFolder, version: u32) -> Result<Compiled, Vec<LoadError>> {
        if timeline::is_timeline(folder) {
            return timeline::compile(self, version);
        }
        let (namespace, name) = record_name(&folder.provider, &folder.name);
        let record = self.root();
        let mut findings = Findings::default();
        let mut plan = compile(&record, &namespace, name, &mut findings);
        let attributes = Attributes::read(&record, &mut plan, &mut findings);
        let mut errors: Vec<_> = findings.0.into_iter().map(LoadError::Rule).collect();
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

    /// Where the file does more than add fields to an earlier version.
    pub fn compare(&self, before: &Value) -> Vec<Finding> {
        let mut findings = Findings::default();
        evolution::check(before, &self.root(), &mut findings);
        findings.0
    }

    /// The record that the file contains.
    pub fn root(&self) -> Located<'_> {
        Located::root(&self.path, &self.json)
    }

    pub fn schema(&self) -> Result<Schema, LoadError> {
        Schema::parse(&self.json).map_err(|cause| self.avro_error(cause.into()))
    }

    pub fn fingerprint(&self) -> Result<Fingerprint, LoadError> {
        Fingerprint::of(&self.json).map_err(|cause| self.avro_error(cause))
    }

    fn avro_error(&self, cause: Box<apache_avro::Error>) -> LoadError {
        let path = self.path.clone();
        LoadError::Avro { path, cause }
    }
}

/// The namespace and the name of a command's record.
pub(super) fn record_name<'c>(provider: &str, command: &'c str) -> (String, &'c str) {
    match command.rsplit_once('.') {
        Some((family, name)) => (format!("im.{provider}.{}", family.to_ascii_lowercase()), name),
        None => (format!("im.{provider}"), command),
    }
}
