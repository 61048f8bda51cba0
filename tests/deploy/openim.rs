//! OpenIM's configuration in `docs/guide/openim.md` and `docs/reference/openim.md`, word for word, read as its versions
//! read it.
//!
//! `tests/golden/openim/keys.json` has the keys of the structs that the versions load into, from their
//! `pkg/common/config`. v3.7 and later load with viper and mapstructure, which look for keys at the top in any case.
//! v3.6 loads with yaml.v3, in the table `callback` and in exact case. All skip unknown keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::tools::documents;

/// The versions, the oldest first.
const VERSIONS: [&str; 5] = ["v3.6.0", "v3.7.0", "v3.8.0", "v3.8.3-patch.16", "main-2026-07"];

type Keys = BTreeMap<String, Vec<String>>;

fn keys() -> Keys {
    let text = std::fs::read_to_string("tests/golden/openim/keys.json").expect("it is committed");
    serde_json::from_str(&text).expect("JSON")
}

/// The `url` and the enabled events that a version reads from a text.
fn load(version: &str, keys: &Keys, yaml: &str) -> (Value, Vec<(String, Value)>) {
    let [document] = documents(yaml).try_into().expect("one document");
    let find = |wanted: &str| {
        let (table, same): (&Value, fn(&str, &str) -> bool) = match version {
            "v3.6.0" => (&document["callback"], |key, wanted| key == wanted),
            _ => (&document, |key, wanted| key.eq_ignore_ascii_case(wanted)),
        };
        let mut entries = table.as_object().into_iter().flatten();
        entries
            .find(|(key, _)| same(key, wanted))
            .map(|(_, value)| value.clone())
    };
    let enabled = |key: &String| Some((key.clone(), find(key)?)).filter(|(_, event)| event["enable"] == true);
    (
        find("url").unwrap_or_default(),
        keys[version].iter().filter_map(enabled).collect(),
    )
}

/// The YAML blocks of the guide.
fn snippets() -> Vec<String> {
    let guide = std::fs::read_to_string("docs/guide/openim.md").expect("there is a guide");
    let blocks = guide.split("```yaml\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().expect("a block ends").to_owned())
        .collect()
}

#[test]
fn the_guides_snippets_enable_what_they_name_only_in_their_versions() {
    let keys = keys();
    let snippets = snippets();
    let [flat, table] = snippets.as_slice() else {
        panic!("one snippet for v3.7 and later, one for v3.6: {snippets:?}");
    };
    for version in VERSIONS {
        let (own, other) = if version == "v3.6.0" {
            (table, flat)
        } else {
            (flat, table)
        };
        let (url, events) = load(version, &keys, own);
        assert_eq!(url, "http://bridge:8080/openim/<secret>", "{version}");
        let names: Vec<_> = events.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["afterSendGroupMsg", "afterCreateGroup"], "{version}");
        for (key, event) in &events {
            assert_eq!(event["timeout"], 5, "{version} {key}");
            assert!(
                version != "v3.6.0" || event["failedContinue"] == true,
                "{version} {key}"
            );
        }
        assert_eq!(load(version, &keys, other), (json!(null), vec![]), "{version}");
    }
}

#[test]
fn the_table_of_keys_is_that_of_openims_code_and_of_the_schemas() {
    let keys = keys();
    let text = std::fs::read_to_string("docs/reference/openim.md").expect("it is there");
    let quoted = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [key, commands, old_key, old_command] = cells.as_slice() else {
            panic!("{row}");
        };
        let first = match () {
            () if key.ends_with("main only") => "main-2026-07",
            () if key.ends_with("from v3.8.1") => "v3.8.3-patch.16",
            () => "v3.7.0",
        };
        let key = quoted(key).remove(0);
        for version in VERSIONS.iter().skip(1) {
            assert_eq!(
                keys[*version].contains(&key),
                age(version) >= age(first),
                "{version}: {row}"
            );
        }
        for command in quoted(commands)
            .iter()
            .filter(|name| name.starts_with("callback"))
            .chain(&quoted(old_command))
        {
            assert!(std::path::Path::new("schemas/openim").join(command).is_dir(), "{row}");
        }
        new.push(key);
        old.extend(quoted(old_key));
    }
    let silent = ["afterGroupMsgRevoke".to_owned()];
    for (mut documented, version) in [(new, "main-2026-07"), (old, "v3.6.0")] {
        let mut known = keys[version].clone();
        known.retain(|key| !silent.contains(key));
        documented.sort();
        known.sort();
        assert_eq!(documented, known, "{version}");
    }
}

fn age(version: &str) -> Option<usize> {
    VERSIONS.iter().position(|known| *known == version)
}
