//! The vocabulary `kinds.json`: the kinds of events and their definitions. Only documents and lint use it; publishing does
//! not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{Finding, LoadError};
use super::location::{Findings, Located};
use super::source;

/// The definition of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// What happened.
    pub means: String,
    /// Who the actor is. None if the kind never has an actor.
    pub actor: Option<String>,
    /// Who the targets are. None if the kind never has targets.
    pub targets: Option<String>,
}

/// The kinds by name.
#[derive(Debug, Default)]
pub(super) struct Kinds(pub BTreeMap<String, Definition>);

impl Kinds {
    /// Reads the vocabulary of a schemas folder. A folder without one has no kinds.
    pub fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join(source::KINDS);
        let kinds: BTreeMap<String, Definition> = source::read_json(path.clone())?;
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let is_name = |name: &str| {
            name.split_once('.')
                .is_some_and(|(what, how)| is_word(what) && is_word(how))
        };
        match kinds.keys().find(|name| !is_name(name)) {
            None => Ok(Self(kinds)),
            Some(name) => Err(LoadError::Rule(Finding::of_file(
                path,
                format!("the kind {name:?}"),
                "two words of a-z and _ with a dot between them",
            ))),
        }
    }

    /// Checks that the kinds which a command's record declares are defined. A record may declare an actor or targets only
    /// if one of its kinds has them.
    pub fn check(&self, record: &Located<'_>, findings: &mut Findings) {
        let Some(attributes) = record.get("imbridge") else {
            return;
        };
        let declared = declared(&attributes);
        for kind in &declared {
            if let Some(name) = kind.value.as_str()
                && !self.0.contains_key(name)
            {
                let names: Vec<_> = self.0.keys().map(String::as_str).collect();
                findings.push(kind.finding(format!("a kind that {} defines: {}", source::KINDS, names.join(", "))));
            }
        }
        let definitions: Vec<_> = declared
            .iter()
            .filter_map(|kind| self.0.get(kind.value.as_str()?))
            .collect();
        for (name, is_defined) in [
            ("actor", definitions.iter().any(|kind| kind.actor.is_some())),
            ("targets", definitions.iter().any(|kind| kind.targets.is_some())),
        ] {
            if let Some(attribute) = attributes.get(name).filter(|_| !definitions.is_empty() && !is_defined) {
                findings.push(attribute.finding(format!("nothing: the kind has no {name}")));
            }
        }
    }
}

/// The kinds that a command's attributes name.
fn declared<'a>(attributes: &Located<'a>) -> Vec<Located<'a>> {
    let Some(kind) = attributes.get("kind") else {
        return Vec::new();
    };
    let Some(is) = kind.get("is") else {
        return vec![kind];
    };
    let values = is.value.as_object().into_iter().flatten();
    values.filter_map(|(value, _)| is.get(value)).collect()
}
