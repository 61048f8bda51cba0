//! How much a campaign does: the short form of `make test`, or the whole of `make torture`; and where it writes what it saw.

use std::io::Write;

/// Whether the whole campaign is asked for (`IMBRIDGE_TORTURE=full`).
pub fn full() -> bool {
    std::env::var("IMBRIDGE_TORTURE").is_ok_and(|size| size == "full")
}

/// The short form's or the whole campaign's size; `IMBRIDGE_TORTURE_<name>` overrides both.
pub fn size(name: &str, short: u64, whole: u64) -> u64 {
    let given = std::env::var(format!("IMBRIDGE_TORTURE_{name}")).ok();
    match given {
        Some(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("IMBRIDGE_TORTURE_{name}={text:?} is no number")),
        None if full() => whole,
        None => short,
    }
}

/// Prints a line of the campaign's result and adds it to `target/torture/report.txt`, from where docs/explain/reliability.md has its figures.
pub fn report(campaign: &str, line: &str) {
    println!("{campaign}: {line}");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/torture");
    std::fs::create_dir_all(folder).expect("target/ is writable");
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(format!("{folder}/report.txt"))
        .expect("target/torture/ is writable");
    writeln!(file, "{campaign}: {line}").expect("target/torture/report.txt is writable");
}
