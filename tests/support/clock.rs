//! A bridge whose wall clock is wrong. Its monotonic clock is not changed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bridge::Home;

/// The wall clock of a bridge, which a test can set while the bridge runs.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Gives the next bridges of this home their own clock, which is right at first.
    pub fn of(home: &mut Home) -> Clock {
        let clock = Clock {
            file: home.path().join("clock"),
        };
        clock.set(0);
        home.environment("LD_PRELOAD", library(home.path()));
        home.environment("TEST_CLOCK_OFFSET", clock.file.display().to_string());
        clock
    }

    /// Sets by how many seconds the clock is ahead.
    pub fn set(&self, ahead_s: i64) {
        // Written in place and never truncated, because the bridge has mapped the file.
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&self.file);
        let written = file.and_then(|file| file.write_all_at(&ahead_s.to_ne_bytes(), 0));
        written.expect("a temporary folder is writable");
    }
}

fn library(folder: &Path) -> String {
    let library = folder.join("clock.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg("tests/support/clock.c")
        .status();
    assert!(built.expect("a C compiler is there").success());
    library.display().to_string()
}
