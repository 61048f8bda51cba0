//! Encodes a JSON body as a framed record. Each thread has its own encoder. It reuses its buffers, so that in the steady
//! state only the output and the key are allocated. Does not know where the record goes.

use jiter::Jiter;

use super::avro;
use super::command::Command;
use super::error::EncodeError;
use super::framing::Style;
use super::identity::Numbered;
use super::meaning::Meaning;
use super::walk::{Scratch, Walk};

/// The capacity for escaped strings that is kept from one body to the next.
const KEPT_TAPE_BYTES_MAX: usize = 256 * 1024;

/// The values of the record's `spool`, `spool_seq`, `spool_part` and `meta`.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    pub spool: &'a str,
    pub seq: u64,
    pub part: u32,
    pub event_id: &'a str,
    /// Used in place of `event_id` if the body has an identity of its own.
    pub content_id: Option<&'a str>,
    /// Unix milliseconds.
    pub received_at_ms: i64,
    pub app: &'a str,
    pub client_ip: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub request_id: Option<&'a str>,
}

/// What the encoder found in a body, beside the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// None if no alternative of the command's key expression has a value.
    pub key: Option<String>,
    /// Whether the key is a group's id.
    pub of_group: bool,
    /// When the event happened, in Unix milliseconds, if the body has the time.
    pub time_ms: Option<i64>,
    /// Whether the body has an identity of its own. An equal body is then the same event, sent again.
    pub identified: bool,
    /// The event's number in its group, if the command numbers its events.
    pub numbered: Option<Numbered>,
    /// The distinct paths in the record's `unmapped` map, at most 16. Array indexes and repetition counts are replaced by
    /// `*`.
    pub unmapped: Vec<String>,
}

/// Turns bodies into records.
#[derive(Debug, Default)]
pub struct Encoder {
    scratch: Scratch,
    tape: Vec<u8>,
}

impl Encoder {
    /// An encoder with empty buffers. It serves all commands.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that also captures the values for [`meaning`](Self::meaning).
    pub fn with_meanings() -> Self {
        let mut encoder = Self::default();
        encoder.scratch.captures.with_meanings = true;
        encoder
    }

    /// The meaning of the last body, which must have been encoded for this command and without an error. It is empty unless
    /// the encoder was made by [`with_meanings`](Self::with_meanings).
    pub fn meaning<'c>(&self, command: &'c Command) -> Meaning<'c> {
        let captures = &self.scratch.captures;
        let rule = command.attributes.meaning.as_ref().filter(|_| captures.with_meanings);
        rule.map_or_else(Meaning::default, |rule| rule.evaluate(captures))
    }

    /// Appends the record of `body` to `out`, framed with the bridge's own id.
    ///
    /// # Errors
    /// [`EncodeError`] if the body cannot become a record; `out` is then unchanged.
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

    /// Appends the record of `body` to `out`, behind the framing, which the caller has written.
    ///
    /// # Errors
    /// [`EncodeError`] if the body cannot become a record; `out` is then unchanged.
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
            && let Some(readable) = without_unpaired_surrogates(body)
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

    /// Writes the fields of `body`. If `body` is a copy without unpaired surrogates, `sent` is the original.
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

/// A copy of the body with U+FFFD in place of each escape of an unpaired surrogate. It has the same length, and its strings
/// are Unicode text. None if there is no such escape.
fn without_unpaired_surrogates(body: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut readable = None;
    let mut at = 0;
    // In JSON, backslashes occur only in strings.
    while let Some(distance) = body[at..].iter().position(|byte| *byte == b'\\') {
        at += distance;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                readable.get_or_insert_with(|| body.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // Another escape. The second of two backslashes begins no escape.
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
    avro::put_optional(out, time_ms, avro::put_long);
    avro::put_long(out, meta.received_at_ms);
    avro::put_text(out, meta.app);
    avro::put_optional(out, meta.client_ip, avro::put_text);
    avro::put_optional(out, meta.platform, avro::put_text);
    avro::put_optional(out, meta.request_id, avro::put_text);
}
