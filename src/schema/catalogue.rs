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
use super::evolution;
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

    /// Every version of a command, the oldest first: its number and the text of its file.
    pub fn history(&self, command: &Command) -> Vec<(u32, &str)> {
        let own = |version: &&Version| version.provider == command.provider() && version.command == command.name();
        let mut versions: Vec<_> = self
            .versions
            .values()
            .filter(own)
            .map(|version| (version.version, version.text.as_str()))
            .collect();
        versions.sort();
        versions
    }

    /// Reads a record back, whichever version it was written with.
    pub fn decode(&self, framed: &[u8]) -> Result<Decoded, DecodeError> {
        decode::decode(&self.versions, framed)
    }

    fn add(&mut self, folder: &CommandFolder) -> Result<(), LoadError> {
        let mut newest: Option<(Command, Value)> = None;
        for (number, path) in (1..).zip(&folder.versions) {
            let file = SchemaFile::read(path)?;
            let (command, schema) = file.compile(folder, number)?;
            if let Some((_, before)) = &newest {
                evolution::check(before, &Located::root(&file.json)).map_err(|fault| file.blame(fault))?;
            }
            let version = Version {
                provider: folder.provider.clone(),
                command: folder.name.clone(),
                version: number,
                schema,
                text: file.text.clone(),
            };
            if let Some(other) = self.versions.insert(command.fingerprint(), version)
                && (&other.provider, &other.command) != (&folder.provider, &folder.name)
            {
                return Err(LoadError::Layout {
                    path: path.clone(),
                    found: format!("the same record as that of {}/{}", other.provider, other.command),
                    allowed: "a record of its own for each command".to_owned(),
                });
            }
            newest = Some((command, file.json));
        }
        let names = self.by_name.entry(folder.provider.clone()).or_default();
        names.insert(folder.name.clone(), self.commands.len());
        self.commands.extend(newest.map(|(command, _)| command));
        Ok(())
    }
}

/// One version's file.
struct SchemaFile<'p> {
    path: &'p Path,
    text: String,
    json: Value,
}

impl<'p> SchemaFile<'p> {
    fn read(path: &'p Path) -> Result<Self, LoadError> {
        let text = fs::read_to_string(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let json = serde_json::from_str(&text).map_err(|source| LoadError::Json {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path, text, json })
    }

    fn compile(&self, folder: &CommandFolder, version: u32) -> Result<(Command, Schema), LoadError> {
        let (namespace, name) = record_name(&folder.provider, &folder.name);
        let record = Located::root(&self.json);
        let mut plan = compile(&record, &namespace, name).map_err(|fault| self.blame(fault))?;
        let attributes = Attributes::read(&record, &mut plan).map_err(|fault| self.blame(fault))?;
        let schema = Schema::parse(&self.json).map_err(|source| self.refuse(Box::new(source)))?;
        let identity = Identity {
            provider: folder.provider.clone(),
            name: folder.name.clone(),
            version,
            fingerprint: fingerprint(&self.json).map_err(|source| self.refuse(source))?,
            schema: self.text.clone(),
        };
        Ok((Command::new(identity, attributes, plan), schema))
    }

    fn blame(&self, Fault { place, value, allowed }: Fault) -> LoadError {
        LoadError::Rule {
            path: self.path.to_owned(),
            place,
            value,
            allowed,
        }
    }

    fn refuse(&self, source: Box<apache_avro::Error>) -> LoadError {
        LoadError::Avro {
            path: self.path.to_owned(),
            source,
        }
    }
}

/// The namespace and the name of a command's record.
fn record_name<'c>(provider: &str, command: &'c str) -> (String, &'c str) {
    match command.rsplit_once('.') {
        Some((family, name)) => (format!("im.{provider}.{}", family.to_ascii_lowercase()), name),
        None => (format!("im.{provider}"), command),
    }
}
