//! Every command that the schemas folder describes, in all its versions. Loaded once at start and never changed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use apache_avro::Schema;
use serde_json::Value;

use super::attributes::Attributes;
use super::command::{Command, Identity};
use super::compile::compile;
use super::decode::{self, DecodeError, Decoded, Version};
use super::error::LoadError;
use super::fingerprint::fingerprint;
use super::location::{Fault, Located};
use super::source::{self, CommandFolder};

/// The commands, by provider and name; and every version ever published, by fingerprint.
#[derive(Debug)]
pub struct Catalogue {
    commands: Vec<Command>,
    by_name: HashMap<String, HashMap<String, usize>>,
    versions: HashMap<u64, Version>,
}

impl Catalogue {
    /// Reads and checks the whole folder. The error names the file, the place in it, and what is allowed there.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let mut catalogue = Self {
            commands: Vec::new(),
            by_name: HashMap::new(),
            versions: HashMap::new(),
        };
        for folder in source::list(dir)? {
            catalogue.add(&folder)?;
        }
        Ok(catalogue)
    }

    /// The command that `provider` calls `command`.
    pub fn command(&self, provider: &str, command: &str) -> Option<&Command> {
        let index = *self.by_name.get(provider)?.get(command)?;
        self.commands.get(index)
    }

    /// All commands, sorted by provider and name.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = &Command> {
        self.commands.iter()
    }

    /// Reads a record back, whichever version it was written with.
    pub fn decode(&self, framed: &[u8]) -> Result<Decoded, DecodeError> {
        decode::decode(&self.versions, framed)
    }

    fn add(&mut self, folder: &CommandFolder) -> Result<(), LoadError> {
        let mut newest = None;
        for (number, path) in (1..).zip(&folder.versions) {
            let (command, schema) = read_version(folder, number, path)?;
            let version = Version {
                provider: folder.provider.clone(),
                command: folder.name.clone(),
                version: number,
                schema,
            };
            if let Some(other) = self.versions.insert(command.fingerprint(), version)
                && (&other.provider, &other.command) != (&folder.provider, &folder.name)
            {
                return Err(LoadError::Layout {
                    path: path.clone(),
                    found: format!(
                        "the same record as that of {}/{}",
                        other.provider, other.command
                    ),
                    allowed: "a record of its own for each command".to_owned(),
                });
            }
            newest = Some(command);
        }
        let names = self.by_name.entry(folder.provider.clone()).or_default();
        names.insert(folder.name.clone(), self.commands.len());
        self.commands.extend(newest);
        Ok(())
    }
}

fn read_version(
    folder: &CommandFolder,
    version: u32,
    path: &Path,
) -> Result<(Command, Schema), LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let json: Value = serde_json::from_str(&text).map_err(|source| LoadError::Json {
        path: path.to_owned(),
        source,
    })?;
    let blame = |Fault {
                     place,
                     value,
                     allowed,
                 }| LoadError::Rule {
        path: path.to_owned(),
        place,
        value,
        allowed,
    };
    let (namespace, name) = record_name(&folder.provider, &folder.name);
    let record = Located::root(&json);
    let mut plan = compile(&record, &namespace, name).map_err(blame)?;
    let attributes = Attributes::read(&record, &mut plan).map_err(blame)?;

    let refuse = |source| LoadError::Avro {
        path: path.to_owned(),
        source,
    };
    let schema = Schema::parse(&json).map_err(|source| refuse(Box::new(source)))?;
    let identity = Identity {
        provider: folder.provider.clone(),
        name: folder.name.clone(),
        version,
        fingerprint: fingerprint(&json).map_err(refuse)?,
        schema: text,
    };
    Ok((Command::new(identity, attributes, plan), schema))
}

/// The namespace and the name of a command's record.
fn record_name<'c>(provider: &str, command: &'c str) -> (String, &'c str) {
    match command.rsplit_once('.') {
        Some((family, name)) => (
            format!("im.{provider}.{}", family.to_ascii_lowercase()),
            name,
        ),
        None => (format!("im.{provider}"), command),
    }
}
