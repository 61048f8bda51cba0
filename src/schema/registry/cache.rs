//! The numbers that a registry has given, in a file that outlives the process. A number never changes, so the file only
//! grows, by one entry for each schema. Knows no registry: what is not here is asked elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

const FORMAT: u32 = 1;

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    document: Document,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    ids: BTreeSet<Entry>,
}

/// A schema's number in one registry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub registry: String,
    pub subject: String,
    #[serde(with = "hex::serde")]
    pub fingerprint: [u8; 8],
    pub id: u32,
}

impl Cache {
    /// Reads the file. One that cannot be understood is set aside, and everything is asked anew.
    pub fn open(path: PathBuf) -> Cache {
        let document = match fs::read(&path) {
            Ok(bytes) => parse(&bytes)
                .inspect_err(|problem| {
                    let aside = path.with_extension("json.bad");
                    let moved = fs::rename(&path, &aside).is_ok();
                    warn!(path = %path.display(), problem, moved, "the registry's ids are not readable: the file is set aside, they are looked up again");
                })
                .ok(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => {
                warn!(path = %path.display(), %cause, "the registry's ids cannot be read: they are looked up again");
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
        let place = (registry, subject, fingerprint.to_be_bytes());
        let mut ids = self.document.ids.iter();
        let found = ids.find(|entry| (&*entry.registry, &*entry.subject, entry.fingerprint) == place);
        found.map(|entry| entry.id)
    }

    /// Adds a number and writes the file: the new one is whole on disk before it takes the old one's name.
    pub fn put(&mut self, entry: Entry) -> io::Result<()> {
        self.document.ids.insert(entry);
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
        return Err(format!("format {}, known is {FORMAT}", document.format));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(registry: &str, fingerprint: u64, id: u32) -> Entry {
        Entry {
            registry: registry.into(),
            subject: "s".into(),
            fingerprint: fingerprint.to_be_bytes(),
            id,
        }
    }

    #[test]
    fn ids_outlive_the_process_and_belong_to_one_registry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.json");
        Cache::open(path.clone()).put(entry("a", u64::MAX, 7)).unwrap();
        Cache::open(path.clone()).put(entry("b", 1, 8)).unwrap();
        let cache = Cache::open(path);
        assert_eq!(cache.get("a", "s", u64::MAX), Some(7));
        assert_eq!(cache.get("b", "s", 1), Some(8));
        assert_eq!(cache.get("b", "s", u64::MAX), None);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_is_not_understood_is_set_aside() {
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
