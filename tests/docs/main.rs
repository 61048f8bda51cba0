//! The documents: each link leads somewhere, the pages for people with ten minutes are short and in short sentences, and the
//! reference says what the code says. It needs no Kafka. What the guides tell to type is run by `guides` of `pipeline`.
//!
//! `IMBRIDGE_DOCS=write cargo test --test docs` writes the generated pages anew.

mod configuration;
mod links;
mod markdown;
mod prose;
mod reference;
mod translations;
mod vocabulary;

use std::process::Command;

/// The program whose help is the command line's page.
const PROGRAM: &str = env!("CARGO_BIN_EXE_imbridge");

/// A file of the repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// The tracked files, and new ones that nothing ignores, whose names have this end and that are there.
fn files(end: &str) -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git is there");
    let listed = String::from_utf8(listed.stdout).expect("paths are text");
    let files = listed.split_terminator('\0').filter(|path| path.ends_with(end));
    let mut files: Vec<String> = files
        .filter(|path| std::path::Path::new(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Holds a generated page to what it would be made as now, or writes it where that is asked for.
fn hold(path: &str, page: &str) {
    if std::env::var("IMBRIDGE_DOCS").is_ok_and(|what| what == "write") {
        std::fs::write(path, page).expect("the repository is writable");
    }
    assert!(
        text(path) == page,
        "{path} is stale: run `IMBRIDGE_DOCS=write cargo test --test docs`"
    );
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
