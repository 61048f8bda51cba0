//! From a JSON body to a framed record. One encoder for each thread: it owns the buffers, so that in the steady state
//! only the output and the key are allocated. Does not know where the record goes.

use jiter::Jiter;

use super::avro;
use super::command::Command;
use super::error::EncodeError;
use super::framing::Style;
use super::identity::Numbered;
use super::meaning::Meaning;
use super::walk::{Scratch, Walk};

/// Room for escaped strings kept from one body to the next.
const KEPT_TAPE_BYTES_MAX: usize = 256 * 1024;

/// What the bridge itself knows of an event: the record's `spool`, `spool_seq`, `spool_part` and `meta`.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    pub spool: &'a str,
    pub seq: u64,
    pub part: u32,
    pub event_id: &'a str,
    /// The `event_id` instead, where the body turns out to have an identity of its own.
    pub content_id: Option<&'a str>,
    pub received_at_ms: i64,
    pub app: &'a str,
    pub client_ip: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub request_id: Option<&'a str>,
}

/// What encoding found out on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// None where no alternative of the command's key expression yielded a value.
    pub key: Option<String>,
    /// Whether the key is a group's id.
    pub of_group: bool,
    /// When the event happened, where the body says so.
    pub time_ms: Option<i64>,
    /// The body has an identity of its own: an equal one is the same event, sent again.
    pub identified: bool,
    /// The event's number in its group, for a command that numbers them.
    pub numbered: Option<Numbered>,
    /// The distinct paths of what went into the record's `unmapped` map, array indexes and counts of repetition replaced
    /// by `*`; the first 16.
    pub unmapped: Vec<String>,
}

/// Turns bodies into records.
#[derive(Debug, Default)]
pub struct Encoder {
    scratch: Scratch,
    tape: Vec<u8>,
}

impl Encoder {
    /// An encoder with empty buffers, good for every command.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that can also be asked for what events mean; it keeps a body's accounts for that.
    pub fn with_meanings() -> Self {
        let mut encoder = Self::default();
        encoder.scratch.captures.meant = true;
        encoder
    }

    /// What the event means whose body was encoded last, without a fault and as this command's. Of an encoder that is not
    /// [`with_meanings`](Self::with_meanings), nothing.
    pub fn meaning<'c>(&self, command: &'c Command) -> Meaning<'c> {
        let rule = command.attributes.meaning.as_ref();
        let rule = rule.filter(|_| self.scratch.captures.meant);
        rule.map_or_else(Meaning::default, |rule| rule.evaluate(&self.scratch.captures))
    }

    /// Appends the record of `body` to `out`, framed with the bridge's own id. After an error `out` is as it was.
    pub fn encode(
        &mut self,
        command: &Command,
        body: &[u8],
        meta: &Meta<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let start = out.len();
        command.framing(Style::default()).write(out);
        self.record(command, body, meta, out)
            .inspect_err(|_| out.truncate(start))
    }

    /// Appends the record of `body` to `out`, behind whatever framing the caller wrote. After an error `out` is as it was.
    pub fn record(
        &mut self,
        command: &Command,
        body: &[u8],
        meta: &Meta<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let (start, attributes) = (out.len(), &command.attributes);
        let mut walked = self.walk(command, body, None, out);
        if matches!(walked, Err(EncodeError::NotText { .. }))
            && let Some(readable) = without_half_pairs(body)
        {
            out.truncate(start);
            walked = self.walk(command, &readable, Some(body), out);
        }
        walked.inspect_err(|_| out.truncate(start))?;

        let captures = &self.scratch.captures;
        let time_ms = captures.time_ms();
        let identified = attributes.identity.holds(captures);
        let event_id = meta.content_id.filter(|_| identified).unwrap_or(meta.event_id);
        write_meta(out, event_id, meta, time_ms);
        let unmapped = self.scratch.unmapped.finish(out);
        let sequence = attributes.sequence.as_ref();
        let key = attributes.key.evaluate(captures, meta.app);
        Ok(Encoded {
            of_group: key.as_ref().is_some_and(|(_, is_group)| *is_group),
            key: key.map(|(key, _)| key),
            time_ms,
            identified,
            numbered: sequence.and_then(|rule| rule.evaluate(captures)),
            unmapped,
        })
    }

    /// Writes the fields of `body`; of `sent`, where that is the same but for halves of surrogate pairs.
    fn walk(
        &mut self,
        command: &Command,
        body: &[u8],
        sent: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.scratch.reset(command.attributes.paths.len());
        let mut walk = Walk {
            json: Jiter::with_tape(body, std::mem::take(&mut self.tape)),
            sent,
            out,
            scratch: &mut self.scratch,
        };
        let walked = walk.body(&command.plan);
        self.tape = walk.json.into_tape();
        self.tape.clear();
        self.tape.shrink_to(KEPT_TAPE_BYTES_MAX);
        walked
    }
}

/// The body with U+FFFD in the place of each escape that is half of a surrogate pair: equally long, and Unicode text. Nothing
/// where there is no half.
fn without_half_pairs(body: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut readable = None;
    let mut at = 0;
    // In JSON, a backslash stands in strings only.
    while let Some(distance) = body[at..].iter().position(|byte| *byte == b'\\') {
        at += distance;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                readable.get_or_insert_with(|| body.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // The second of two backslashes begins nothing.
            _ => 2,
        };
        at = at.min(body.len());
    }
    readable
}

fn write_meta(out: &mut Vec<u8>, event_id: &str, meta: &Meta<'_>, time_ms: Option<i64>) {
    avro::put_text(out, meta.spool);
    avro::put_long(out, meta.seq.cast_signed());
    avro::put_long(out, meta.part.into());
    avro::put_text(out, event_id);
    avro::put_optional_long(out, time_ms);
    avro::put_long(out, meta.received_at_ms);
    avro::put_text(out, meta.app);
    avro::put_optional_text(out, meta.client_ip);
    avro::put_optional_text(out, meta.platform);
    avro::put_optional_text(out, meta.request_id);
}
