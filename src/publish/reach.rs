//! Whether brokers can be reached by TCP: those of `kafka.brokers`, and each broker at its advertised address.

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
/// How long the name server may take to resolve a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many addresses are tried at the same time.
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
enum AddressError {
    /// The name is not resolved.
    Name(io::Error),
    /// No connection is accepted.
    Connection(io::Error),
}

/// The cluster's metadata.
///
/// # Errors
/// A sentence that explains why no attempt to connect succeeded.
pub fn connect(config: &Config) -> Result<Metadata, String> {
    let failed = |cause: &KafkaError, message: Option<&str>| diagnosis(config, &Doing::Connect, cause, message);
    let client = config.client("imbridge-check").create_with_context(Attempts::default());
    let client: BaseProducer<Attempts> = client.map_err(|cause| failed(&cause, None))?;
    client.client().fetch_metadata(None, METADATA_TIMEOUT).map_err(|cause| {
        // Each call takes one event, and most events are log lines.
        (0..EVENTS_MAX).for_each(|_| client.poll(Duration::ZERO));
        match client.context().cause() {
            Some((cause, message)) => failed(&cause, Some(&message)),
            None => failed(&cause, None),
        }
    })
}

/// Why the cluster did not answer a client of this configuration, found by a second attempt.
pub fn why_silent(config: &Config, cause: &KafkaError) -> String {
    match connect(config) {
        Err(text) => text,
        Ok(_) => format!("{}: {cause}; a second attempt was answered", config.brokers),
    }
}

/// librdkafka's errors for failed attempts to connect.
#[derive(Default)]
struct Attempts(Mutex<Vec<(KafkaError, String)>>);

impl Attempts {
    /// The most useful error: the first that the configuration can fix, otherwise the last that is not `AllBrokersDown`.
    fn cause(&self) -> Option<(KafkaError, String)> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fixable = errors.iter().find(|(cause, _)| context::advice(cause).is_some());
        let is_specific = |(cause, _): &&(KafkaError, String)| code_of(cause) != Some(RDKafkaErrorCode::AllBrokersDown);
        fixable.or_else(|| errors.iter().rfind(is_specific)).cloned()
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

/// A sentence for each broker whose advertised address cannot be reached from here. Takes at most 5 seconds for every 32 brokers.
pub fn unreachable_brokers(metadata: &Metadata) -> Vec<String> {
    let brokers = metadata.brokers().iter().map(|broker| {
        let (host, port) = (broker.host().to_owned(), broker.port() as u16);
        (broker.id(), Address { host, port })
    });
    let (ids, addresses): (Vec<i32>, Vec<Address>) = brokers.unzip();
    let outcomes = try_all(&addresses).into_iter().zip(ids).zip(&addresses);
    let sentence = |((outcome, id), address): ((Result<(), AddressError>, i32), &Address)| {
        let cause = match outcome.err()? {
            AddressError::Name(cause) => format!("its name is not resolved: {cause}"),
            AddressError::Connection(cause) => cause.to_string(),
        };
        Some(unreachable_broker(&id, &address, &cause))
    };
    outcomes.filter_map(sentence).collect()
}

fn unreachable_broker(id: &dyn Display, address: &dyn Display, cause: &str) -> String {
    format!(
        "broker {id} is advertised as {address} and cannot be reached from here ({cause}): correct advertised.listeners in this broker's server.properties, or the name resolution and firewalls in between"
    )
}

/// The sentence for a broker that librdkafka could not reach at its advertised address. librdkafka's error message names such a
/// broker `<address>/<id>`, and one of `kafka.brokers` `<address>/bootstrap` (`rd_kafka_mk_nodename` and `rd_kafka_mk_brokername`).
fn advertised_broker(message: &str) -> Option<String> {
    let (name, cause) = message.split_once(": ")?;
    let (address, id) = name.rsplit_once('/')?;
    id.parse::<i32>().ok()?;
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let failed = cause.starts_with("Connect to ") || cause.starts_with("Failed to resolve");
    failed.then(|| unreachable_broker(&id, &address, cause))
}

/// Why no broker of `kafka.brokers` answered, or why an advertised broker did not. `message` is librdkafka's error message.
pub(super) fn no_answer(config: &Config, message: &str) -> String {
    if let Some(sentence) = advertised_broker(message) {
        return sentence;
    }
    let addresses = bootstrap(&config.brokers);
    let sentence = |(outcome, address): (Result<(), AddressError>, &Address)| match outcome {
        Err(AddressError::Name(cause)) => format!("the name in {address} of kafka.brokers is not resolved ({cause})"),
        Err(AddressError::Connection(cause)) => format!("{address} of kafka.brokers cannot be reached ({cause})"),
        Ok(()) => {
            let protocol = config.properties.get("security.protocol").unwrap_or("plaintext");
            format!(
                "{address} of kafka.brokers accepts connections and does not answer: check that security.protocol in kafka.properties ({protocol}) matches this listener, and that it is Kafka"
            )
        }
    };
    let sentences: Vec<_> = try_all(&addresses).into_iter().zip(&addresses).map(sentence).collect();
    format!("{} (librdkafka: {message})", sentences.join("; "))
}

/// The addresses of `kafka.brokers`, parsed as librdkafka does.
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

/// Whether each address accepts a connection.
fn try_all(addresses: &[Address]) -> Vec<Result<(), AddressError>> {
    addresses.chunks(AT_ONCE).flat_map(try_some).collect()
}

/// Tries each address in its own thread: a name server that does not answer can block the thread for longer than the deadline.
fn try_some(addresses: &[Address]) -> Vec<Result<(), AddressError>> {
    let (sender, outcomes) = mpsc::channel();
    let mut found: Vec<_> = addresses
        .iter()
        .map(|_| Err(AddressError::Name(io::ErrorKind::TimedOut.into())))
        .collect();
    for (index, address) in addresses.iter().cloned().enumerate() {
        let sender = sender.clone();
        let thread = std::thread::Builder::new().name("try-kafka".into());
        let spawned = thread.spawn(move || drop(sender.send((index, try_one(&address)))));
        if let Err(cause) = spawned {
            found[index] = Err(AddressError::Connection(cause));
        }
    }
    drop(sender);
    let deadline = Instant::now() + RESOLVE_TIMEOUT + CONNECT_TIMEOUT;
    while let Ok((index, outcome)) = outcomes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        found[index] = outcome;
    }
    found
}

