//! The folder on disk: which files there are, and that there are no others. Knows names and versions, not what the
//! files say.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::error::LoadError;

/// What lies at the top of the folder beside the providers' folders: the contract, what has been published, and the kinds.
pub(super) const README: &str = "README.md";
pub(super) const PUBLISHED: &str = "published.json";
pub(super) const KINDS: &str = "kinds.json";

/// One command's folder.
#[derive(Debug)]
pub(super) struct CommandFolder {
    pub provider: String,
    pub name: String,
    /// Numbers and files of the versions, in order.
    pub versions: Vec<(u32, PathBuf)>,
}

/// Lists the commands of a schemas folder, sorted by provider and name.
pub(super) fn list(dir: &Path) -> Result<Vec<CommandFolder>, LoadError> {
    let (folders, errors) = scan(dir);
    errors.into_iter().next().map_or(Ok(folders), Err)
}

/// Lists the commands that can be listed, and everything that is wrong.
pub(super) fn scan(dir: &Path) -> (Vec<CommandFolder>, Vec<LoadError>) {
    let mut folders = Vec::new();
    let mut errors = Vec::new();
    for (provider, path) in entries(dir, &mut errors) {
        if [README, PUBLISHED, KINDS].contains(&provider.as_str()) {
            continue;
        }
        if !path.is_dir() || !is_provider(&provider) {
            errors.push(layout(
                &path,
                "not a provider's folder",
                "folders named [a-z][a-z0-9_]*, README.md, published.json, kinds.json",
            ));
            continue;
        }
        for (name, path) in entries(&path, &mut errors) {
            if path.is_dir() && is_command(&name) {
                folders.push(command(provider.clone(), name, &path, &mut errors));
            } else {
                errors.push(layout(
                    &path,
                    "not a command's folder",
                    "folders named [a-zA-Z0-9._-]+, no dot at either end",
                ));
            }
        }
    }
    (folders, errors)
}

fn command(provider: String, name: String, path: &Path, errors: &mut Vec<LoadError>) -> CommandFolder {
    let mut versions = Vec::new();
    for (file, path) in entries(path, errors) {
        if file == "sample.json" {
            continue;
        }
        match version(&file) {
            Some(version) if path.is_file() => versions.push((version, path)),
            _ => errors.push(layout(
                &path,
                "not a version",
                "v1.avsc, v2.avsc and so on, sample.json",
            )),
        }
    }
    versions.sort();
    let gap = (1..)
        .zip(&versions)
        .find(|(expected, (version, _))| version != expected);
    if let Some((expected, _)) = gap {
        errors.push(layout(
            path,
            &format!("v{expected}.avsc is missing"),
            "versions from 1 without a gap",
        ));
    }
    if versions.is_empty() {
        errors.push(layout(path, "no version", "at least v1.avsc"));
    }
    CommandFolder {
        provider,
        name,
        versions,
    }
}

fn version(file: &str) -> Option<u32> {
    let number = file.strip_prefix('v')?.strip_suffix(".avsc")?;
    let version: u32 = number.parse().ok()?;
    (version > 0 && version.to_string() == number).then_some(version)
}

pub(super) fn is_provider(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

pub(super) fn is_command(name: &str) -> bool {
    !name.starts_with('.')
        && !name.ends_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn entries(dir: &Path, errors: &mut Vec<LoadError>) -> Vec<(String, PathBuf)> {
    let read = || -> io::Result<Vec<_>> {
        let entry = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
        fs::read_dir(dir)?.map(|found| found.map(entry)).collect()
    };
    let mut entries = read().unwrap_or_else(|cause| {
        errors.push(LoadError::Read {
            path: dir.to_owned(),
            cause,
        });
        Vec::new()
    });
    entries.sort();
    entries
}

fn layout(path: &Path, found: &str, allowed: &str) -> LoadError {
    LoadError::Layout {
        path: path.to_owned(),
        found: found.to_owned(),
        allowed: allowed.to_owned(),
    }
}
