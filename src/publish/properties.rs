//! `kafka.properties`: properties of librdkafka. Each has one canonical name here, because librdkafka takes an alias and its
//! property in the order in which they come. No message repeats a value: any of them can be a secret.

mod late;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::native;

/// Properties that the promise rests on, by their canonical names; the configuration cannot set them.
pub(super) const FIXED: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("request.required.acks", "all"),
    ("enable.gapless.guarantee", "true"),
    ("message.timeout.ms", "0"),
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "earliest"),
];

/// And one for the producer alone. Where a broker refuses one of several requests that are in flight for a partition and takes
/// a later one for out of order, librdkafka renumbers what it has for all partitions, and the broker no longer knows again what
/// it had taken without an answer (librdkafka's issue 4953). One request after the other costs next to nothing: a broker works
/// on a connection's requests in turn anyway.
pub(super) const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";

/// Properties that have a key of their own, or no meaning here, by their canonical names.
const OWN: [&str; 11] = [
    IN_FLIGHT,
    "metadata.broker.list",
    "message.max.bytes",
    "transactional.id",
    "partitioner",
    "group.id",
    "client.id",
    "dr_cb",
    "delivery.report.only.error",
    "queue.buffering.backpressure.threshold",
    "auto.commit.enable",
];

/// Names this far from each other, in single changes, may be one that was mistyped.
const MISTYPED_MAX: usize = 3;

/// The name under which a property is passed on, whichever of its names is used.
pub(super) fn canonical(name: &str) -> &str {
    documented()
        .find(|known| known.name == name)
        .and_then(|known| known.alias_of)
        .unwrap_or(name)
}

/// A property that librdkafka documents.
struct Documented {
    name: &'static str,
    /// The values it takes, in librdkafka's words; empty where anything is allowed.
    allowed: &'static str,
    alias_of: Option<&'static str>,
}

/// All of them, read once: properties are looked up for each message. Of a name that stands twice, for all topics and for each, the first
/// is meant.
fn documented() -> impl Iterator<Item = &'static Documented> {
    static TABLE: LazyLock<String> = LazyLock::new(native::documented_properties);
    static KNOWN: LazyLock<Vec<Documented>> = LazyLock::new(|| TABLE.lines().filter_map(known).collect());
    KNOWN.iter()
}

/// A line of the table, but for its head.
fn known(line: &'static str) -> Option<Documented> {
    let mut columns = line.splitn(6, '|').map(str::trim);
    let (name, allowed, words) = (columns.next()?, columns.nth(1)?, columns.nth(2)?);
    let alias = words
        .split_once("Alias for `")
        .and_then(|(_, rest)| rest.split_once('`'));
    let is_property = name != "Property" && !name.starts_with('-');
    is_property.then_some(Documented {
        name,
        allowed,
        alias_of: alias.map(|(property, _)| property),
    })
}

/// Properties of librdkafka, by the names that the configuration has for them. Their debug form has the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// A property's value, by any of its names.
    pub fn get(&self, name: &str) -> Option<&str> {
        let wanted = canonical(name);
        self.canonical()
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }

    /// The names as they were written, with values that can be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut String)> {
        self.0.iter_mut()
    }

    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Properties {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Properties(pairs.iter().map(owned).collect())
    }

    /// What librdkafka is told: canonical names with their values.
    pub(super) fn canonical(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (canonical(name), value.as_str()))
    }

    /// The first property that cannot be used, by its name as it was written, and why.
    pub(super) fn problem(&self) -> Option<(&str, String)> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        self.0.iter().find_map(|(name, value)| {
            let property = canonical(name);
            if OWN.contains(&property) || FIXED.iter().any(|(fixed, _)| *fixed == property) {
                return Some((
                    name.as_str(),
                    "is set by the bridge, since its promise rests on it; leave it out".to_owned(),
                ));
            }
            if let Some(other) = seen.insert(property, name) {
                return Some((
                    name.as_str(),
                    format!("is the same property as {other:?}: leave one of them out"),
                ));
            }
            Some((name.as_str(), refusal(name, value)?))
        })
    }
}

/// Why librdkafka does not take a property, without its value.
fn refusal(name: &str, value: &str) -> Option<String> {
    if let Some(words) = late::refusal(canonical(name), value) {
        return Some(words);
    }
    let refused = ClientConfig::new().set(name, value).create_native_config().err()?;
    if matches!(
        refused,
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)
    ) {
        let meant = nearest(name).map_or_else(String::new, |known| format!(", {known:?} is"));
        return Some(format!("is no property of librdkafka{meant}"));
    }
    let words = match refused {
        KafkaError::ClientConfig(_, words, ..) if !words.contains(value) => words,
        _ => String::new(),
    };
    match documented().find(|known| known.name == name) {
        // What this build lacks, or a name of the Java client's, for which librdkafka says what to use.
        known if !words.is_empty() && (known.is_none() || words.contains("not supported in this build")) => Some(words),
        Some(known) if !known.allowed.is_empty() => Some(format!("its value is not one of {}", known.allowed)),
        _ => Some("its value is not one that librdkafka takes".to_owned()),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &&Documented| strsim::osa_distance(name, known.name);
    let nearest = documented().min_by_key(distance)?;
    (distance(&nearest) <= MISTYPED_MAX).then_some(nearest.name)
}

