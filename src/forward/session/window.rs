//! The messages on their way to Kafka, in the order of sending. It knows neither Kafka nor the spool.
//!
//! A record is delivered when its messages and those of every earlier record are. Offsets leave the window in the same order, so a resume
//! offset never lies behind a message that may have to be looked for.

use std::collections::{HashSet, VecDeque};

use crate::publish::{Message, Position, Slot};

/// The messages in flight. Tickets number them without gaps.
#[derive(Debug, Default)]
pub struct Window {
    first_ticket: usize,
    entries: VecDeque<Entry>,
}

/// A place in the order.
#[derive(Debug)]
struct Entry {
    completes: Option<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There was nothing to send.
    Nothing,
    /// There is no delivery report yet.
    InFlight(InFlight),
    Delivered(Delivered),
}

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its partition.
    pub slot: Slot,
    /// Its place in the spool.
    pub position: Position,
    /// When its callback arrived, in Unix milliseconds.
    pub received_at_ms: i64,
}

/// A message that Kafka has.
#[derive(Debug)]
pub struct Delivered {
    /// The message.
    pub message: InFlight,
    /// Its offset in its partition.
    pub offset: i64,
}

/// What has left the window at its front.
#[derive(Debug)]
pub struct Done {
    /// `None` where there was nothing to send.
    pub delivered: Option<Delivered>,
    /// The record that is complete with it.
    pub completes: Option<u64>,
}

impl InFlight {
    /// What is remembered of a message that is sent.
    pub fn of(message: &Message) -> InFlight {
        InFlight {
            slot: message.slot.clone(),
            position: message.position,
            received_at_ms: message.received_at_ms,
        }
    }
}

impl Entry {
    fn message(&self) -> Option<&InFlight> {
        match &self.state {
            State::Nothing => None,
            State::InFlight(message) | State::Delivered(Delivered { message, .. }) => Some(message),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }
}

impl Window {
    /// Adds a message that is sent now; gives its ticket.
    pub fn send(&mut self, message: InFlight, completes: Option<u64>) -> usize {
        self.push(State::InFlight(message), completes);
        self.first_ticket + self.entries.len() - 1
    }

    /// Adds a place with nothing to send: the message is in Kafka already.
    pub fn pass(&mut self, completes: Option<u64>) {
        self.push(State::Nothing, completes);
    }

    fn push(&mut self, state: State, completes: Option<u64>) {
        self.entries.push_back(Entry { completes, state });
    }

    /// Adds a record with nothing to send: it is complete with the message before it.
    pub fn complete(&mut self, seq: u64) {
        match self.entries.back_mut() {
            Some(last) => last.completes = Some(seq),
            None => self.pass(Some(seq)),
        }
    }

    /// Takes the last message back: librdkafka did not accept it.
    pub fn unsend(&mut self) {
        self.entries.pop_back();
    }

    /// Takes in a delivery report.
    pub fn settle(&mut self, ticket: usize, offset: i64) {
        let index = ticket.checked_sub(self.first_ticket);
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        entry.state = match std::mem::replace(&mut entry.state, State::Nothing) {
            State::InFlight(message) => State::Delivered(Delivered { message, offset }),
            settled => settled,
        };
    }

    /// The first place in the order, unless it waits for its delivery report.
    pub fn pop(&mut self) -> Option<Done> {
        if self.entries.front()?.is_waiting() {
            return None;
        }
        let Entry { completes, state } = self.entries.pop_front()?;
        self.first_ticket += 1;
        let delivered = match state {
            State::Delivered(delivered) => Some(delivered),
            State::Nothing | State::InFlight(_) => None,
        };
        Some(Done { delivered, completes })
    }

    /// The partitions of messages without a delivery report.
    pub fn slots(&self) -> HashSet<Slot> {
        let waiting = self.entries.iter().filter(|entry| entry.is_waiting());
        waiting
            .filter_map(|entry| Some(entry.message()?.slot.clone()))
            .collect()
    }

    /// The message with this ticket.
    pub fn message(&self, ticket: usize) -> Option<&InFlight> {
        self.entries.get(ticket.checked_sub(self.first_ticket)?)?.message()
    }

    /// Every message in the window, and whether it is delivered.
    pub fn messages(&self) -> impl Iterator<Item = (&InFlight, bool)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((entry.message()?, !entry.is_waiting())))
    }

    /// How many messages wait for their delivery or for that of an earlier one.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> InFlight {
        InFlight {
            slot: Slot {
                topic: "t".into(),
                partition: 0,
            },
            position: Position {
                seq: 1,
                index: 0,
                part: 0,
            },
            received_at_ms: 0,
        }
    }

    fn completed(window: &mut Window) -> Vec<u64> {
        std::iter::from_fn(|| window.pop())
            .filter_map(|done| done.completes)
            .collect()
    }

    #[test]
    fn a_record_waits_for_all_of_its_messages_and_for_those_before_it() {
        let mut window = Window::default();
        let first = window.send(message(), None);
        let second = window.send(message(), Some(1));
        let third = window.send(message(), Some(2));
        window.settle(third, 9);
        window.settle(first, 7);
        assert!(completed(&mut window).is_empty());
        window.settle(second, 8);
        assert_eq!(completed(&mut window), [1, 2]);
        assert!(window.is_empty());
    }

    #[test]
    fn what_is_in_kafka_already_keeps_its_place_in_the_order() {
        let mut window = Window::default();
        let first = window.send(message(), Some(1));
        window.pass(Some(2));
        assert!(completed(&mut window).is_empty());
        window.settle(first, 7);
        assert_eq!(completed(&mut window), [1, 2]);
    }

    #[test]
    fn a_record_with_nothing_to_send_is_complete_with_what_is_before_it() {
        let mut window = Window::default();
        window.complete(1);
        assert_eq!(completed(&mut window), [1]);
        let sent = window.send(message(), Some(2));
        (3..1000).for_each(|seq| window.complete(seq));
        assert_eq!(window.len(), 1, "it takes no room");
        assert!(completed(&mut window).is_empty());
        window.settle(sent, 7);
        assert_eq!(completed(&mut window), [999]);
    }

    #[test]
    fn tickets_go_on_after_the_front_has_left_and_after_a_refusal() {
        let mut window = Window::default();
        let first = window.send(message(), Some(1));
        window.settle(first, 1);
        window.pop();
        let refused = window.send(message(), Some(2));
        window.unsend();
        assert_eq!(window.send(message(), Some(2)), refused);
        window.settle(first, 5);
        assert!(completed(&mut window).is_empty());
        window.settle(refused, 5);
        assert_eq!(completed(&mut window), [2]);
    }
}
