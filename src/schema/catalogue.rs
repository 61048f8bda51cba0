//! All commands of the schemas folder, each in all its versions. Loaded as a whole and never changed after that.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::command::Command;
use super::decode::{self, DecodeError, Decoded};
use super::error::LoadError;
use super::file::{Compiled, SchemaFile};
use super::fingerprint::{UNIQUE_ID, id_collision};
use super::framing::Framing;
use super::published::version_name;
use super::source::{self, CommandFolder};
use super::timeline;

/// The commands by provider and name, and every version by its fingerprint and by the id that is computed from it.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// The newest version of each command, sorted by provider and name.
    commands: Vec<Arc<Compiled>>,
    /// The schema of the timeline's records. It is set by [`load`](Self::load).
    timeline: Option<Arc<Compiled>>,
    versions: HashMap<u64, Arc<Compiled>>,
    by_id: HashMap<u32, u64>,
}

impl Catalogue {
    /// Reads and checks the whole folder.
    ///
    /// # Errors
    /// The first fault, with the file, the place in it, and what is allowed there.
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
        if let Some((one, other)) = id_collision(versions().map(|command| (command, command.id()))) {
            let name = |command: &Command| version_name(&command.provider, &command.name, command.version);
            let found = format!("{} and {} with one schema id, {}", name(one), name(other), one.id());
            return Err(LoadError::layout(dir, found, UNIQUE_ID));
        }
        catalogue.by_id = versions()
            .map(|command| (command.id(), command.fingerprint()))
            .collect();
        Ok(catalogue)
    }

    /// The schema of the timeline's records, in the form of a command: its text, its fingerprint, its
    /// [`history`](Self::history). It is not among the [`commands`](Self::commands).
    pub fn timeline(&self) -> &Command {
        &self.timeline.as_ref().expect("every loaded catalogue has one").command
    }

    /// The command with this name of this provider.
    pub fn command(&self, provider: &str, command: &str) -> Option<&Command> {
        let order = |newest: &Arc<Compiled>| newest.command.names().cmp(&(provider, command));
        Some(&self.commands[self.commands.binary_search_by(order).ok()?].command)
    }

    /// All commands, sorted by provider and name.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = &Command> {
        self.commands.iter().map(|newest| &newest.command)
    }

    /// Every version of a command, the oldest first.
    pub fn history(&self, command: &Command) -> Vec<&Command> {
        let versions = self.versions.values().map(|version| &version.command);
        let mut versions: Vec<_> = versions.filter(|other| other.names() == command.names()).collect();
        versions.sort_by_key(|version| version.version);
        versions
    }

    /// Decodes a record that was written with any version of any command.
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
            let findings = newest.map_or_else(Vec::new, |(_, before)| file.compare(&before));
            if let Some(finding) = findings.into_iter().next() {
                return Err(LoadError::Rule(finding));
            }
            let replaced = self.versions.insert(compiled.command.fingerprint, compiled.clone());
            if let Some(Command { provider, name, .. }) = replaced.as_ref().map(|other| &other.command)
                && (provider, name) != (&folder.provider, &folder.name)
            {
                let found = format!("the same record as that of {provider}/{name}");
                return Err(LoadError::layout(path, found, "a record of its own for each command"));
            }
            newest = Some((compiled, file.json));
        }
        if !timeline::is_timeline(folder) {
            self.commands.extend(newest.map(|(compiled, _)| compiled));
        }
        Ok(())
    }
}

/// The error that loading returns. `imbridge schemas lint` reports the others too.
fn first(errors: Vec<LoadError>) -> LoadError {
    errors.into_iter().next().expect("a failure has at least one error")
}
