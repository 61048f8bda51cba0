//! Reads the dead letters in Kafka, assembles them from their parts, and sorts them in the order in which their
//! callbacks arrived: spool by spool, within a spool by number.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::message::{BorrowedMessage, Message};

use super::source::Item;
use crate::callback::{Callback, Provider};
use crate::cli::consume::{Reading, Start, headers, text};
use crate::cli::filter::Filter;
use crate::cli::post::plain_head;
use crate::publish::{self, Position, RECEIVED_AT_HEADER, SEQ_HEADER, SPOOL_HEADER, dead_letter_topic};

/// Bytes of dead letters in memory.
const HELD_BYTES_MAX: usize = 512 << 20;
/// Memory for a dead letter beside its bytes.
const OVERHEAD_BYTES: usize = 1024;
/// If nothing arrives for this time, the cluster does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The bridge clips headers to this length, so a longer command is lost.
const COMMAND_BYTES_MAX: usize = 1020;

/// The event that became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EventId {
    spool: String,
    seq: u64,
    index: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.spool, self.seq, self.index)
    }
}

/// A dead letter and the parts of it that were read.
#[derive(Debug)]
struct Letter {
    headers: HashMap<String, String>,
    key: Option<String>,
    parts: BTreeMap<u32, Vec<u8>>,
    total: u32,
}

/// Reads every selected dead letter.
///
/// # Errors
/// If Kafka does not answer, or if the letters take more than [`HELD_BYTES_MAX`].
pub(super) fn collect(config: &publish::Config, filter: &Filter, reasons: &[String]) -> Result<Vec<Item>> {
    let topic = dead_letter_topic(&config.topic_prefix);
    let start = filter.since.map_or(Start::Beginning, Start::Since);
    let reading = Reading::start(config, |name| name == topic, start)?;
    let mut open = reading.open();
    if open.is_empty() {
        bail!("there is no topic {topic}: nothing was dead-lettered, or kafka.topic_prefix is a different one");
    }
    let mut letters: BTreeMap<EventId, Letter> = BTreeMap::new();
    let mut foreign = Vec::new();
    let mut held = 0;
    for message in publish::read_to_ends(&mut open, TIMEOUT, || reading.next()) {
        let message = match message {
            Ok(message) => message,
            Err(cause) => {
                tracing::debug!(%cause, topic, "reading dead letters");
                continue;
            }
        };
        let headers = headers(&message).into_iter().collect();
        let Some((event, part)) = event_of(&headers) else {
            foreign.push(foreign_item(&message));
            continue;
        };
        if is_selected(&message, &headers, filter, reasons) {
            let bytes = message.payload().unwrap_or_default().to_vec();
            held += bytes.len() + OVERHEAD_BYTES;
            let letter = letters.entry(event).or_insert_with(|| Letter::new(headers, &message));
            // If a part is there twice, both copies are equal.
            letter.parts.insert(part, bytes);
        }
        if held > HELD_BYTES_MAX {
            bail!(
                "more than {} MiB of dead letters: narrow them by --since, --until, --command or --reason, and replay them in pieces",
                HELD_BYTES_MAX >> 20
            );
        }
    }
    if !open.is_empty() {
        bail!("the end of {topic} was not reached in {} s", TIMEOUT.as_secs());
    }
    let mut items = in_order(letters);
    items.extend(foreign);
    Ok(items)
}

/// The event, and the number of this part of its dead letter. Nothing for a message that no bridge wrote.
fn event_of(headers: &HashMap<String, String>) -> Option<(EventId, u32)> {
    let Position { seq, index, part } = headers.get(SEQ_HEADER)?.parse().ok()?;
    let spool = headers.get(SPOOL_HEADER)?.clone();
    Some((EventId { spool, seq, index }, part))
}

/// Whether a dead letter is selected. Each of its parts has the headers and the key of the whole.
fn is_selected(
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
    let header = headers.get(RECEIVED_AT_HEADER);
    header.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Letter {
    /// A dead letter without its parts. Each part has their number in a header.
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

/// Sorts by the time when the first letter of the spool arrived, then by number.
fn in_order(letters: BTreeMap<EventId, Letter>) -> Vec<Item> {
    let mut begins: HashMap<String, i64> = HashMap::new();
    for (event, letter) in &letters {
        let at_ms = received_at_ms(&letter.headers);
        let first = begins.entry(event.spool.clone()).or_insert(at_ms);
        *first = at_ms.min(*first);
    }
    let mut letters: Vec<_> = letters.into_iter().collect();
    letters.sort_by_cached_key(|(event, _)| (begins[&event.spool], event.clone()));
    letters
        .into_iter()
        .map(|(event, letter)| item(&event, letter))
        .collect()
}

fn item(event: &EventId, letter: Letter) -> Item {
    let header = |name: &str| letter.headers.get(name).cloned();
    Item {
        id: event.to_string(),
        command: header("imbridge-command"),
        reason: header("imbridge-reason").unwrap_or_default(),
        at_ms: received_at_ms(&letter.headers),
        key: letter.key.clone(),
        callback: callback(&letter),
    }
}

fn callback(letter: &Letter) -> Result<Callback, String> {
    let header = |name: &str| letter.headers.get(name).map_or("", String::as_str);
    let source = header("ce_source").strip_prefix('/').and_then(|it| it.split_once('/'));
    let provider = source.and_then(|(provider, _)| Provider::ALL.into_iter().find(|known| known.as_str() == provider));
    let (Some((_, app)), Some(provider)) = (source, provider) else {
        return Err(format!("it names no sender: {}", header("imbridge-error")));
    };
    if letter.headers.contains_key("imbridge-withheld") {
        return Err("a privacy rule has withheld its body".into());
    }
    let command = letter.headers.get("imbridge-command");
    let command = command.ok_or("it names no command: the bridge would refuse it again")?;
    if command.len() > COMMAND_BYTES_MAX {
        return Err("its command was too long for a header".into());
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
        let event = |spool: &str, seq, index| {
            let spool = spool.to_owned();
            EventId { spool, seq, index }
        };
        let letters = BTreeMap::from([
            (event("a.new", 1, 0), letter(900, &[(0, b"n")], 1)),
            (event("z.old", 10, 0), letter(200, &[(1, b"cd"), (0, b"ab")], 2)),
            (event("z.old", 9, 1), letter(201, &[(0, b"y")], 1)),
            (event("z.old", 9, 0), letter(201, &[(0, b"x")], 1)),
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
    fn an_incomplete_letter_and_one_without_a_sender_are_refused_with_the_reason() {
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
