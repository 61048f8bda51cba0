//! Whether brokers can be reached by TCP: those of `kafka.brokers`, and each under the address that it tells its clients.

use std::fmt::Display;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::diagnosis::{Doing, code_of, diagnosis};
use super::{Config, Context, EVENTS_MAX, context};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the name server may take before the connection is tried.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses that are tried at the same time.
const AT_ONCE: usize = 32;
const DEFAULT_PORT: u16 = 9092;

/// A broker's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

/// Why an address cannot be reached.
enum Trouble {
    /// No address for the name.
    Name(io::Error),
    /// Nobody takes the connection.
    Connection(io::Error),
}

/// What the cluster says of itself.
///
/// # Errors
/// A sentence, with what came of the attempts to connect.
pub fn connect(config: &Config) -> Result<Metadata, String> {
    let failed = |cause: &KafkaError, words: Option<&str>| diagnosis(config, &Doing::Connect, cause, words);
    let client = config.client("imbridge-check").create_with_context(Attempts::default());
    let client: BaseProducer<Attempts> = client.map_err(|cause| failed(&cause, None))?;
    client.client().fetch_metadata(None, METADATA_TIMEOUT).map_err(|cause| {
        // Each call takes one event, and most of them are lines of log.
        (0..EVENTS_MAX).for_each(|_| client.poll(Duration::ZERO));
        match client.context().cause() {
            Some((cause, words)) => failed(&cause, Some(&words)),
            None => failed(&cause, None),
        }
    })
}

/// Why a client of this configuration was told nothing by the cluster, as another attempt finds it.
pub fn why_silent(config: &Config, cause: &KafkaError) -> String {
    match connect(config) {
        Err(text) => text,
        Ok(_) => format!("{}: {cause}, although it answers now", config.brokers),
    }
}

/// What librdkafka says of attempts to connect that failed.
#[derive(Default)]
struct Attempts(Mutex<Vec<(KafkaError, String)>>);

impl Attempts {
    /// The error that says most: one that the configuration mends, or the last but that no broker is left.
    fn cause(&self) -> Option<(KafkaError, String)> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mends = errors.iter().find(|(cause, _)| context::advice(cause).is_some());
        let says = |(cause, _): &&(KafkaError, String)| code_of(cause) != Some(RDKafkaErrorCode::AllBrokersDown);
        mends.or_else(|| errors.iter().rfind(says)).cloned()
    }
}

impl ClientContext for Attempts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < EVENTS_MAX {
            errors.push((error, reason.to_owned()));
        }
    }
}

impl ProducerContext for Attempts {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A sentence for each broker whose advertised address cannot be reached from here. Takes 5 seconds for every 32 of them at most.
pub fn unreachable_brokers(metadata: &Metadata) -> Vec<String> {
    let brokers = metadata.brokers().iter().map(|broker| {
        let (host, port) = (broker.host().to_owned(), broker.port() as u16);
        (broker.id(), Address { host, port })
    });
    let (ids, addresses): (Vec<i32>, Vec<Address>) = brokers.unzip();
    let troubles = try_all(&addresses).into_iter().zip(ids).zip(&addresses);
    let sentence = |((trouble, id), address): ((Option<Trouble>, i32), &Address)| {
        let cause = match trouble? {
            Trouble::Name(cause) => format!("its name is not resolved: {cause}"),
            Trouble::Connection(cause) => cause.to_string(),
        };
        Some(astray(&id, &address, &cause))
    };
    troubles.filter_map(sentence).collect()
}

fn astray(id: &dyn Display, address: &dyn Display, cause: &str) -> String {
    format!(
        "broker {id} is advertised as {address} and cannot be reached from here ({cause}): mend advertised.listeners in this broker's server.properties, or name resolution and firewalls on the way to it"
    )
}

/// The sentence for a broker that librdkafka could not reach under its advertised address: it names such a one `<address>/<id>`,
/// and one of `kafka.brokers` `<address>/bootstrap` (`rd_kafka_mk_nodename` and `rd_kafka_mk_brokername`).
fn said_astray(said: &str) -> Option<String> {
    let (name, cause) = said.split_once(": ")?;
    let (address, id) = name.rsplit_once('/')?;
    id.parse::<i32>().ok()?;
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let failed = cause.starts_with("Connect to ") || cause.starts_with("Failed to resolve");
    failed.then(|| astray(&id, &address, cause))
}

/// Why no broker of `kafka.brokers` answered, or why the one that they name did not.
pub(super) fn no_answer(config: &Config, said: &str) -> String {
    if let Some(sentence) = said_astray(said) {
        return sentence;
    }
    let addresses = bootstrap(&config.brokers);
    let troubles = try_all(&addresses);
    let sentence = |(trouble, address): (Option<Trouble>, &Address)| match trouble {
        Some(Trouble::Name(cause)) => format!("the name in {address} of kafka.brokers is not resolved ({cause})"),
        Some(Trouble::Connection(cause)) => format!("{address} of kafka.brokers cannot be reached ({cause})"),
        None => {
            let protocol = config.properties.get("security.protocol");
            let protocol = protocol.unwrap_or("plaintext");
            format!(
                "{address} of kafka.brokers takes connections and does not answer: does security.protocol in kafka.properties ({protocol}) fit this listener, and is it Kafka?"
            )
        }
    };
    let sentences: Vec<_> = troubles.into_iter().zip(&addresses).map(sentence).collect();
    format!("{} (librdkafka: {said})", sentences.join("; "))
}

/// The addresses of `kafka.brokers`, as librdkafka reads them.
fn bootstrap(brokers: &str) -> Vec<Address> {
    let address = |text: &str| {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (text, None),
        };
        Address {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(DEFAULT_PORT),
        }
    };
    let texts = brokers.split(',').map(str::trim).filter(|text| !text.is_empty());
    texts.map(address).collect()
}

