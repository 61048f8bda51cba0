//! The layout of the schemas folder: lists its files and reports files that do not belong there. Knows names and
//! versions, not the files' content.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::de::DeserializeOwned;

use super::error::LoadError;

/// The files at the top of the folder, beside the providers' folders: the rules, the lock of published versions, the kinds.
pub(super) const README: &str = "README.md";
pub(super) const PUBLISHED: &str = "published.json";
pub(super) const KINDS: &str = "kinds.json";

/// One command's folder.
#[derive(Debug)]
pub(super) struct CommandFolder {
    pub provider: String,
    pub name: String,
    /// The number and the file of each version, in order.
    pub versions: Vec<(u32, PathBuf)>,
}

/// Lists the commands of a schemas folder, sorted by provider and name.
pub(super) fn list(dir: &Path) -> Result<Vec<CommandFolder>, LoadError> {
    let (folders, errors) = scan(dir);
    errors.into_iter().next().map_or(Ok(folders), Err)
}

/// Lists the commands that are named correctly, and all faults of the layout.
pub(super) fn scan(dir: &Path) -> (Vec<CommandFolder>, Vec<LoadError>) {
    let mut folders = Vec::new();
    let mut errors = Vec::new();
    for (provider, path) in entries(dir, &mut errors) {
        if [README, PUBLISHED, KINDS].contains(&provider.as_str()) {
            continue;
        }
        if !path.is_dir() || !is_provider(&provider) {
            let allowed = "folders named [a-z][a-z0-9_]*, README.md, published.json, kinds.json";
            errors.push(LoadError::layout(&path, "not a provider's folder", allowed));
            continue;
        }
        for (name, path) in entries(&path, &mut errors) {
            if path.is_dir() && is_command(&name) {
                folders.push(command(provider.clone(), name, &path, &mut errors));
            } else {
                let allowed = "folders named [a-zA-Z0-9._-]+, no dot at either end";
                errors.push(LoadError::layout(&path, "not a command's folder", allowed));
            }
        }
    }
    (folders, errors)
}

fn command(provider: String, name: String, path: &Path, errors: &mut Vec<LoadError>) -> CommandFolder {
    let mut versions = Vec::new();
    for (file, path) in entries(path, errors) {
        let allowed = "v1.avsc, v2.avsc and so on, sample.json";
        match version(&file) {
            Some(version) if path.is_file() => versions.push((version, path)),
            _ if file == "sample.json" => {}
            _ => errors.push(LoadError::layout(&path, "not a version", allowed)),
        }
    }
    versions.sort();
    let mut numbered = (1..).zip(&versions);
    if let Some((expected, _)) = numbered.find(|(expected, (version, _))| version != expected) {
        let found = format!("v{expected}.avsc is missing");
        errors.push(LoadError::layout(path, found, "versions from 1 without a gap"));
    }
    if versions.is_empty() {
        errors.push(LoadError::layout(path, "no version", "at least v1.avsc"));
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
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_allowed)
}

pub(super) fn is_command(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.starts_with('.') && !name.ends_with('.') && name.chars().all(is_allowed)
}

/// Reads a JSON file of the folder. An absent file gives the default.
pub(super) fn read_json<T: DeserializeOwned + Default>(path: PathBuf) -> Result<T, LoadError> {
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|cause| LoadError::Json { path, cause }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(cause) => Err(LoadError::Read { path, cause }),
    }
}

fn entries(dir: &Path, errors: &mut Vec<LoadError>) -> Vec<(String, PathBuf)> {
    let read = || -> io::Result<Vec<_>> {
        let entry = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
        fs::read_dir(dir)?.map(|found| found.map(entry)).collect()
    };
    let found = read().map_err(|cause| errors.push(LoadError::read(dir)(cause)));
    let mut entries = found.unwrap_or_default();
    entries.sort();
    entries
}
