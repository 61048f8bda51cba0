//! Which events are copies of earlier ones, by their content, in a window of time and count. No I/O: the same events in the same order
//! give the same answers, also when publishing starts over in their middle.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};

use crate::callback::Head;

/// The most events beside those of the window: events in flight, which may be composed again after a fault.
const IN_FLIGHT_MAX: usize = 60_000;

/// Half a SHA-256 over sender, command and body. It is equal for a callback that is sent again, and for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentId([u8; 16]);

/// The place of an event in its spool, and when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its record.
    pub seq: u64,
    /// Its place in the record.
    pub index: u32,
    /// Unix milliseconds.
    pub received_at_ms: i64,
}

/// The latest events that have an identity.
#[derive(Debug)]
pub struct Repeats {
    window_ms: i64,
    max_callbacks: u64,
    /// The events in order; as many as the window has, and [`IN_FLIGHT_MAX`].
    seen: VecDeque<(ContentId, Arrival)>,
    /// How many events have left `seen` at its front.
    left: u64,
    /// The number of the last event of each content. Events are numbered from the first one ever.
    last: HashMap<ContentId, u64>,
}

impl ContentId {
    /// The id of a command's event. It leaves out what differs when a callback is sent again: the time of arrival, the request's id, the
    /// address.
    pub fn of(head: &Head, command: &str, body: &[u8]) -> ContentId {
        let mut hasher = Sha256::new();
        for part in [head.provider.as_str(), &head.app, command] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(body);
        let digest = hasher.finalize();
        ContentId(std::array::from_fn(|at| digest[at]))
    }

    /// 32 hexadecimal digits.
    pub fn text(self) -> String {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).expect("two digits a byte");
        String::from_utf8_lossy(&digits).into_owned()
    }
}

impl Arrival {
    /// The arrival of an event of this record.
    pub fn of(head: &Head, seq: u64, index: u32) -> Arrival {
        Arrival {
            seq,
            index,
            received_at_ms: head.received_at_ms,
        }
    }

    fn position(&self) -> (u64, u32) {
        (self.seq, self.index)
    }
}

impl Repeats {
    /// A window of this many seconds and callbacks; with 0 seconds nothing is a copy.
    pub fn new(window_s: u32, max_callbacks: u32) -> Repeats {
        Repeats {
            window_ms: i64::from(window_s) * 1000,
            max_callbacks: max_callbacks.into(),
            seen: VecDeque::new(),
            left: 0,
            last: HashMap::new(),
        }
    }

    /// Whether the last event of this content arrived within the window. A position that came before means that publishing starts over:
    /// events from this position on are forgotten.
    pub fn is_copy(&mut self, id: ContentId, arrival: Arrival) -> bool {
        if !self.looks_back() {
            return false;
        }
        self.rewind(arrival);
        let earlier = self.last.insert(id, self.left + self.seen.len() as u64);
        let earlier = earlier.map(|at| self.seen[(at - self.left) as usize].1);
        self.seen.push_back((id, arrival));
        if self.seen.len() > self.max_callbacks as usize + IN_FLIGHT_MAX {
            self.forget_first();
        }
        earlier.is_some_and(|earlier| {
            arrival.received_at_ms.abs_diff(earlier.received_at_ms) <= self.window_ms.unsigned_abs()
                && arrival.seq - earlier.seq <= self.max_callbacks
        })
    }

    /// Whether anything can be a copy.
    pub fn looks_back(&self) -> bool {
        self.window_ms > 0
    }

    /// Forgets events from this position on: they come again, or this event does not reach its topic.
    pub fn rewind(&mut self, to: Arrival) {
        // The search below costs 0.3 us, since its memory is in no cache.
        let last = self.seen.back();
        if last.is_none_or(|(_, arrival)| arrival.position() < to.position()) {
            return;
        }
        let before = self
            .seen
            .partition_point(|(_, arrival)| arrival.position() < to.position());
        self.seen.truncate(before);
        self.last = (self.left..).zip(&self.seen).map(|(at, (id, _))| (*id, at)).collect();
    }

