//! The page of the configuration is generated from `config/imbridge.example.toml`. The example must have every key and
//! default of the code.

use std::collections::BTreeSet;
use std::path::Path;

use imbridge::app::Config;

use crate::reference::{cell, hold_below};
use crate::{files, text};

const EXAMPLE: &str = "config/imbridge.example.toml";

/// One table of the example.
struct Table {
    /// As in TOML, with brackets.
    head: String,
    words: Vec<String>,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    value: String,
    words: String,
}

/// A line with a key: `key = value   # words`, perhaps commented out.
fn key(line: &str) -> Option<Key> {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let (name, rest) = line.split_once(" = ")?;
    let plain = name.trim_matches('"');
    let is_key = !plain.is_empty()
        && plain
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c));
    let (value, words) = rest.split_once(" #").unwrap_or((rest, ""));
    is_key.then(|| Key {
        name: name.to_owned(),
        value: value.trim().to_owned(),
        words: words.trim().to_owned(),
    })
}

/// A line that opens a table, and the comment after it.
fn opening(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let (head, words) = line.split_once(" #").unwrap_or((line, ""));
    let head = head.trim();
    (head.starts_with('[') && head.ends_with(']')).then(|| (head, words.trim()))
}

fn tables() -> Vec<Table> {
    let (mut tables, mut waiting): (Vec<Table>, Vec<String>) = (Vec::new(), Vec::new());
    let text = text(EXAMPLE);
    let (_, body) = text
        .split_once("\n\n[server]")
        .expect("the example begins with its words, then the server");
    for line in format!("[server]{body}").lines() {
        if let Some((head, words)) = opening(line) {
            let mut all = std::mem::take(&mut waiting);
            all.extend((!words.is_empty()).then(|| words.to_owned()));
            tables.push(Table {
                head: head.to_owned(),
                words: all,
                keys: Vec::new(),
            });
        } else if let Some(key) = key(line) {
            let table = tables.last_mut().expect("a table is open");
            table.words.append(&mut waiting);
            table.keys.push(key);
        } else if let Some(words) = line.strip_prefix("# ").filter(|words| !words.starts_with(' ')) {
            waiting.push(words.to_owned());
        } else if let Some((_, words)) = line.trim_start_matches('#').split_once("# ") {
            let table = tables.last_mut().expect("a table is open");
            let open = table
                .keys
                .last_mut()
                .map(|key| &mut key.words)
                .or(table.words.last_mut());
            let open = open.expect("a line goes on with what stands above it");
            *open = format!("{open} {}", words.trim());
        }
    }
    tables
}

impl Table {
    fn is_optional(&self) -> bool {
        self.words.iter().any(|words| words.ends_with("Default: none"))
    }
}

impl Key {
    /// What holds without the key: the example's words if it has any, otherwise the value.
    fn default(&self, table: &Table) -> String {
        let default = self
            .words
            .split_once("Default: ")
            .map(|(_, default)| default.trim_end_matches('.').to_owned());
        match default {
            Some(default) => default,
            None if self.words.contains("No default") => "required".to_owned(),
            None if table.is_optional() && table.head.contains("config") | table.head.contains("properties") => {
                "none".to_owned()
            }
            None => format!("`{}`", self.value),
        }
    }

    fn meaning(&self) -> String {
        let words = self.words.split("Default: ").next().expect("split gives one");
        words.replace("No default", "").trim().to_owned()
    }
}

#[test]
fn the_page_of_the_configuration_is_made_of_the_example() {
    let mut page = String::new();
    for table in tables() {
        page += &format!("\n## {}\n", table.head);
        if !table.words.is_empty() {
            page += &format!("\n{}\n", cell(&table.words.join("\n")));
        }
        if !table.keys.is_empty() {
            page += "\n| key | default | what |\n|---|---|---|\n";
        }
        for key in &table.keys {
            page += &format!(
                "| `{}` | {} | {} |\n",
                key.name,
                key.default(&table),
                cell(&key.meaning())
            );
        }
    }
    hold_below("docs/reference/configuration.md", &page);
}

/// The sender and the tables that a configuration needs before other keys have a meaning. Certificates are in the
/// folder.
fn least(folder: &Path) -> Vec<(&'static str, String)> {
    let made = rcgen::generate_simple_self_signed(["bridge".to_owned()]).expect("a name");
    let [cert, key] = [("cert", made.cert.pem()), ("key", made.signing_key.serialize_pem())].map(|(name, pem)| {
        let path = folder.join(name);
        std::fs::write(&path, pem).expect("a temporary folder is writable");
        format!("{name} = {path:?}\n")
    });
    vec![
        ("[[tencent]]", "sdk_app_id = 1400000000".to_owned()),
        ("[[openim]]", "name = \"main\"".to_owned()),
        ("[openim.signature]", "secret = \"env:PATH\"".to_owned()),
        ("[server.tls]", cert + &key),
    ]
}

