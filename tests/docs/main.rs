//! Tests of the documents: links lead somewhere, the pages for users are short and in short sentences, and the
//! reference matches the code. They need no Kafka. The commands in the guides are run by `guides` of `pipeline`.
//!
//! `IMBRIDGE_DOCS=write cargo test --test docs` rewrites the generated pages.

mod configuration;
mod links;
mod markdown;
mod prose;
mod reference;
mod translations;
mod vocabulary;

use std::process::Command;

/// The program whose help becomes the page of the command line.
const PROGRAM: &str = env!("CARGO_BIN_EXE_imbridge");

/// A file of the repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// The existing files whose names end like this: tracked files, and new ones that git does not ignore.
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

/// Fails if a generated page differs from what is generated now, or rewrites it if `IMBRIDGE_DOCS` is `write`.
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
