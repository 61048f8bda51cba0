//! The size of a campaign, the short form of `make test` or the full form of `make torture`, and the file for its
//! results.

use std::io::Write;

/// Whether the full form is requested (`IMBRIDGE_TORTURE=full`).
pub fn full() -> bool {
    std::env::var("IMBRIDGE_TORTURE").is_ok_and(|size| size == "full")
}

/// The size in the short or in the full form. `IMBRIDGE_TORTURE_<name>` overrides both.
pub fn size(name: &str, short: u64, whole: u64) -> u64 {
    let given = std::env::var(format!("IMBRIDGE_TORTURE_{name}")).ok();
    match given {
        Some(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("IMBRIDGE_TORTURE_{name}={text:?} is not a number")),
        None if full() => whole,
        None => short,
    }
}

/// Prints a result of the campaign and appends it to `target/torture/report.txt`, the source of the figures in
/// docs/explain/reliability.md.
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
