//! A message for Kafka, and its position in the spool's order, which a header carries.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The header with the spool's name.
pub const SPOOL_HEADER: &str = "imbridge-spool";
/// The header with the [`Position`].
pub const SEQ_HEADER: &str = "imbridge-seq";

/// The header with the time of arrival, in Unix milliseconds.
pub const RECEIVED_AT_HEADER: &str = "imbridge-received-at";

/// The header with the value's media type.
pub const CONTENT_TYPE_HEADER: &str = "content-type";

/// The header of a late message: answers wait for Kafka, but the callback was, or may have been, answered before Kafka had the
/// message. Its value is the time between the callback's arrival and the sending, in milliseconds.
pub const LATE_HEADER: &str = "imbridge-late";

/// A message's position in its spool: the record's sequence number, the event's index in its callback, and the part of a dead
/// letter that is larger than one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The record's sequence number.
    pub seq: u64,
    /// The event's index in its callback, from 0.
    pub index: u32,
    /// The dead letter's part, from 0.
    pub part: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.seq, self.index)?;
        if self.part > 0 {
            write!(formatter, ".{}", self.part)
        } else {
            Ok(())
        }
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Position, ()> {
        let (seq, rest) = text.split_once('.').ok_or(())?;
        let (index, part) = rest.split_once('.').unwrap_or((rest, "0"));
        Ok(Position {
            seq: seq.parse().map_err(drop)?,
            index: index.parse().map_err(drop)?,
            part: part.parse().map_err(drop)?,
        })
    }
}

/// One topic's partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// A message to send to Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its position in the spool, which becomes [`SEQ_HEADER`].
    pub position: Position,
    /// The partition that it is sent to.
    pub slot: Slot,
    /// Its key.
    pub key: String,
    /// Its headers, without those that the publisher adds: [`SPOOL_HEADER`], [`SEQ_HEADER`], [`RECEIVED_AT_HEADER`],
    /// [`LATE_HEADER`], [`CONTENT_TYPE_HEADER`]. An event's message and its timeline message share them.
    pub headers: Arc<[(&'static str, Cow<'static, str>)]>,
    /// The media type of its value.
    pub content_type: &'static str,
    /// Its value.
    pub payload: Vec<u8>,
    /// When the callback arrived, in Unix milliseconds. It is never Kafka's timestamp, by which brokers delete and refuse messages.
    pub received_at_ms: i64,
    /// The other partition to which an earlier session may have sent this event. For a dead letter of an event that its topic refused,
    /// it is that topic's partition. For the timeline's copy of such an event too: the copy is sent only if that partition has the event.
    pub twin: Option<Slot>,
}

impl Message {
    /// An upper bound of its size in a produce request, in bytes.
    pub fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        self.payload.len() + self.key.len() + headers + 512
    }
}

/// A delivery report: Kafka has the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The ticket that was passed to [`super::Publisher::send`].
    pub ticket: usize,
    /// Its offset in its partition.
    pub offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        for (seq, index, part, text) in [(7, 0, 0, "7.0"), (u64::MAX, 3, 12, "18446744073709551615.3.12")] {
            let position = Position { seq, index, part };
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
        }
        for text in ["", "7", "7.", "7.0.", "7.0.1.2", "a.0"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }
}
