//! The fingerprints of all versions of the folder, and the lock file `published.json`. The lock has the fingerprints of the
//! published versions, by which lint finds a version that was changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::LoadError;
use super::file::SchemaFile;
use super::fingerprint::{Fingerprint, digest_without_docs};
use super::source;

/// What the lock holds of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedVersion {
    /// CRC-64-AVRO, in hex as in the header. Readers look the schema up by it.
    pub fingerprint: String,
    /// SHA-256 of the file without its documentation. It covers the attributes that the fingerprint leaves out.
    pub sha256: String,
}

impl PublishedVersion {
    pub fn of(file: &SchemaFile) -> Result<Self, LoadError> {
        Ok(Self {
            fingerprint: file.fingerprint()?.header_hex(),
            sha256: digest_without_docs(&file.json),
        })
    }
}

/// The published versions, by `provider/command/vN`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Published(pub BTreeMap<String, PublishedVersion>);

impl Published {
    /// Reads the lock of a schemas folder. A folder without a lock has no published version.
    pub fn read(dir: &Path) -> Result<Self, LoadError> {
        source::read_json(dir.join(source::PUBLISHED)).map(Self)
    }

    /// Writes one line for each version, so that a diff of two locks is easy to read.
    fn write(&self, dir: &Path) -> Result<(), LoadError> {
        let line = |(name, version): (&String, &PublishedVersion)| {
            let version = serde_json::to_string(version).expect("strings are JSON");
            format!("  {}: {version}", Value::from(name.as_str()))
        };
        let lines: Vec<_> = self.0.iter().map(line).collect();
        let path = dir.join(source::PUBLISHED);
        fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n"))).map_err(LoadError::write(&path))
    }
}

/// The name of a version in the lock and in listings: `provider/command/vN`.
pub(super) fn version_name(provider: &str, command: &str, version: u32) -> String {
    format!("{provider}/{command}/v{version}")
}

/// Adds to the lock every version that is not in it, and returns their names. Existing entries stay as they are.
///
/// # Errors
/// If a file cannot be read or is not a schema, or if the lock cannot be written.
pub fn publish(dir: &Path) -> Result<Vec<String>, LoadError> {
    let mut published = Published::read(dir)?;
    let mut added = Vec::new();
    for folder in source::list(dir)? {
        for (version, path) in &folder.versions {
            let name = version_name(&folder.provider, &folder.name, *version);
            if !published.0.contains_key(&name) {
                let version = PublishedVersion::of(&SchemaFile::read(path)?)?;
                published.0.insert(name.clone(), version);
                added.push(name);
            }
        }
    }
    if !added.is_empty() {
        published.write(dir)?;
    }
    Ok(added)
}

/// A version and its fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPrint {
    /// The name on the wire.
    pub command: String,
    /// `provider/command/vN`.
    pub name: String,
    /// The fingerprints of its Parsing Canonical Form.
    pub fingerprint: Fingerprint,
}

/// The fingerprints of all versions, sorted by provider, command and version.
///
/// # Errors
/// If a file of the folder cannot be read or is not a schema.
pub fn fingerprints(dir: &Path) -> Result<Vec<VersionPrint>, LoadError> {
    let mut prints = Vec::new();
    for folder in source::list(dir)? {
        for (version, path) in &folder.versions {
            prints.push(VersionPrint {
                command: folder.name.clone(),
                name: version_name(&folder.provider, &folder.name, *version),
                fingerprint: SchemaFile::read(path)?.fingerprint()?,
            });
        }
    }
    Ok(prints)
}
