//! The numbers that a registry has given, in a file that outlives the process. A number never changes, so the file only
//! grows, by one entry for each schema. Knows no registry: what is not here is asked elsewhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

const FORMAT: u32 = 1;

/// A schema in one registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub registry: String,
    pub subject: String,
    pub fingerprint: u64,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    ids: BTreeMap<Place, u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    ids: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    registry: String,
    subject: String,
    fingerprint: String,
    id: u32,
}

impl Cache {
    /// Reads the file. One that cannot be understood is set aside, and everything is asked anew.
    pub fn open(path: PathBuf) -> Cache {
        let ids = match fs::read(&path) {
            Ok(bytes) => parse(&bytes).unwrap_or_else(|problem| {
                let aside = path.with_extension("json.bad");
                let moved = fs::rename(&path, &aside).is_ok();
                warn!(path = %path.display(), problem, moved, "the registry's ids are not readable: the file is set aside, they are looked up again");
                BTreeMap::new()
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => {
                warn!(path = %path.display(), %cause, "the registry's ids cannot be read: they are looked up again");
                BTreeMap::new()
            }
        };
        Cache { path, ids }
    }

    pub fn get(&self, place: &Place) -> Option<u32> {
        self.ids.get(place).copied()
    }

    /// Adds a number and writes the file: the new one is whole on disk before it takes the old one's name.
    pub fn put(&mut self, place: Place, id: u32) -> io::Result<()> {
        self.ids.insert(place, id);
        let entry = |(place, id): (&Place, &u32)| Entry {
            registry: place.registry.clone(),
            subject: place.subject.clone(),
            fingerprint: format!("{:016x}", place.fingerprint),
            id: *id,
        };
        let document = Document {
            format: FORMAT,
            ids: self.ids.iter().map(entry).collect(),
        };
        let part = self.path.with_extension("json.part");
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec_pretty(&document)?)?;
        file.sync_all()?;
        fs::rename(&part, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<Place, u32>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|cause| cause.to_string())?;
    if document.format != FORMAT {
        return Err(format!("format {}, known is {FORMAT}", document.format));
    }
    let entry = |entry: Entry| {
        let place = Place {
            registry: entry.registry,
            subject: entry.subject,
            fingerprint: u64::from_str_radix(&entry.fingerprint, 16).map_err(|cause| cause.to_string())?,
        };
        Ok((place, entry.id))
    };
    document.ids.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(registry: &str, fingerprint: u64) -> Place {
        Place {
            registry: registry.into(),
            subject: "s".into(),
            fingerprint,
        }
    }

    #[test]
    fn ids_outlive_the_process_and_belong_to_one_registry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.json");
        Cache::open(path.clone()).put(place("a", u64::MAX), 7).unwrap();
        Cache::open(path.clone()).put(place("b", 1), 8).unwrap();
        let cache = Cache::open(path);
        assert_eq!(cache.get(&place("a", u64::MAX)), Some(7));
        assert_eq!(cache.get(&place("b", 1)), Some(8));
        assert_eq!(cache.get(&place("b", u64::MAX)), None);
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
            cache.put(place("a", 1), 7).unwrap();
            assert_eq!(Cache::open(path).get(&place("a", 1)), Some(7));
        }
    }
}
