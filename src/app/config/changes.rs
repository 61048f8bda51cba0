//! The keys that differ between two readings of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use super::Config;

/// The keys as they were written. Its debug form omits them, because values of `kafka.properties` may be secrets.
#[derive(Clone, Default)]
pub(super) struct Written(pub Table);

impl fmt::Debug for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(as written)")
    }
}

impl Config {
    /// The keys whose values differ from those of `before`, such as `kafka.brokers`. For a list of tables, its name.
    pub fn differences(&self, before: &Config) -> Vec<String> {
        let (old, new) = (values(&before.written.0), values(&self.written.0));
        let keys = old
            .keys()
            .chain(new.keys())
            .filter(|key| old.get(*key) != new.get(*key));
        let mut keys: BTreeSet<String> = keys.cloned().collect();
        // A secret in a file can change although its reference stays the same.
        if self.kafka.properties != before.kafka.properties {
            keys.insert("kafka.properties".to_owned());
        }
        if self.schemas.registry_auth != before.schemas.registry_auth {
            keys.insert("schemas.registry_auth".to_owned());
        }
        keys.into_iter().collect()
    }

    /// Takes the keys that a reload applies from a later reading. Keys that need a restart keep their old values, so the next reload
    /// reports them again.
    pub(in crate::app) fn adopt(&mut self, new: Config) {
        self.log.level = new.log.level;
        self.schemas.dir = new.schemas.dir;
        self.tencent = new.tencent;
        self.openim = new.openim;
        self.privacy = new.privacy;
    }
}

/// Every key with its value. Tables below the second level count as one value.
fn values(written: &Table) -> BTreeMap<String, &Value> {
    let mut values = BTreeMap::new();
    for (name, value) in written {
        match value {
            Value::Table(table) => values.extend(table.iter().map(|(key, value)| (format!("{name}.{key}"), value))),
            list => drop(values.insert(name.clone(), list)),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("test", &format!("{text}\n[[openim]]\nname = 'a'\n"), []).unwrap()
    }

    #[test]
    fn differences_have_the_names_of_their_keys() {
        let before =
            config("[server]\nworkers = 1\n[kafka]\nbrokers = \"a:1\"\npartitions = 3\n[log]\nlevel = \"info\"");
        let after = config(
            "[spool]\nid = \"b\"\n[kafka]\nbrokers = \"b:1\"\npartitions = 3\n[kafka.properties]\n\"client.rack\" = \"r\"\n[log]\nlevel = \"warn\"",
        );
        assert_eq!(
            after.differences(&before),
            [
                "kafka.brokers",
                "kafka.properties",
                "log.level",
                "server.workers",
                "spool.id"
            ]
        );
        assert_eq!(before.differences(&before.clone()), [""; 0]);
    }
}
