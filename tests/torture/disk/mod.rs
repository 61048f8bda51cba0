//! Control over the bridge's disk: a library between the program and the system (`shim.c`) that logs operations. On
//! command it makes them fail or hang, kills the program, or leaves syncs out. The program itself is unchanged.

pub mod acks;
pub mod image;
pub mod log;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::bridge::Home;
use image::{Folder, Luck, Model};

/// Error numbers of Linux.
pub const EIO: i64 = 5;
pub const ENOSPC: i64 = 28;
pub const EROFS: i64 = 30;

/// The words of the control file, in the shim's order.
#[derive(Debug, Clone, Copy)]
pub enum Word {
    WriteErrno,
    WriteSkip,
    SyncErrno,
    SyncSkip,
    Hang,
    IgnoreSyncs,
    OpenErrno,
    ReadErrno,
    /// The inode of the file with bad sectors.
    ReadFile,
    ReadFrom,
    ReadTo,
    KillMask,
    KillSkip,
    Syncs,
    Writes,
    DbWrites,
    Faults,
}

/// When to kill, as bits of [`Word::KillMask`].
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    BeforeSync = 1,
    AfterSync = 2,
    BeforeDbWrite = 4,
    AfterDbWrite = 8,
    BeforeAny = 16,
}

/// Controls the disk of one home.
pub struct Disk {
    control: File,
    log: PathBuf,
    spool: PathBuf,
}

impl Disk {
    /// Puts the shim under every bridge that this home starts. If `logged`, it logs operations.
    pub fn under(home: &mut Home, logged: bool) -> Disk {
        let [spool, log, words] = ["spool", "operations", "control"].map(|name| home.path().join(name));
        std::fs::write(&words, [0; 8 * 17]).expect("a temporary folder is writable");
        home.environment("LD_PRELOAD", shim().display().to_string());
        home.environment("IMBRIDGE_SHIM_FOLDER", spool.display().to_string());
        home.environment("IMBRIDGE_SHIM_CONTROL", words.display().to_string());
        if logged {
            home.environment("IMBRIDGE_SHIM_LOG", log.display().to_string());
        }
        let control = File::options().read(true).write(true).open(&words);
        Disk {
            control: control.expect("it was written"),
            log,
            spool,
        }
    }

    /// Sets a word for the shim.
    pub fn set(&self, word: Word, value: i64) {
        self.control
            .write_all_at(&value.to_ne_bytes(), 8 * word as u64)
            .expect("a temporary folder is writable");
    }

    /// Reads a word, like a count of the shim.
    pub fn get(&self, word: Word) -> i64 {
        let mut bytes = [0; 8];
        self.control
            .read_exact_at(&mut bytes, 8 * word as u64)
            .expect("the control file is complete");
        i64::from_ne_bytes(bytes)
    }

    /// Kills the bridge at a moment of this kind, after `skip` others.
    pub fn kill_at(&self, moment: Moment, skip: i64) {
        self.set(Word::KillSkip, skip);
        self.set(Word::KillMask, moment as i64);
    }

    /// Resets every command of the shim. Its counts stay.
    pub fn behave(&self) {
        self.control
            .write_all_at(&[0; 8 * 13], 0)
            .expect("a temporary folder is writable");
    }

    /// The operations since the last call.
    pub fn take_log(&self) -> log::Log {
        let bytes = std::fs::read(&self.log).expect("the shim has written a log");
        std::fs::remove_file(&self.log).expect("it was read");
        log::Log::new(bytes)
    }

    /// The spool's folder.
    pub fn spool(&self) -> &PathBuf {
        &self.spool
    }
}

/// Builds the shim once per run.
fn shim() -> &'static PathBuf {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let folder = PathBuf::from(format!("{root}/target/torture"));
        std::fs::create_dir_all(&folder).expect("target/ is writable");
        let library = folder.join(format!("shim-{}.so", std::process::id()));
        let output = Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(format!("{root}/tests/torture/disk/shim.c"))
            .arg("-lpthread")
            .output()
            .expect("cc is there: building needed it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    })
}

/// A temporary folder, in memory if possible.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("a temporary folder is to be had")
}

/// Replaces the folder of a killed bridge by what its disk could hold after a power cut at that moment. Returns the
/// folder.
pub fn cut_power(disk: &Disk, base: &Folder, luck: Luck, random: &mut fastrand::Rng) -> Folder {
    let log = disk.take_log();
    let mut model = Model::new(base);
    log.operations().iter().for_each(|operation| model.apply(operation));
    let cut = model.cut(luck, random);
    image::write(disk.spool(), &cut);
    cut
}
