//! Every input that once broke a promise, through its fuzz target again, without libFuzzer; `scripts/fuzz` puts them there.
//! And the samples of all commands, so that a target that has gone blind is noticed.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;

#[test]
fn no_input_that_was_ever_found_breaks_its_promise_again() {
    let mut replayed = 0;
    for folder in files(Path::new("fuzz/regressions")) {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a target's name");
        let target = targets::find(name).unwrap_or_else(|| panic!("{name} is no fuzz target"));
        for file in files(&folder) {
            println!("{}", file.display());
            target(&std::fs::read(&file).expect("a file of the repository"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "there are inputs in fuzz/regressions");
}

#[test]
fn every_sample_keeps_the_promises_that_are_fuzzed() {
    for (provider, target) in [("tencent", "tencent_body"), ("openim", "openim_body")] {
        let folders = files(&Path::new("schemas").join(provider));
        assert!(folders.len() > 20, "{} commands of {provider}", folders.len());
        for folder in folders {
            let sample = std::fs::read(folder.join("sample.json")).expect("every command has a sample");
            let name = folder.file_name().expect("a command").as_encoded_bytes();
            let input = [name, b"\n", &sample].concat();
            for target in [target, "encoder"] {
                targets::find(target).expect("a target")(&input);
            }
        }
    }
}

#[test]
fn the_targets_are_built_with_the_bridges_own_versions() {
    let [bridge, fuzz] = ["Cargo.lock", "fuzz/Cargo.lock"].map(packages);
    let others: Vec<_> = fuzz.difference(&bridge).collect();
    let own = ["arbitrary", "imbridge-fuzz", "libfuzzer-sys"];
    assert!(
        others.len() == own.len() && others.iter().all(|(name, _)| own.contains(&name.as_str())),
        "copy Cargo.lock to fuzz/ and run cargo update --workspace there: {others:?}"
    );
}

/// Names and versions in a lock file.
fn packages(path: &str) -> std::collections::BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(path).expect("a file of the repository");
    let lock: toml::Table = text.parse().expect("cargo writes TOML");
    let packages = lock["package"].as_array().expect("a list");
    let text = |package: &toml::Value, key: &str| package[key].as_str().expect("a text").to_owned();
    packages
        .iter()
        .map(|package| (text(package, "name"), text(package, "version")))
        .collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    files.sort();
    files
}
