//! What a disk can hold after a power cut. Everything that was synced is there. Each sector that was not synced is
//! there or not, independently of the others. Sectors of later writes replace those of earlier ones, so the outcomes
//! include every order of writing. A name that was added or removed without a sync of its folder may be there or not.
//! It does not know SQLite.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::log::{Operation, What};

/// The bytes that a disk writes atomically.
const SECTOR: usize = 512;

/// How much of the unsynced data has reached the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Luck {
    None,
    All,
    /// Each sector, size and name with this probability.
    Some(f64),
}

impl Luck {
    fn has(self, random: &mut fastrand::Rng) -> bool {
        match self {
            Luck::None => false,
            Luck::All => true,
            Luck::Some(probability) => random.f64() < probability,
        }
    }
}

/// A folder's files by name.
pub type Folder = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Write { offset: u64, data: &'a [u8] },
    Size(u64),
}

#[derive(Default)]
struct Contents<'a> {
    durable: Vec<u8>,
    /// With the number of the operation, and whether later syncs skip it since one has failed.
    pending: Vec<(usize, Change<'a>, bool)>,
}

enum Naming {
    Add(String, usize),
    Remove(String),
}

/// A disk that follows the operations of one process on one folder.
pub struct Model<'a> {
    contents: Vec<Contents<'a>>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<String, usize>,
    visible: BTreeMap<String, usize>,
    renamings: Vec<(usize, Naming)>,
    folder: Option<u64>,
    /// Syncs in progress, with the operation at which they began.
    syncs: HashMap<u64, usize>,
    count: usize,
}

impl<'a> Model<'a> {
    /// A disk on which this folder is synced.
    pub fn new(base: &Folder) -> Model<'a> {
        let contents = base.values().map(|bytes| Contents {
            durable: bytes.clone(),
            pending: Vec::new(),
        });
        let names: BTreeMap<String, usize> = base.keys().cloned().zip(0..).collect();
        Model {
            contents: contents.collect(),
            by_inode: HashMap::new(),
            visible: names.clone(),
            names,
            renamings: Vec::new(),
            folder: None,
            syncs: HashMap::new(),
            count: 0,
        }
    }

    /// Applies one more operation.
    pub fn apply(&mut self, operation: &Operation<'a>) {
        self.count += 1;
        match operation.what {
            What::Opened { name: "", .. } => self.folder = Some(operation.file),
            What::Opened { name, created } => self.open(name, operation.file, created),
            What::Wrote { offset, data } => self.change(operation.file, Change::Write { offset, data }),
            What::Truncated { size } => self.change(operation.file, Change::Size(size)),
            What::SyncBegan { number } => _ = self.syncs.insert(number, self.count),
            What::SyncEnded { number } => self.sync(operation.file, number),
            What::SyncFailed => {
                if let Some(contents) = self.by_inode.get(&operation.file) {
                    let pending = &mut self.contents[*contents].pending;
                    pending.iter_mut().for_each(|(_, _, skipped)| *skipped = true);
                }
            }
            What::SyncIgnored => {}
            What::Unlinked { name } => {
                self.visible.remove(name);
                self.rename(Naming::Remove(name.to_owned()));
            }
            What::Renamed { from, to } => {
                let contents = self.visible.remove(from).expect("what is renamed was there");
                self.visible.insert(to.to_owned(), contents);
                self.rename(Naming::Add(to.to_owned(), contents));
                self.rename(Naming::Remove(from.to_owned()));
            }
        }
    }

    fn open(&mut self, name: &str, inode: u64, created: bool) {
        if created {
            self.contents.push(Contents::default());
            let contents = self.contents.len() - 1;
            self.visible.insert(name.to_owned(), contents);
            self.rename(Naming::Add(name.to_owned(), contents));
        }
        // An existing name that is not known is a folder in the folder.
        if let Some(contents) = self.visible.get(name) {
            self.by_inode.insert(inode, *contents);
        }
    }

    fn rename(&mut self, naming: Naming) {
        self.renamings.push((self.count, naming));
    }

    fn change(&mut self, file: u64, change: Change<'a>) {
        let contents = self.by_inode[&file];
        self.contents[contents].pending.push((self.count, change, false));
    }

    fn sync(&mut self, file: u64, number: u64) {
        let began = self.syncs.remove(&number).expect("what ends has begun");
        if self.folder == Some(file) {
            let covered = self.renamings.partition_point(|(at, _)| *at < began);
            for (_, naming) in self.renamings.drain(..covered) {
                name(&mut self.names, naming);
            }
            return;
        }
        let Some(contents) = self.by_inode.get(&file) else {
            return;
        };
        let Contents { durable, pending } = &mut self.contents[*contents];
        let covered = pending.partition_point(|(at, _, _)| *at < began);
        for (_, change, skipped) in pending.drain(..covered) {
            if !skipped {
                put(durable, change, Luck::All, &mut fastrand::Rng::with_seed(0));
            }
        }
    }

    /// The folder after a power cut now.
    pub fn cut(&self, luck: Luck, random: &mut fastrand::Rng) -> Folder {
        let mut names = self.names.clone();
        for (_, naming) in &self.renamings {
            if luck.has(random) {
                let again = match naming {
                    Naming::Add(to, contents) => Naming::Add(to.clone(), *contents),
                    Naming::Remove(from) => Naming::Remove(from.clone()),
                };
                name(&mut names, again);
            }
        }
        let bytes = |contents: usize, random: &mut fastrand::Rng| {
            let contents = &self.contents[contents];
            let mut bytes = contents.durable.clone();
            for (_, change, _) in &contents.pending {
                put(&mut bytes, *change, luck, random);
            }
            bytes
        };
        names.into_iter().map(|(name, at)| (name, bytes(at, random))).collect()
    }
}