/// What is wrong with each address; nothing where a connection was taken.
fn try_all(addresses: &[Address]) -> Vec<Option<Trouble>> {
    addresses.chunks(AT_ONCE).flat_map(try_some).collect()
}

/// Each by a thread of its own, which a name server that does not answer can hold for longer than anybody waits.
fn try_some(addresses: &[Address]) -> Vec<Option<Trouble>> {
    let (answers, outcomes) = mpsc::channel();
    let mut found: Vec<_> = addresses
        .iter()
        .map(|_| Some(Trouble::Name(io::ErrorKind::TimedOut.into())))
        .collect();
    for (index, address) in addresses.iter().cloned().enumerate() {
        let answers = answers.clone();
        let trying = std::thread::Builder::new().name("try-kafka".into());
        let spawned = trying.spawn(move || drop(answers.send((index, try_one(&address).err()))));
        if let Err(cause) = spawned {
            found[index] = Some(Trouble::Connection(cause));
        }
    }
    drop(answers);
    let deadline = Instant::now() + RESOLVE_TIMEOUT + CONNECT_TIMEOUT;
    while let Ok((index, trouble)) = outcomes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        found[index] = trouble;
    }
    found
}

/// Tries every address of the name, as librdkafka does, within one time-out.
fn try_one(address: &Address) -> Result<(), Trouble> {
    let resolved = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .map_err(Trouble::Name)?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut last = io::ErrorKind::NotFound.into();
    for address in resolved {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(()),
            Err(cause) => last = cause,
        }
    }
    Err(Trouble::Connection(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_brokers_are_read_as_librdkafka_reads_them() {
        let read = |text: &str| bootstrap(text).iter().map(Address::to_string).collect::<Vec<_>>();
        assert_eq!(read("a:1, b ,SASL_SSL://c:3,"), ["a:1", "b:9092", "c:3"]);
        assert_eq!(read("[::1]:4,[::2]"), ["[::1]:4", "[::2]:9092"]);
    }

    #[test]
    fn a_broker_that_is_not_where_it_is_advertised_is_known_by_librdkafkas_words() {
        let said = "SASL_SSL://10.0.0.1:9/2: Connect to ipv4#10.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)";
        let text = no_answer(&Config::default(), said);
        let expected =
            "broker 2 is advertised as 10.0.0.1:9 and cannot be reached from here (Connect to ipv4#10.0.0.1:9 failed";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(
            said_astray("127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed"),
            None
        );
        assert_eq!(
            said_astray("10.0.0.1:9/2: Disconnected while requesting ApiVersion"),
            None
        );
    }

    #[test]
    fn each_address_is_judged_by_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap().port();
        let config = Config {
            brokers: format!("127.0.0.1:{there},127.0.0.1:1,no.such.host.invalid:2"),
            ..Config::default()
        };
        let text = no_answer(&config, "timed out");
        for part in [
            format!("127.0.0.1:{there} of kafka.brokers takes connections and does not answer"),
            "127.0.0.1:1 of kafka.brokers cannot be reached (Connection refused".into(),
            "the name in no.such.host.invalid:2 of kafka.brokers is not resolved".into(),
            "(librdkafka: timed out)".into(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
}
