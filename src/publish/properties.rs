//! `kafka.properties`: properties of librdkafka. Each property has one canonical name here, because librdkafka applies a property and
//! its alias in the order in which they are set. No error message repeats a value, because any value can be a secret.

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

/// Properties that the guarantees depend on, by their canonical names. The configuration cannot set them.
pub(super) const FIXED: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("request.required.acks", "all"),
    ("enable.gapless.guarantee", "true"),
    ("message.timeout.ms", "0"),
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "earliest"),
];

/// The producer sets this property too: 1 without transactions. Suppose that several requests are in flight for a partition, and the
/// broker refuses one and reports a later one as out of order. librdkafka then renumbers its messages for all partitions, so the broker
/// no longer recognises messages that it appended without an answer (librdkafka's issue 4953). One request at a time costs almost
/// nothing, because a broker handles a connection's requests one after the other.
pub(super) const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";

/// Properties that have their own configuration key, or no use here, by their canonical names.
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

/// The greatest edit distance at which a name may be a misspelling of another.
const MISSPELLED_MAX: usize = 3;

/// The canonical name of a property.
pub(super) fn canonical(name: &str) -> &str {
    documented()
        .find(|known| known.name == name)
        .and_then(|known| known.alias_of)
        .unwrap_or(name)
}

/// A property that librdkafka documents.
struct Documented {
    name: &'static str,
    /// The allowed values, as librdkafka documents them; empty if any value is allowed.
    allowed: &'static str,
    alias_of: Option<&'static str>,
}

/// All documented properties, parsed once, because properties are looked up for each message. If a name occurs twice, as a global and
/// as a topic property, the first counts.
fn documented() -> impl Iterator<Item = &'static Documented> {
    static TABLE: LazyLock<String> = LazyLock::new(native::documented_properties);
    static KNOWN: LazyLock<Vec<Documented>> = LazyLock::new(|| TABLE.lines().filter_map(known).collect());
    KNOWN.iter()
}

/// The property in a line of the table; `None` for a heading.
fn known(line: &'static str) -> Option<Documented> {
    let mut columns = line.splitn(6, '|').map(str::trim);
    let (name, allowed, description) = (columns.next()?, columns.nth(1)?, columns.nth(2)?);
    let alias = description
        .split_once("Alias for `")
        .and_then(|(_, rest)| rest.split_once('`'));
    let is_property = name != "Property" && !name.starts_with('-');
    is_property.then_some(Documented {
        name,
        allowed,
        alias_of: alias.map(|(property, _)| property),
    })
}

/// Properties of librdkafka, by the names in the configuration. Their debug form has the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// A property's value, by any of its names.
    pub fn get(&self, name: &str) -> Option<&str> {
        let wanted = canonical(name);
        self.canonical()
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }

    /// The names as configured, with mutable values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut String)> {
        self.0.iter_mut()
    }

    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Properties {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Properties(pairs.iter().map(owned).collect())
    }

    /// The properties for librdkafka: canonical names with their values.
    pub(super) fn canonical(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (canonical(name), value.as_str()))
    }

    /// The first invalid property, by its name as configured, and why it is invalid.
    pub(super) fn problem(&self) -> Option<(&str, String)> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        self.0.iter().find_map(|(name, value)| {
            let property = canonical(name);
            if OWN.contains(&property) || FIXED.iter().any(|(fixed, _)| *fixed == property) {
                return Some((
                    name.as_str(),
                    "is set by the bridge, whose guarantees depend on it; leave it out".to_owned(),
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

/// Why librdkafka does not accept a property. The text does not contain its value.
fn refusal(name: &str, value: &str) -> Option<String> {
    if let Some(message) = late::refusal(canonical(name), value) {
        return Some(message);
    }
    let refused = ClientConfig::new().set(name, value).create_native_config().err()?;
    if matches!(
        refused,
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)
    ) {
        let meant = nearest(name).map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
        return Some(format!("is not a property of librdkafka{meant}"));
    }
    let message = match refused {
        KafkaError::ClientConfig(_, message, ..) if !message.contains(value) => message,
        _ => String::new(),
    };
    match documented().find(|known| known.name == name) {
        // This build lacks the property, or it is one of the Java client and librdkafka names a replacement.
        known if !message.is_empty() && (known.is_none() || message.contains("not supported in this build")) => {
            Some(message)
        }
        Some(known) if !known.allowed.is_empty() => Some(format!("its value is not one of {}", known.allowed)),
        _ => Some("librdkafka does not accept its value".to_owned()),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &&Documented| strsim::osa_distance(name, known.name);
    let nearest = documented().min_by_key(distance)?;
    (distance(&nearest) <= MISSPELLED_MAX).then_some(nearest.name)
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

/// A value. serde's own error message for a value that is not a string would repeat it.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Text(text)),
            toml::Value::Table(_) | toml::Value::Datetime(_) => Err(D::Error::custom(
                "a table, expected a string: put a name with dots in quotes, like \"sasl.password\"",
            )),
            _ => Err(D::Error::custom("not a string: expected a string in quotes")),
        }
    }
}

/// The methods of [`Visitor`] whose default error messages would repeat the value.
macro_rules! refuse {
    ($($visit:ident $of:ty),*) => {
        $(fn $visit<E: Error>(self, _: $of) -> Result<Self::Value, E> {
            Err(E::custom("not a table: [kafka.properties] with one line for each property is allowed"))
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
    fn librdkafka_has_the_same_aliases() {
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
                // This build lacks the property, and the error message has its canonical name.
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
        let (name, problem) = properties.problem().unwrap();
        assert!(
            name == "compression.type" && problem.contains("compression.codec"),
            "{problem}"
        );
        assert_eq!(
            Properties::of(&[("queue.buffering.max.ms", "7")]).get("linger.ms"),
            Some("7")
        );
    }

    #[test]
    fn no_error_message_repeats_a_value() {
        for (name, value, part) in [
            ("sasl.pasword", "planted", "did you mean \"sasl.password\"?"),
            ("no.such.property", "planted", "not a property of librdkafka"),
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
            let (found, problem) = properties.problem().unwrap();
            assert!(found == name && problem.contains(part), "{name}: {problem}");
            assert!(!problem.contains("planted") && !format!("{properties:?}").contains("planted"));
        }
        assert!(
            !Properties::of(&[("no.such.property", "1")])
                .problem()
                .unwrap()
                .1
                .contains("did you mean")
        );
    }

    #[test]
    fn values_that_are_not_strings_are_refused_without_being_repeated() {
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
            let message = cause.message();
            assert!(!message.contains("hunter2") && !message.contains("2222"), "{message}");
        }
    }
}
