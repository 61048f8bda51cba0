//! The subjects, and the id and text of each version. It does not know requests.

use std::collections::BTreeMap;

use crate::schema::registry::published;
use crate::schema::{Catalogue, Command};

/// One version under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// The number in the name of its file.
    pub number: u32,
    /// The id in front of its records.
    pub id: u32,
    /// The text for consumers, without the attributes that only the bridge reads.
    pub schema: String,
}

/// Every subject with its versions, the oldest first.
#[derive(Debug, Default)]
pub struct Subjects(BTreeMap<String, Vec<Version>>);

impl Subjects {
    /// The subjects of these commands, with all versions of each.
    pub fn of<'c>(catalogue: &Catalogue, subjects: impl IntoIterator<Item = (&'c Command, String)>) -> Subjects {
        let version = |command: &Command| Version {
            number: command.version(),
            id: command.id(),
            schema: published(command.schema()).expect("a catalogue's schemas are JSON"),
        };
        let versions = |command| catalogue.history(command).into_iter().map(version).collect();
        let subjects = subjects.into_iter();
        Subjects(
            subjects
                .map(|(command, subject)| (subject, versions(command)))
                .collect(),
        )
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A subject's versions, at least one.
    pub(super) fn versions(&self, subject: &str) -> Option<&[Version]> {
        self.0.get(subject).map(Vec::as_slice)
    }

    /// All versions, ordered by subject and number.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.0
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(move |version| (name.as_str(), version)))
    }
}