/// Parses those tables with one more line in one of them.
fn parse_with(least: &[(&str, String)], head: &str, line: &str) -> Result<Config, String> {
    let (others, same): (Vec<_>, Vec<_>) = least.iter().partition(|(found, _)| *found != head);
    let own = same.first().map_or("", |(_, lines)| lines);
    // A sender's table follows its sender.
    let mut text = format!("{head}\n{own}\n{line}\n");
    for (head, lines) in others {
        let table = format!("{head}\n{lines}\n");
        text = if *head == "[[openim]]" {
            table + &text
        } else {
            text + &table
        };
    }
    Config::parse("test.toml", &text, []).map_err(|cause| cause.to_string())
}

#[test]
fn every_default_of_the_example_is_that_of_the_code() {
    let shown = |config: &Config| {
        let parts = (
            &config.server,
            &config.admin,
            &config.tencent,
            &config.openim,
            &config.spool,
            &config.kafka,
        );
        let more = (
            &config.timeline,
            &config.schemas,
            &config.history,
            &config.log,
            &config.shutdown,
        );
        format!("{parts:#?}{more:#?}")
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let least = least(folder.path());
    let bare = shown(&parse_with(&least, "[log]", "").expect("it is a good configuration"));
    let mut count = 0;
    for table in tables() {
        for key in table
            .keys
            .iter()
            .filter(|key| key.default(&table) == format!("`{}`", key.value))
        {
            let line = format!("{} = {}", key.name, key.value);
            let config = parse_with(&least, &table.head, &line);
            let config = config.unwrap_or_else(|fault| panic!("{} {}: {fault}", table.head, key.name));
            assert_eq!(shown(&config), bare, "{} {} = {}", table.head, key.name, key.value);
            count += 1;
        }
    }
    assert!(count > 50, "{count} keys have defaults");
}

#[test]
fn every_key_of_the_code_is_in_the_example() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let least = least(folder.path());
    for table in tables()
        .iter()
        .filter(|table| !table.head.ends_with("config]") && !table.head.contains("properties"))
    {
        let fault = parse_with(&least, &table.head, "no_such_key = 1").err();
        let fault = fault.unwrap_or_else(|| panic!("{}: any key is taken", table.head));
        let (_, expected) = fault
            .split_once("expected")
            .unwrap_or_else(|| panic!("{}: {fault}", table.head));
        let known: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(!known.is_empty(), "{}: {fault}", table.head);
        let below = |key: &str| tables().iter().any(|table| table.head.contains(&format!(".{key}]")));
        let has = |key: &str| table.keys.iter().any(|found| found.name == key);
        let missing: Vec<_> = known.into_iter().filter(|key| !has(key) && !below(key)).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", table.head);
    }
}

/// The TOML blocks in README and guides, each with its page. A sender is added if a block has none.
fn snippets() -> Vec<(String, String)> {
    let is_one = |page: &String| page.starts_with("README") || page.starts_with("docs/guide/");
    let mut found = Vec::new();
    for page in files(".md").into_iter().filter(is_one) {
        for part in text(&page).split("```toml\n").skip(1) {
            let block = part.split("```").next().expect("a block ends");
            let has_sender = block.contains("[[tencent]]") || block.contains("[[openim]]");
            let sender = if has_sender {
                ""
            } else {
                "[[tencent]]\nsdk_app_id = 1\n"
            };
            let lines = block.lines().map(|line| format!("{}\n", line.trim_start()));
            found.push((page.clone(), lines.chain([sender.to_owned()]).collect()));
        }
    }
    found
}

#[test]
fn every_configuration_of_readme_and_guides_is_a_good_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef").expect("a temporary folder is writable");
    let snippets = snippets();
    for (page, block) in &snippets {
        let of_secret = |word: &str| word.starts_with("env:") || word.starts_with("file:");
        let words = block.split('"').map(|word| match of_secret(word) {
            true => format!("file:{}", secret.display()),
            false => word.to_owned(),
        });
        let config = words.collect::<Vec<_>>().join("\"");
        if let Err(fault) = Config::parse("block", &config, []) {
            panic!("{page}: {fault}\n{config}");
        }
    }
    assert!(snippets.len() > 8, "{} blocks", snippets.len());
}
