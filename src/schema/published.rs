//! The lock file `published.json`: what each published version said, so that one that changes is found. Knows no rule of
//! a schema; that a version must not change is the only one here.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::LoadError;
use super::file::SchemaFile;
use super::fingerprint::digest_without_docs;
use super::source;

/// What is kept of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// CRC-64-AVRO, in hex as in the header: what readers look the schema up by.
    pub fingerprint: String,
    /// SHA-256 of the file without its documentation: what else the bridge does by it.
    pub sha256: String,
}

impl Entry {
    pub fn of(file: &SchemaFile) -> Result<Self, LoadError> {
        Ok(Self {
            fingerprint: file.fingerprint()?.header_hex(),
            sha256: digest_without_docs(&file.json),
        })
    }
}

/// The entries, by `provider/command/vN`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Published(pub BTreeMap<String, Entry>);

impl Published {
    /// Reads the lock of a schemas folder; a folder without one has published nothing.
    pub fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join(source::PUBLISHED);
        match fs::read_to_string(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(LoadError::Read { path, cause }),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(entries) => Ok(Self(entries)),
                Err(cause) => Err(LoadError::Json { path, cause }),
            },
        }
    }

    /// One line for each entry, so that a difference between two locks reads well.
    fn write(&self, dir: &Path) -> io::Result<()> {
        let line = |(name, entry): (&String, &Entry)| {
            let entry = serde_json::to_string(entry).expect("strings are JSON");
            format!("  {}: {entry}", Value::from(name.as_str()))
        };
        let lines: Vec<_> = self.0.iter().map(line).collect();
        fs::write(dir.join(source::PUBLISHED), format!("{{\n{}\n}}\n", lines.join(",\n")))
    }
}

/// The name of a version in the lock and in listings.
pub(super) fn entry_name(provider: &str, command: &str, version: u32) -> String {
    format!("{provider}/{command}/v{version}")
}

/// Adds every version that has no entry to the lock, and names them. Entries that are there stay as they are.
///
/// # Errors
/// When a file cannot be read or is no schema, or the lock cannot be written.
pub fn publish(dir: &Path) -> Result<Vec<String>, LoadError> {
    let mut published = Published::read(dir)?;
    let mut added = Vec::new();
    for folder in source::list(dir)? {
        for (version, path) in &folder.versions {
            let name = entry_name(&folder.provider, &folder.name, *version);
            if !published.0.contains_key(&name) {
                let entry = Entry::of(&SchemaFile::read(path)?)?;
                published.0.insert(name.clone(), entry);
                added.push(name);
            }
        }
    }
    if !added.is_empty() {
        published.write(dir).map_err(|cause| LoadError::Write {
            path: dir.join(source::PUBLISHED),
            cause,
        })?;
    }
    Ok(added)
}
