//! The dead letters in Kafka, put together from their parts and in the order in which their callbacks arrived: spool by
//! spool, each by its numbers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::message::{BorrowedMessage, Message};

use super::source::Item;
use crate::callback::{Callback, Provider};
use crate::cli::consume::{Reading, Start, headers, text};
use crate::cli::filter::Filter;
use crate::cli::post::plain_head;
use crate::publish::{self, Position, RECEIVED_AT_HEADER, SEQ_HEADER, SPOOL_HEADER, dead_letter_topic};

/// Bytes of letters that are held at a time.
const HELD_BYTES_MAX: usize = 512 << 20;
/// What a letter takes beside its bytes.
const OVERHEAD_BYTES: usize = 1024;
/// Without a message or an end for so long, the cluster does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The bridge clips what callers send to this; a longer command is not known any more.
const COMMAND_BYTES_MAX: usize = 1020;

/// Where a letter stands: its spool, its record, its event.
type Place = (String, u64, u32);

/// A letter whose parts come in one by one.
#[derive(Debug)]
struct Letter {
    headers: HashMap<String, String>,
    key: Option<String>,
    parts: BTreeMap<u32, Vec<u8>>,
    total: u32,
}

/// Reads every dead letter that is meant.
///
/// # Errors
/// When Kafka does not answer, or more is meant than memory should hold.
pub(super) fn collect(config: &publish::Config, filter: &Filter, reasons: &[String]) -> Result<Vec<Item>> {
    let topic = dead_letter_topic(&config.topic_prefix);
    let start = filter.since.map_or(Start::Beginning, Start::Since);
    let reading = Reading::start(config, |name| name == topic, start)?;
    let partitions = reading.assigned.iter().map(|(_, partition)| *partition);
    let mut open: BTreeMap<i32, i64> = partitions.map(|partition| (partition, i64::MAX)).collect();
    if open.is_empty() {
        bail!("there is no topic {topic}: nothing has become a dead letter, or kafka.topic_prefix is another");
    }
    let mut letters: BTreeMap<Place, Letter> = BTreeMap::new();
    let mut foreign = Vec::new();
    let mut held = 0;
    for message in publish::read_to_ends(&mut open, TIMEOUT, || reading.next()) {
        match message {
            Ok(message) => {
                let headers = headers(&message).into_iter().collect();
                match place_of(&headers) {
                    None => foreign.push(foreign_item(&message)),
                    Some((place, part)) if is_meant(&message, &headers, filter, reasons) => {
                        held += message.payload_len() + OVERHEAD_BYTES;
                        let letter = letters.entry(place).or_insert_with(|| Letter::new(headers, &message));
                        // One that is there twice is the same.
                        letter
                            .parts
                            .insert(part, message.payload().unwrap_or_default().to_vec());
                    }
                    Some(_) => {}
                }
                if held > HELD_BYTES_MAX {
                    bail!(
                        "more than {} MiB of dead letters: narrow them by --since, --until, --command or --reason, and replay them in pieces",
                        HELD_BYTES_MAX >> 20
                    );
                }
            }
            Err(cause) => tracing::debug!(%cause, topic, "reading dead letters"),
        }
    }
    if !open.is_empty() {
        bail!("the end of {topic} was not reached in {} s", TIMEOUT.as_secs());
    }
    let mut items = in_order(letters);
    items.extend(foreign);
    Ok(items)
}

/// Nothing for a message that no bridge wrote.
fn place_of(headers: &HashMap<String, String>) -> Option<(Place, u32)> {
    let Position { seq, index, part } = headers.get(SEQ_HEADER)?.parse().ok()?;
    Some(((headers.get(SPOOL_HEADER)?.clone(), seq, index), part))
}

/// Whether a letter's parts are worth keeping; each has the headers and the key of the whole.
fn is_meant(
    message: &BorrowedMessage<'_>,
    headers: &HashMap<String, String>,
    filter: &Filter,
    reasons: &[String],
) -> bool {
    let header = |name: &str| headers.get(name).map(String::as_str);
    let key = || message.key().map(text);
    let reason = header("imbridge-reason").unwrap_or_default();
    filter.admits(header("imbridge-command"), received_at_ms(headers), key)
        && (reasons.is_empty() || reasons.iter().any(|wanted| wanted == reason))
}