impl fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Properties, D::Error> {
        deserializer.deserialize_any(TableVisitor)
    }
}

/// A value; serde's own words for what is no text would repeat it.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Text(text)),
            toml::Value::Table(_) | toml::Value::Datetime(_) => Err(D::Error::custom(
                "a table, expected a string: a name with dots stands in quotes, like \"sasl.password\"",
            )),
            _ => Err(D::Error::custom("no text: expected a string, in quotes")),
        }
    }
}

/// Each of `visit_*` that serde would answer by repeating the value.
macro_rules! refuse {
    ($($visit:ident $of:ty),*) => {
        $(fn $visit<E: Error>(self, _: $of) -> Result<Self::Value, E> {
            Err(E::custom("no table: [kafka.properties] with a line for each property is allowed"))
        })*
    };
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Properties;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Properties, A::Error> {
        let mut properties = BTreeMap::new();
        while let Some((name, Text(value))) = table.next_entry()? {
            properties.insert(name, value);
        }
        Ok(Properties(properties))
    }

    refuse!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_second_name_to_librdkafka_too() {
        assert!(documented().count() > 150);
        for known in documented().filter(|known| canonical(known.name) != known.name) {
            let property = canonical(known.name);
            let value = match known.allowed.split([' ', ',']).next() {
                None | Some("") => "PLAIN",
                Some("true") => "false",
                Some(least) => least,
            };
            let native = match ClientConfig::new().set(known.name, value).create_native_config() {
                Ok(native) => native,
                // Not in this build, and so by the property's own name.
                Err(cause) => {
                    assert!(
                        cause.to_string().contains(&format!("{property:?} not supported")),
                        "{cause}"
                    );
                    continue;
                }
            };
            let get = |name: &str| native.get(name).unwrap().trim_end_matches('\0').to_owned();
            assert_eq!(get(known.name), get(property), "{}", known.name);
        }
    }

    #[test]
    fn one_property_under_two_names_is_refused_and_both_are_named() {
        let properties = Properties::of(&[("compression.codec", "gzip"), ("compression.type", "zstd")]);
        let (name, words) = properties.problem().unwrap();
        assert!(
            name == "compression.type" && words.contains("compression.codec"),
            "{words}"
        );
        assert_eq!(
            Properties::of(&[("queue.buffering.max.ms", "7")]).get("linger.ms"),
            Some("7")
        );
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        for (name, value, part) in [
            ("sasl.pasword", "planted", "\"sasl.password\" is"),
            ("no.such.property", "planted", "no property of librdkafka"),
            ("linger.ms", "planted", "0 .. 900000"),
            ("security.protocol", "planted", "sasl_ssl"),
            ("sasl.oauthbearer.method", "planted", "not supported in this build"),
            ("ssl.truststore.location", "planted", "Java"),
            ("dr_msg_cb", "planted", "librdkafka"),
            ("sasl.mechanism", "planted", "SCRAM-SHA-512"),
            ("partition.assignment.strategy", "range, planted", "roundrobin"),
            ("ssl.key.password", "plan\0ted", "librdkafka"),
        ] {
            let properties = Properties::of(&[(name, value)]);
            let (found, words) = properties.problem().unwrap();
            assert!(found == name && words.contains(part), "{name}: {words}");
            assert!(!words.contains("planted") && !format!("{properties:?}").contains("planted"));
        }
        assert!(
            !Properties::of(&[("no.such.property", "1")])
                .problem()
                .unwrap()
                .1
                .contains(", \"")
        );
    }

    #[test]
    fn what_is_no_table_of_texts_is_refused_without_being_repeated() {
        for text in [
            "p = \"hunter2\"",
            "p = [\"hunter2\"]",
            "p = 22222",
            "p = { a = 22222 }",
            "p = { a = 22222.5 }",
            "p = { a = [\"hunter2\"] }",
            "p = { sasl = { password = \"hunter2\" } }",
            "p = { a = 2222-02-22 }",
        ] {
            #[derive(Debug, Deserialize)]
            #[allow(dead_code)]
            struct Table {
                p: Properties,
            }
            let cause = toml::from_str::<Table>(text).unwrap_err();
            let words = cause.message();
            assert!(!words.contains("hunter2") && !words.contains("2222"), "{words}");
        }
    }
}
