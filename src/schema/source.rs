//! The folder on disk: which files there are, and that there are no others. Knows names and versions, not what the
//! files say.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::LoadError;

/// One command's folder.
#[derive(Debug)]
pub(super) struct CommandFolder {
    pub provider: String,
    pub name: String,
    /// The files of versions 1, 2, and so on.
    pub versions: Vec<PathBuf>,
}

/// Lists the commands of a schemas folder, sorted by provider and name.
pub(super) fn list(dir: &Path) -> Result<Vec<CommandFolder>, LoadError> {
    let mut folders = Vec::new();
    for (provider, path) in entries(dir)? {
        if provider == "README.md" {
            continue;
        }
        if !path.is_dir() || !is_provider(&provider) {
            return Err(layout(
                &path,
                "not a provider's folder",
                "folders named [a-z][a-z0-9_]*, README.md",
            ));
        }
        for (name, path) in entries(&path)? {
            folders.push(command(provider.clone(), name, &path)?);
        }
    }
    Ok(folders)
}

fn command(provider: String, name: String, path: &Path) -> Result<CommandFolder, LoadError> {
    if !path.is_dir() || !is_command(&name) {
        return Err(layout(
            path,
            "not a command's folder",
            "folders named [a-zA-Z0-9._-]+, no dot at either end",
        ));
    }
    let mut versions = Vec::new();
    for (file, path) in entries(path)? {
        if file == "sample.json" {
            continue;
        }
        match version(&file) {
            Some(version) if path.is_file() => versions.push((version, path)),
            _ => {
                return Err(layout(
                    &path,
                    "not a version",
                    "v1.avsc, v2.avsc and so on, sample.json",
                ));
            }
        }
    }
    versions.sort();
    for (expected, (version, _)) in (1..).zip(&versions) {
        if *version != expected {
            return Err(layout(
                path,
                &format!("v{expected}.avsc is missing"),
                "versions from 1 without a gap",
            ));
        }
    }
    if versions.is_empty() {
        return Err(layout(path, "no version", "at least v1.avsc"));
    }
    Ok(CommandFolder {
        provider,
        name,
        versions: versions.into_iter().map(|(_, path)| path).collect(),
    })
}

fn version(file: &str) -> Option<u32> {
    let number = file.strip_prefix('v')?.strip_suffix(".avsc")?;
    let version: u32 = number.parse().ok()?;
    (version > 0 && version.to_string() == number).then_some(version)
}

fn is_provider(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_command(name: &str) -> bool {
    !name.starts_with('.')
        && !name.ends_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, LoadError> {
    let unreadable = |source| LoadError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}

fn layout(path: &Path, found: &str, allowed: &str) -> LoadError {
    LoadError::Layout {
        path: path.to_owned(),
        found: found.to_owned(),
        allowed: allowed.to_owned(),
    }
}
