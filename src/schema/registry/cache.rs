//! A file with the ids that registries have given to schemas. An id never changes, so entries are only added, one for each
//! schema. Does not ask a registry.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

const FORMAT: u32 = 1;

/// The file and its content.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    document: Document,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    ids: BTreeSet<CachedId>,
}

/// The id of a schema in one registry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CachedId {
    pub registry: String,
    pub subject: String,
    #[serde(with = "hex::serde")]
    pub fingerprint: [u8; 8],
    pub id: u32,
}

impl Cache {
    /// Reads the file. A file that is not valid is renamed to `*.json.bad`, and all ids are looked up again.
    pub fn open(path: PathBuf) -> Cache {
        let document = match fs::read(&path) {
            Ok(bytes) => parse(&bytes)
                .inspect_err(|problem| {
                    let moved = fs::rename(&path, path.with_extension("json.bad")).is_ok();
                    warn!(path = %path.display(), problem, moved, "the file of registry ids is not valid: it is renamed to *.json.bad, and the ids are looked up again");
                })
                .ok(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => {
                warn!(path = %path.display(), %cause, "cannot read the file of registry ids: they are looked up again");
                None
            }
        };
        let document = document.unwrap_or_else(|| Document {
            format: FORMAT,
            ids: BTreeSet::new(),
        });
        Cache { path, document }
    }

    pub fn get(&self, registry: &str, subject: &str, fingerprint: u64) -> Option<u32> {
        let wanted = (registry, subject, fingerprint.to_be_bytes());
        let mut ids = self.document.ids.iter();
        let found = ids.find(|cached| (&*cached.registry, &*cached.subject, cached.fingerprint) == wanted);
        found.map(|cached| cached.id)
    }

    /// Adds an id and writes the file. The new file is written and synced before it replaces the old one.
    pub fn put(&mut self, id: CachedId) -> io::Result<()> {
        self.document.ids.insert(id);
        let part = self.path.with_extension("json.part");
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec_pretty(&self.document)?)?;
        file.sync_all()?;
        fs::rename(&part, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn parse(bytes: &[u8]) -> Result<Document, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|cause| cause.to_string())?;
    if document.format != FORMAT {
        return Err(format!("format {}, expected {FORMAT}", document.format));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(registry: &str, fingerprint: u64, id: u32) -> CachedId {
        CachedId {
            registry: registry.into(),
            subject: "s".into(),
            fingerprint: fingerprint.to_be_bytes(),
            id,
        }
    }

    #[test]
    fn ids_are_kept_on_disk_for_each_registry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.json");
        Cache::open(path.clone()).put(entry("a", u64::MAX, 7)).unwrap();
        Cache::open(path.clone()).put(entry("b", 1, 8)).unwrap();
        let cache = Cache::open(path);
        assert_eq!(cache.get("a", "s", u64::MAX), Some(7));
        assert_eq!(cache.get("b", "s", 1), Some(8));
        assert_eq!(cache.get("b", "s", u64::MAX), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn a_file_that_is_not_valid_is_renamed() {
        for text in ["", "{", r#"{"format":2,"ids":[]}"#, r#"{"format":1,"ids":[{"id":1}]}"#] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ids.json");
            fs::write(&path, text).unwrap();
            let mut cache = Cache::open(path.clone());
            assert_eq!(fs::read_to_string(folder.path().join("ids.json.bad")).unwrap(), text);
            cache.put(entry("a", 1, 7)).unwrap();
            assert_eq!(Cache::open(path).get("a", "s", 1), Some(7));
        }
    }
}
