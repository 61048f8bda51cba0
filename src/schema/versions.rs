//! The fingerprints of every version in the folder, newest or not.

use std::path::Path;

use super::error::LoadError;
use super::file::SchemaFile;
use super::fingerprint::Fingerprint;
use super::published::entry_name;
use super::source;

/// One version and its fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPrint {
    /// The name on the wire.
    pub command: String,
    /// `provider/command/vN`.
    pub name: String,
    /// Of its Parsing Canonical Form.
    pub fingerprint: Fingerprint,
}

/// The fingerprints of all versions, sorted by provider, command and version.
///
/// # Errors
/// When something in the folder cannot be read or is no schema.
pub fn fingerprints(dir: &Path) -> Result<Vec<VersionPrint>, LoadError> {
    let mut prints = Vec::new();
    for folder in source::list(dir)? {
        for (version, path) in &folder.versions {
            prints.push(VersionPrint {
                command: folder.name.clone(),
                name: entry_name(&folder.provider, &folder.name, *version),
                fingerprint: SchemaFile::read(path)?.fingerprint()?,
            });
        }
    }
    Ok(prints)
}
