//! Every command that the schemas folder describes, in all its versions. Loaded once at start and never changed.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::command::Command;
use super::decode::{self, DecodeError, Decoded, Version};
use super::error::LoadError;
use super::file::{Compiled, SchemaFile};
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
        for (number, path) in &folder.versions {
            let file = SchemaFile::read(path)?;
            let Compiled { command, schema } = file.compile(folder, *number).map_err(first)?;
            if let Some((_, before)) = &newest {
                file.follows(before).map_err(first)?;
            }
            let version = Version {
                provider: folder.provider.clone(),
                command: folder.name.clone(),
                version: *number,
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

/// What the folder is refused for; `imbridge schemas lint` tells the rest.
fn first(errors: Vec<LoadError>) -> LoadError {
    errors.into_iter().next().expect("a refusal has a reason")
}
