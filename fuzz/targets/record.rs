//! Input: the bytes of a spool's record. It becomes at least one message, in a known topic and within the topic's limit. An
//! event's copy in the timeline follows its own message. A dead letter contains the whole record.

use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use imbridge::forward::{Composer, Metrics};
use imbridge::publish::Message;
use imbridge::spool::Record;
use prometheus::Registry;

use super::{NOW_MS, WORLD};

/// Little more than a dead letter's headers, so that long inputs need several parts.
const LIMIT: usize = 20 << 10;

static COMPOSER: LazyLock<Mutex<(Composer, Vec<String>, String)>> = LazyLock::new(|| {
    let metrics = Metrics::new(&Registry::new()).expect("a new registry has no metrics");
    let (catalogue, commands) = (WORLD.catalogue.clone(), WORLD.commands.clone());
    let composer = Composer::new(catalogue, commands, &WORLD.config.kafka, "fuzz", metrics);
    let topics = composer.topics();
    let kafka = &WORLD.config.kafka;
    let timeline = kafka.timeline.as_ref().expect("there is one by default");
    Mutex::new((composer, topics, timeline.topic(&kafka.topic_prefix)))
});

pub fn run(data: &[u8]) {
    let record = Record {
        seq: 7,
        appended_at_ms: NOW_MS,
        data: Bytes::copy_from_slice(data),
        intact: true,
    };
    let mut composer = COMPOSER.lock().unwrap_or_else(PoisonError::into_inner);
    let (composer, topics, timeline) = &mut *composer;
    let messages = composer
        .compose(&record, &|_| LIMIT)
        .expect("without a registry, nothing has to wait");
    assert!(!messages.is_empty(), "a record is lost");
    let mut last = None;
    for message in &messages {
        assert!(
            topics.iter().any(|topic| **topic == *message.slot.topic),
            "{}",
            message.slot.topic
        );
        assert!((0..WORLD.config.kafka.partitions).contains(&message.slot.partition));
        assert!(
            message.size() <= LIMIT,
            "{} bytes for a limit of {LIMIT}: {:?}",
            message.size(),
            message.headers
        );
        let is_copy = *message.slot.topic == **timeline;
        let place = (message.position.index, message.position.part, is_copy);
        assert!(last < Some(place), "{place:?} comes behind {last:?}");
        // An event's copy follows its own message.
        assert!(
            !is_copy || last == Some((place.0, place.1, false)),
            "{place:?} comes behind {last:?}"
        );
        last = Some(place);
    }
    check_dead_letter(data, &messages);
}

/// If the record itself is dead-lettered, the parts of the letter together are the record.
fn check_dead_letter(data: &[u8], messages: &[Message]) {
    let whole = |message: &Message| message.headers.contains(&("imbridge-reason", "unknown_record".into()));
    if messages.iter().any(whole) {
        let payload: Vec<u8> = messages.iter().flat_map(|message| message.payload.clone()).collect();
        assert_eq!(payload, data);
    }
}