    fn forget_first(&mut self) {
        if let Some((id, _)) = self.seen.pop_front() {
            if self.last.get(&id) == Some(&self.left) {
                self.last.remove(&id);
            }
            self.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::callback::Provider;

    fn id(number: u8) -> ContentId {
        ContentId([number; 16])
    }

    fn at(seq: u64, received_at_ms: i64) -> Arrival {
        Arrival {
            seq,
            index: 0,
            received_at_ms,
        }
    }

    fn head() -> Head {
        Head {
            provider: Provider::Tencent,
            app: "1".into(),
            command: None,
            received_at_ms: 7,
            client_ip: None,
            platform: None,
            request_id: None,
            trace: None,
            unreadable: false,
        }
    }

    #[test]
    fn an_id_is_of_the_sender_the_command_and_every_byte_of_the_body_and_of_nothing_else() {
        let first = ContentId::of(&head(), "Group.X", b"{}");
        let again = Head {
            received_at_ms: 8,
            client_ip: Some("10.0.0.2".into()),
            request_id: Some("r".into()),
            ..head()
        };
        assert_eq!(ContentId::of(&again, "Group.X", b"{}"), first);
        // As Python's hashlib gives it. Later versions must give the same: consumers compare the ids.
        assert_eq!(first.text(), "fe986a4ff40ca307841cadc81295f88d");
        let other_app = Head {
            app: "2".into(),
            ..head()
        };
        assert_ne!(ContentId::of(&other_app, "Group.X", b"{}"), first);
        assert_ne!(ContentId::of(&head(), "Group.Y", b"{}"), first);
        assert_ne!(ContentId::of(&head(), "Group.X", b"{ }"), first);
        assert_ne!(ContentId::of(&head(), "Group.", b"X{}"), first);
    }

    #[test]
    fn a_copy_is_one_within_the_time_and_the_number_of_callbacks() {
        let mut repeats = Repeats::new(10, 5);
        assert!(!repeats.is_copy(id(1), at(1, 0)));
        assert!(repeats.is_copy(id(1), at(2, 10_000)));
        assert!(
            repeats.is_copy(id(1), at(3, 20_000)),
            "each copy begins the window anew"
        );
        assert!(!repeats.is_copy(id(1), at(4, 30_001)));
        assert!(!repeats.is_copy(id(2), at(5, 30_001)));
        assert!(repeats.is_copy(id(1), at(9, 30_001)));
        assert!(!repeats.is_copy(id(1), at(15, 30_001)), "six callbacks later");
    }

    #[test]
    fn without_a_window_nothing_is_a_copy_and_nothing_is_kept() {
        let mut repeats = Repeats::new(0, 5);
        assert!(!repeats.is_copy(id(1), at(1, 0)) && !repeats.is_copy(id(1), at(2, 0)));
        assert!(repeats.seen.is_empty());
    }

    #[test]
    fn memory_is_bounded_however_many_events_come() {
        let mut repeats = Repeats::new(10, 100);
        for seq in 0..200_000u64 {
            let mut content = [0; 16];
            content[..8].copy_from_slice(&(seq / 2).to_le_bytes());
            assert_eq!(repeats.is_copy(ContentId(content), at(seq, 0)), seq % 2 == 1);
        }
        assert_eq!(repeats.seen.len(), 100 + IN_FLIGHT_MAX);
        assert!(repeats.last.len() <= repeats.seen.len());
    }

    /// The definition, by looking at every earlier event.
    fn by_definition(events: &[(u8, Arrival)], number: usize, (window_ms, max_callbacks): (u64, u64)) -> bool {
        let (id, arrival) = &events[number];
        let earlier = events[..number].iter().rev().find(|(other, _)| other == id);
        earlier.is_some_and(|(_, earlier)| {
            arrival.received_at_ms.abs_diff(earlier.received_at_ms) <= window_ms
                && arrival.seq - earlier.seq <= max_callbacks
        })
    }

    /// Events of few contents, in order.
    fn events() -> impl Strategy<Value = Vec<(u8, Arrival)>> {
        let drawn = prop::collection::vec((0..6u8, 0..3u64, 0..3_000i64), 1..200);
        drawn.prop_map(|drawn| {
            let (mut seq, mut received_at_ms) = (0, 0);
            let event = |(index, (content, skip, time_ms))| {
                seq += skip;
                received_at_ms += time_ms;
                let arrival = Arrival {
                    seq,
                    index,
                    received_at_ms,
                };
                (content, arrival)
            };
            (0..).zip(drawn).map(event).collect()
        })
    }

    proptest! {
        #[test]
        fn verdicts_are_those_of_the_definition_however_often_and_wherever_publishing_starts_over(
            events in events(),
            restarts in prop::collection::vec((0..200usize, 0..200usize), 0..8),
        ) {
            let mut repeats = Repeats::new(5, 20);
            let mut go = |from: usize, to: usize| -> Vec<bool> {
                events[from..to].iter().map(|(content, arrival)| repeats.is_copy(id(*content), *arrival)).collect()
            };
            let expected: Vec<bool> = (0..events.len()).map(|number| by_definition(&events, number, (5_000, 20))).collect();
            let mut reached = 0;
            for (to, back) in restarts {
                let to = to.min(events.len()).max(reached);
                prop_assert_eq!(&go(reached, to)[..], &expected[reached..to]);
                reached = to.saturating_sub(back);
            }
            prop_assert_eq!(&go(reached, events.len())[..], &expected[reached..]);
        }

        #[test]
        fn after_a_restart_the_records_of_the_window_are_enough_to_go_on_with_the_same_verdicts(
            events in events(),
            stop in 0..200usize,
        ) {
            let stop = stop.min(events.len() - 1);
            let next = events[stop].1;
            let kept = |(_, arrival): &&(u8, Arrival)| {
                arrival.received_at_ms + 5_000 >= next.received_at_ms && arrival.seq + 20 >= next.seq
            };
            let mut repeats = Repeats::new(5, 20);
            for (content, arrival) in events[..stop].iter().filter(kept) {
                repeats.is_copy(id(*content), *arrival);
            }
            for number in stop..events.len() {
                let (content, arrival) = events[number];
                prop_assert_eq!(
                    repeats.is_copy(id(content), arrival),
                    by_definition(&events, number, (5_000, 20)),
                    "event {}", number
                );
            }
        }
    }
}
