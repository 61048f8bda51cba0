//! What is on its way to Kafka, in the order in which it was sent. A pure state: it knows neither Kafka nor the spool.
//!
//! A record counts as delivered when its messages and those of every record before it are. Offsets are given out in the
//! same order, so that a noted offset never lies behind a message that may have to be looked for again.

use std::collections::{HashSet, VecDeque};

use crate::publish::{Message, Position, Slot};

/// Messages in flight; a ticket tells one from the others, rising without gaps.
#[derive(Debug, Default)]
pub struct Window {
    first_ticket: usize,
    entries: VecDeque<Entry>,
}

/// A place in the order.
#[derive(Debug)]
pub struct Entry {
    /// The record that is complete with this entry.
    pub completes: Option<u64>,
    /// `None` when there was nothing to send.
    pub message: Option<InFlight>,
    /// The offset, once delivered; anything for an entry without a message.
    offset: Option<i64>,
}

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Where it goes.
    pub slot: Slot,
    /// Its place in the spool.
    pub position: Position,
    /// When its callback arrived, in Unix milliseconds.
    pub received_at_ms: i64,
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

impl Window {
    /// A message that is sent now; gives its ticket.
    pub fn send(&mut self, message: InFlight, completes: Option<u64>) -> usize {
        self.entries.push_back(Entry {
            completes,
            message: Some(message),
            offset: None,
        });
        self.first_ticket + self.entries.len() - 1
    }

    /// A place in the order with nothing to send: the message is in Kafka already.
    pub fn pass(&mut self, completes: Option<u64>) {
        self.entries.push_back(Entry {
            completes,
            message: None,
            offset: Some(0),
        });
    }

    /// A record with nothing to send: it is complete with what is before it.
    pub fn complete(&mut self, seq: u64) {
        match self.entries.back_mut() {
            Some(last) => last.completes = Some(seq),
            None => self.pass(Some(seq)),
        }
    }

    /// Takes the last message back: it was not accepted for sending.
    pub fn unsend(&mut self) {
        self.entries.pop_back();
    }

    /// A delivery report.
    pub fn settle(&mut self, ticket: usize, offset: i64) {
        if let Some(entry) = ticket
            .checked_sub(self.first_ticket)
            .and_then(|index| self.entries.get_mut(index))
        {
            entry.offset = Some(offset);
        }
    }

    /// The next entry in order, if it is delivered, and its offset.
    pub fn pop(&mut self) -> Option<(Entry, i64)> {
        let offset = self.entries.front()?.offset?;
        self.first_ticket += 1;
        Some((self.entries.pop_front()?, offset))
    }

    /// Where messages go that are not delivered.
    pub fn slots(&self) -> HashSet<Slot> {
        let waiting = self.entries.iter().filter(|entry| entry.offset.is_none());
        waiting
            .filter_map(|entry| Some(entry.message.as_ref()?.slot.clone()))
            .collect()
    }

    /// The message with this ticket.
    pub fn message(&self, ticket: usize) -> Option<&InFlight> {
        let entry = self.entries.get(ticket.checked_sub(self.first_ticket)?)?;
        entry.message.as_ref()
    }

    /// Every message that is here, and whether it is delivered.
    pub fn messages(&self) -> impl Iterator<Item = (&InFlight, bool)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((entry.message.as_ref()?, entry.offset.is_some())))
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
            .filter_map(|(delivered, _)| delivered.completes)
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