fn received_at_ms(headers: &HashMap<String, String>) -> i64 {
    headers
        .get(RECEIVED_AT_HEADER)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

impl Letter {
    /// None of its parts; how many there are, each of them tells.
    fn new(headers: HashMap<String, String>, message: &BorrowedMessage<'_>) -> Letter {
        let part = headers.get("imbridge-part");
        Letter {
            total: part.and_then(|text| text.split_once('/')?.1.parse().ok()).unwrap_or(1),
            headers,
            key: message.key().map(text),
            parts: BTreeMap::new(),
        }
    }
}

fn foreign_item(message: &BorrowedMessage<'_>) -> Item {
    Item {
        id: format!("partition {} offset {}", message.partition(), message.offset()),
        command: None,
        reason: "foreign".into(),
        at_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: None,
        callback: Err("it has no imbridge headers: no bridge wrote it".into()),
    }
}

/// Spools by when their first letter arrived, then by number.
fn in_order(letters: BTreeMap<Place, Letter>) -> Vec<Item> {
    let mut begins: HashMap<String, i64> = HashMap::new();
    for ((spool, ..), letter) in &letters {
        let at_ms = received_at_ms(&letter.headers);
        let first = begins.entry(spool.clone()).or_insert(at_ms);
        *first = at_ms.min(*first);
    }
    let mut letters: Vec<_> = letters.into_iter().collect();
    letters.sort_by_cached_key(|((spool, seq, index), _)| (begins[spool], spool.clone(), *seq, *index));
    letters.into_iter().map(|(place, letter)| item(place, letter)).collect()
}

fn item((spool, seq, index): Place, letter: Letter) -> Item {
    let header = |name: &str| letter.headers.get(name).cloned();
    Item {
        id: format!("{spool}.{seq}.{index}"),
        command: header("imbridge-command"),
        reason: header("imbridge-reason").unwrap_or_default(),
        at_ms: received_at_ms(&letter.headers),
        key: letter.key.clone(),
        callback: callback(&letter),
    }
}

fn callback(letter: &Letter) -> Result<Callback, String> {
    let header = |name: &str| letter.headers.get(name).map_or("", String::as_str);
    let source = header("ce_source")
        .strip_prefix('/')
        .and_then(|source| source.split_once('/'));
    let provider = source.and_then(|(provider, _)| Provider::ALL.into_iter().find(|known| known.as_str() == provider));
    let (Some((_, app)), Some(provider)) = (source, provider) else {
        return Err(format!("it says no sender: {}", header("imbridge-error")));
    };
    if letter.headers.contains_key("imbridge-withheld") {
        return Err("a privacy rule keeps its body back".into());
    }
    let command = letter.headers.get("imbridge-command");
    let command = command.ok_or("it names no command: the bridge would refuse it again")?;
    if command.len() > COMMAND_BYTES_MAX {
        return Err("its command was too long to be kept".into());
    }
    let found = letter.parts.len() as u32;
    if found < letter.total || letter.parts.keys().next_back() >= Some(&letter.total) {
        return Err(format!("{found} of its {} parts are in the topic", letter.total));
    }
    Ok(Callback {
        head: plain_head(provider, app, command, received_at_ms(&letter.headers)),
        body: letter.parts.values().flatten().copied().collect::<Vec<u8>>().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(at_ms: i64, parts: &[(u32, &[u8])], total: u32) -> Letter {
        let headers = [
            ("ce_source", "/tencent/7".to_owned()),
            ("imbridge-command", "Group.X".to_owned()),
            ("imbridge-reason", "too_large".to_owned()),
            (RECEIVED_AT_HEADER, at_ms.to_string()),
        ];
        Letter {
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            key: Some("g".into()),
            parts: parts.iter().map(|(part, bytes)| (*part, bytes.to_vec())).collect(),
            total,
        }
    }

    #[test]
    fn letters_come_spool_by_spool_in_the_order_of_their_numbers_with_their_parts_together() {
        let place = |spool: &str, seq, index| (spool.to_owned(), seq, index);
        let letters = BTreeMap::from([
            (place("a.new", 1, 0), letter(900, &[(0, b"n")], 1)),
            (place("z.old", 10, 0), letter(200, &[(1, b"cd"), (0, b"ab")], 2)),
            (place("z.old", 9, 1), letter(201, &[(0, b"y")], 1)),
            (place("z.old", 9, 0), letter(201, &[(0, b"x")], 1)),
        ]);
        let items = in_order(letters);
        let ids: Vec<_> = items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids, ["z.old.9.0", "z.old.9.1", "z.old.10.0", "a.new.1.0"]);
        assert_eq!(items[2].callback.as_ref().unwrap().body.as_ref(), b"abcd");
        assert_eq!(
            (items[0].group(), items[0].reason.as_str()),
            (Some("g".into()), "too_large")
        );
    }

    #[test]
    fn what_is_not_whole_or_has_lost_its_sender_says_so() {
        let problem = |letter: &Letter| callback(letter).unwrap_err();
        assert!(problem(&letter(1, &[(1, b"cd")], 2)).contains("1 of its 2 parts"));
        let mut lost = letter(1, &[(0, b"x")], 1);
        lost.headers.insert("ce_source".into(), "/unknown".into());
        lost.headers.insert("imbridge-error".into(), "checksum".into());
        assert!(problem(&lost).contains("no sender: checksum"));
        lost = letter(1, &[(0, b"x")], 1);
        lost.headers.remove("imbridge-command");
        assert!(problem(&lost).contains("no command"));
        lost = letter(1, &[(0, b"")], 1);
        lost.headers.insert("imbridge-withheld".into(), "7".into());
        assert!(problem(&lost).contains("privacy rule"));
    }
}
