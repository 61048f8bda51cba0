//! Where a key was written: a line and a column of the file, or an environment variable. Error messages name this place. They never
//! repeat the text of the file, because a line may contain a password.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// One reading of the configuration: a file, and the overrides from the environment.
pub(super) struct Origin<'a> {
    pub file: &'a str,
    text: &'a str,
    /// By a key's plain path, such as `tencent.0.token`: the variable and its value.
    pub overrides: BTreeMap<String, (String, String)>,
}

/// The plain path of `tencent[0].token` or `kafka.properties."linger.ms"`, as in [`Origin::overrides`].
pub(super) fn plain(path: &str) -> String {
    path.replace('[', ".").replace([']', '"'], "")
}

impl<'a> Origin<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Origin<'a> {
        Origin {
            file,
            text,
            overrides: BTreeMap::new(),
        }
    }

    /// The place of a key, and its path. If the key is not in the file, the place of the nearest table around it.
    pub fn of(&self, path: &str) -> String {
        let plain = plain(path);
        if let Some((name, _)) = self.overrides.get(&plain) {
            return format!("environment {name}");
        }
        let found = DeTable::parse(self.text)
            .ok()
            .and_then(|table| find(table.get_ref(), &plain));
        let place = found.map_or_else(|| self.file.to_owned(), |at| self.place(at.start));
        format!("{place}: {path}")
    }

    /// The file, and the line and column of a byte in its text.
    pub fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before[start..].chars().count() + 1;
        format!("{} line {line} column {column}", self.file)
    }
}

/// The position of a key. Names may contain dots, so each name is tried.
fn find(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    table.iter().find_map(|(name, value)| {
        let rest = path.strip_prefix(name.get_ref().as_ref())?;
        let within = rest.strip_prefix('.').and_then(|rest| match value.get_ref() {
            DeValue::Table(table) => find(table, rest),
            DeValue::Array(list) => {
                let (index, rest) = rest.split_once('.').unwrap_or((rest, ""));
                let element = list.get(index.parse::<usize>().ok()?)?;
                let within = element.get_ref().as_table().and_then(|table| find(table, rest));
                Some(within.unwrap_or_else(|| element.span()))
            }
            _ => None,
        });
        within.or_else(|| (rest.is_empty() || rest.starts_with('.')).then(|| name.span()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_line_and_column_or_by_its_variable() {
        let text = "[kafka]\npartitions = 1\n[kafka.properties]\n  \"a.b\" = \"é\"\n[[openim]]\nname = \"x\"\n[[openim]]\nname = \"y\"\n";
        let mut origin = Origin::new("f", text);
        origin
            .overrides
            .insert("spool.id".into(), ("IMBRIDGE_SPOOL__ID".into(), "7".into()));
        for (path, place) in [
            ("kafka.partitions", "f line 2 column 1: kafka.partitions"),
            (
                "kafka.properties.\"a.b\"",
                "f line 4 column 3: kafka.properties.\"a.b\"",
            ),
            ("kafka.none", "f line 1 column 2: kafka.none"),
            ("openim[1].name", "f line 8 column 1: openim[1].name"),
            ("spool.id", "environment IMBRIDGE_SPOOL__ID"),
            ("server.listen", "f: server.listen"),
        ] {
            assert_eq!(origin.of(path), place);
        }
    }
}
