//! Every command that the schemas folder describes, in all its versions. Loaded once at start and never changed.

use foldhash::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::command::Command;
use super::decode::{self, DecodeError, Decoded};
use super::error::LoadError;
use super::file::{Compiled, SchemaFile};
use super::fingerprint::{OWN_ID, same_id};
use super::framing::Framing;
use super::published::entry_name;
use super::source::{self, CommandFolder};
use super::timeline;

/// The commands, by provider and name; and every version ever published, by fingerprint and by the id made of it.
#[derive(Debug, Default)]
pub struct Catalogue {
    commands: Vec<Arc<Compiled>>,
    /// What the timeline's records are written with; it is there once the folder is loaded.
    timeline: Option<Arc<Compiled>>,
    by_name: HashMap<String, HashMap<String, usize>>,
    versions: HashMap<u64, Arc<Compiled>>,
    by_id: HashMap<u32, u64>,
}

impl Catalogue {
    /// Reads and checks the whole folder. The error names the file, the place in it, and what is allowed there.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let mut catalogue = Self::default();
        for version in timeline::built_in() {
            let version = Arc::new(version);
            catalogue.versions.insert(version.command.fingerprint, version.clone());
            catalogue.timeline = Some(version);
        }
        for folder in source::list(dir)? {
            catalogue.add(&folder)?;
        }
        let versions = || catalogue.versions.values().map(|version| &version.command);
        if let Some((one, other)) = same_id(versions().map(|command| (command, command.id()))) {
            let name = |command: &Command| entry_name(&command.provider, &command.name, command.version);
            return Err(LoadError::Layout {
                path: dir.to_owned(),
                found: format!("{} and {} with one schema id, {}", name(one), name(other), one.id()),
                allowed: OWN_ID.to_owned(),
            });
        }
        catalogue.by_id = versions()
            .map(|command| (command.id(), command.fingerprint()))
            .collect();
        Ok(catalogue)
    }

    /// What the timeline's records are written with, as if it were a command: its text, its fingerprint, its
    /// [`history`](Self::history). It is none of the [`commands`](Self::commands).
    pub fn timeline(&self) -> &Command {
        &self.timeline.as_ref().expect("every loaded catalogue has one").command
    }

    /// The command that `provider` calls `command`.
    pub fn command(&self, provider: &str, command: &str) -> Option<&Command> {
        let index = *self.by_name.get(provider)?.get(command)?;
        Some(&self.commands[index].command)
    }

    /// All commands, sorted by provider and name.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = &Command> {
        self.commands.iter().map(|newest| &newest.command)
    }

    /// Every version of a command, the oldest first.
    pub fn history(&self, command: &Command) -> Vec<&Command> {
        let versions = self.versions.values().map(|version| &version.command);
        let own = versions.filter(|other| (&other.provider, &other.name) == (&command.provider, &command.name));
        let mut versions: Vec<_> = own.collect();
        versions.sort_by_key(|version| version.version);
        versions
    }

    /// Reads a record back, whichever version it was written with.
    pub fn decode(&self, framed: &[u8]) -> Result<Decoded, DecodeError> {
        let (framing, record) = Framing::split(framed).ok_or(DecodeError::NotFramed)?;
        let fingerprint = match framing {
            Framing::SingleObject { fingerprint } => fingerprint,
            Framing::Confluent { id } => *self.by_id.get(&id).ok_or(DecodeError::UnknownId { id })?,
        };
        let found = self.versions.get(&fingerprint);
        decode::decode(found.ok_or(DecodeError::UnknownSchema { fingerprint })?, record)
    }

    fn add(&mut self, folder: &CommandFolder) -> Result<(), LoadError> {
        let mut newest: Option<(Arc<Compiled>, Value)> = None;
        for (number, path) in &folder.versions {
            let file = SchemaFile::read(path)?;
            let compiled = Arc::new(file.compile(folder, *number).map_err(first)?);
            let broken = newest.map_or_else(Vec::new, |(_, before)| file.breaks(&before));
            if let Some(error) = broken.into_iter().next() {
                return Err(error);
            }
            let replaced = self.versions.insert(compiled.command.fingerprint, compiled.clone());
            if let Some(Command { provider, name, .. }) = replaced.as_ref().map(|other| &other.command)
                && (provider, name) != (&folder.provider, &folder.name)
            {
                return Err(LoadError::Layout {
                    path: path.clone(),
                    found: format!("the same record as that of {provider}/{name}"),
                    allowed: "a record of its own for each command".to_owned(),
                });
            }
            newest = Some((compiled, file.json));
        }
        if timeline::is_meant(folder) {
            return Ok(());
        }
        let names = self.by_name.entry(folder.provider.clone()).or_default();
        names.insert(folder.name.clone(), self.commands.len());
        self.commands.extend(newest.map(|(compiled, _)| compiled));
        Ok(())
    }
}

/// What the folder is refused for; `imbridge schemas lint` tells the rest.
fn first(errors: Vec<LoadError>) -> LoadError {
    errors.into_iter().next().expect("a refusal has a reason")
}
