//! The subjects: which versions each has, with id and text. Knows no request.

use std::collections::BTreeMap;

use crate::schema::registry::published;
use crate::schema::{Catalogue, Command};

/// One version under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// As in the name of its file.
    pub number: u32,
    /// As in front of its records.
    pub id: u32,
    /// The text for readers: without the attributes that only the bridge reads.
    pub schema: String,
}

/// Every subject with its versions, the oldest first.
#[derive(Debug, Default)]
pub struct Subjects(BTreeMap<String, Vec<Version>>);

impl Subjects {
    /// Those of these schemas, each under its name.
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

    /// Everything, by subject and number.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.0
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(move |version| (name.as_str(), version)))
    }
}
