//! The vocabulary `kinds.json`: which kinds of events there are, and what each of them says. Data for people and for lint;
//! nothing on the way to Kafka looks here.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;

use super::error::{Finding, LoadError};
use super::location::{Faults, Located};
use super::source;

/// What a kind says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// What happened.
    pub means: String,
    /// Who the actor is; none where there never is one.
    pub actor: Option<String>,
    /// Who the targets are; none where there never are any.
    pub targets: Option<String>,
}

/// The kinds by name.
#[derive(Debug, Default)]
pub(super) struct Kinds(pub BTreeMap<String, Definition>);

impl Kinds {
    /// Reads the vocabulary of a schemas folder; a folder without one has no kinds.
    pub fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join(source::KINDS);
        let kinds: BTreeMap<String, Definition> = match fs::read_to_string(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(LoadError::Read { path, cause }),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(kinds) => kinds,
                Err(cause) => return Err(LoadError::Json { path, cause }),
            },
        };
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let is_name = |name: &str| name.split_once('.').is_some_and(|(what, how)| word(what) && word(how));
        match kinds.keys().find(|name| !is_name(name)) {
            None => Ok(Self(kinds)),
            Some(name) => Err(LoadError::Rule(Finding {
                path,
                place: "$".to_owned(),
                found: format!("the kind {name:?}"),
                allowed: "two words of a-z and _ with a dot between them".to_owned(),
            })),
        }
    }

    /// Whether a command's record declares kinds that are there, and no more about them than they say.
    pub fn check(&self, record: &Located<'_>, faults: &mut Faults) {
        let Some(attributes) = record.get("imbridge") else {
            return;
        };
        let declared = declared(&attributes);
        for kind in &declared {
            if let Some(name) = kind.value.as_str()
                && !self.0.contains_key(name)
            {
                let names: Vec<_> = self.0.keys().map(String::as_str).collect();
                let fault = kind.fault(format!("a kind that {} defines: {}", source::KINDS, names.join(", ")));
                faults.note::<()>(Err(fault));
            }
        }
        let own: Vec<_> = declared
            .iter()
            .filter_map(|kind| self.0.get(kind.value.as_str()?))
            .collect();
        for (name, is_said) in [
            ("actor", own.iter().any(|kind| kind.actor.is_some())),
            ("targets", own.iter().any(|kind| kind.targets.is_some())),
        ] {
            if let Some(said) = attributes.get(name).filter(|_| !own.is_empty() && !is_said) {
                faults.note::<()>(Err(said.fault(format!("nothing: the kind has no {name}"))));
            }
        }
    }
}

/// The kinds that a command's attributes name.
pub(super) fn declared<'a>(attributes: &Located<'a>) -> Vec<Located<'a>> {
    let Some(kind) = attributes.get("kind") else {
        return Vec::new();
    };
    let Some(is) = kind.get("is") else {
        return vec![kind];
    };
    let values = is.value.as_object().into_iter().flatten();
    values.filter_map(|(value, _)| is.get(value)).collect()
}