fn name(names: &mut BTreeMap<String, usize>, naming: Naming) {
    match naming {
        Naming::Add(to, contents) => _ = names.insert(to, contents),
        Naming::Remove(from) => _ = names.remove(&from),
    }
}

/// Applies a change to the disk, as far as `luck` allows.
fn put(bytes: &mut Vec<u8>, change: Change<'_>, luck: Luck, random: &mut fastrand::Rng) {
    match change {
        Change::Size(size) => {
            if luck.has(random) {
                bytes.resize(size as usize, 0);
            }
        }
        Change::Write { offset, data } => {
            let mut at = offset as usize;
            let mut rest = data;
            while !rest.is_empty() {
                let (sector, later) = rest.split_at((SECTOR - at % SECTOR).min(rest.len()));
                if luck.has(random) {
                    if bytes.len() < at + sector.len() {
                        bytes.resize(at + sector.len(), 0);
                    }
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
                at += sector.len();
                rest = later;
            }
        }
    }
}

/// The files of a folder.
pub fn read(folder: &Path) -> Folder {
    let entries = std::fs::read_dir(folder)
        .expect("it is readable")
        .map(|entry| entry.expect("it is readable"));
    let files = entries.filter(|entry| entry.path().is_file() && !entry.path().ends_with("spool.db-shm"));
    let named = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("names are text");
        (name, std::fs::read(entry.path()).expect("it is readable"))
    };
    files.map(named).collect()
}

/// Makes a folder hold these files and nothing else.
pub fn write(folder: &Path, files: &Folder) {
    std::fs::remove_dir_all(folder).ok();
    std::fs::create_dir_all(folder).expect("a temporary folder is writable");
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a temporary folder is writable");
        std::fs::write(path, bytes).expect("a temporary folder is writable");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(file: u64, what: What<'_>) -> Operation<'_> {
        Operation { file, at_ns: 0, what }
    }

    fn cuts(model: &Model<'_>) -> [Folder; 2] {
        let mut random = fastrand::Rng::with_seed(1);
        [Luck::None, Luck::All].map(|luck| model.cut(luck, &mut random))
    }

    #[test]
    fn synced_data_stays_and_other_data_may_be_lost() {
        let mut model = Model::new(&Folder::from([("a".to_owned(), b"old".to_vec())]));
        let opened = |created| What::Opened { name: "a", created };
        model.apply(&operation(1, opened(false)));
        model.apply(&operation(
            1,
            What::Wrote {
                offset: 0,
                data: b"new",
            },
        ));
        model.apply(&operation(1, What::SyncBegan { number: 1 }));
        model.apply(&operation(1, What::Wrote { offset: 3, data: b"er" }));
        let [none, all] = cuts(&model);
        assert_eq!(
            (none["a"].as_slice(), all["a"].as_slice()),
            (&b"old"[..], &b"newer"[..])
        );
        model.apply(&operation(1, What::SyncEnded { number: 1 }));
        assert_eq!(
            cuts(&model).map(|cut| cut["a"].clone()),
            [b"new".to_vec(), b"newer".to_vec()]
        );
    }

    #[test]
    fn a_name_stays_when_its_folder_is_synced() {
        let mut model = Model::new(&Folder::new());
        model.apply(&operation(
            1,
            What::Opened {
                name: "a",
                created: true,
            },
        ));
        model.apply(&operation(
            2,
            What::Opened {
                name: "",
                created: false,
            },
        ));
        assert_eq!(cuts(&model).map(|cut| cut.len()), [0, 1]);
        model.apply(&operation(2, What::SyncBegan { number: 1 }));
        model.apply(&operation(2, What::SyncEnded { number: 1 }));
        model.apply(&operation(0, What::Unlinked { name: "a" }));
        assert_eq!(cuts(&model).map(|cut| cut.len()), [1, 0]);
    }

    #[test]
    fn a_later_sync_does_not_make_durable_what_a_failed_one_covered() {
        let mut model = Model::new(&Folder::from([("a".to_owned(), Vec::new())]));
        model.apply(&operation(
            1,
            What::Opened {
                name: "a",
                created: false,
            },
        ));
        model.apply(&operation(1, What::Wrote { offset: 0, data: b"x" }));
        model.apply(&operation(1, What::SyncFailed));
        model.apply(&operation(1, What::SyncBegan { number: 2 }));
        model.apply(&operation(1, What::SyncEnded { number: 2 }));
        assert_eq!(cuts(&model)[0]["a"], b"");
    }

    #[test]
    fn writes_are_torn_at_sectors() {
        let mut model = Model::new(&Folder::from([("a".to_owned(), vec![0; 1024])]));
        let data = [1; 1024];
        model.apply(&operation(
            1,
            What::Opened {
                name: "a",
                created: false,
            },
        ));
        model.apply(&operation(1, What::Wrote { offset: 0, data: &data }));
        let mut random = fastrand::Rng::with_seed(1);
        let torn = (0..50).map(|_| model.cut(Luck::Some(0.5), &mut random)["a"].clone());
        let halves = |bytes: Vec<u8>| {
            (
                bytes[..512].iter().all(|b| *b == 1),
                bytes[512..].iter().all(|b| *b == 1),
            )
        };
        let seen: std::collections::HashSet<_> = torn.map(halves).collect();
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}