/// Tries every IP address of the name, as librdkafka does, within one time-out.
fn try_one(address: &Address) -> Result<(), AddressError> {
    let resolved = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .map_err(AddressError::Name)?;
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
    Err(AddressError::Connection(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_brokers_are_parsed_as_librdkafka_does() {
        let read = |text: &str| bootstrap(text).iter().map(Address::to_string).collect::<Vec<_>>();
        assert_eq!(read("a:1, b ,SASL_SSL://c:3,"), ["a:1", "b:9092", "c:3"]);
        assert_eq!(read("[::1]:4,[::2]"), ["[::1]:4", "[::2]:9092"]);
    }

    #[test]
    fn a_broker_that_is_unreachable_as_advertised_is_known_by_librdkafkas_error_message() {
        let message = "SASL_SSL://10.0.0.1:9/2: Connect to ipv4#10.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)";
        let text = no_answer(&Config::default(), message);
        let expected =
            "broker 2 is advertised as 10.0.0.1:9 and cannot be reached from here (Connect to ipv4#10.0.0.1:9 failed";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(
            advertised_broker("127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed"),
            None
        );
        assert_eq!(
            advertised_broker("10.0.0.1:9/2: Disconnected while requesting ApiVersion"),
            None
        );
    }

    #[test]
    fn each_address_gets_its_own_sentence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open_port = listener.local_addr().unwrap().port();
        let config = Config {
            brokers: format!("127.0.0.1:{open_port},127.0.0.1:1,no.such.host.invalid:2"),
            ..Config::default()
        };
        let text = no_answer(&config, "timed out");
        for part in [
            format!("127.0.0.1:{open_port} of kafka.brokers accepts connections and does not answer"),
            "127.0.0.1:1 of kafka.brokers cannot be reached (Connection refused".into(),
            "the name in no.such.host.invalid:2 of kafka.brokers is not resolved".into(),
            "(librdkafka: timed out)".into(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
}
