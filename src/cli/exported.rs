//! A callback as a line of JSON, which `imbridge spool export` writes and `imbridge replay --from` reads.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::callback::{Callback, Head};
use crate::spool::Record;

/// A line of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exported {
    /// `<spool>.<seq>`.
    pub id: String,
    /// When it was appended, in Unix milliseconds.
    pub appended_at_ms: i64,
    /// Whether it is delivered.
    #[serde(default)]
    pub delivered: bool,
    /// Why the record is not a callback. `body_base64` is then the whole record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Instead of `body`, if the body is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// The callback of a record, or why there is none.
pub(super) fn callback_of(record: &Record) -> Result<Callback, String> {
    if !record.intact {
        return Err("the record's bytes do not match its checksum".into());
    }
    Callback::from_record(&record.data).map_err(|cause| cause.to_string())
}

impl Exported {
    /// The line of a record of this spool.
    pub fn new(spool: &str, record: &Record, callback: Result<Callback, String>, delivered: bool) -> Exported {
        let (head, problem, body) = match callback {
            Ok(Callback { head, body }) => (Some(head), None, body),
            Err(problem) => (None, Some(problem), record.data.clone()),
        };
        let (body, body_base64) = match std::str::from_utf8(&body) {
            Ok(text) if problem.is_none() => (Some(text.to_owned()), None),
            _ => (None, Some(BASE64_STANDARD.encode(&body))),
        };
        Exported {
            id: format!("{spool}.{}", record.seq),
            appended_at_ms: record.appended_at_ms,
            delivered,
            problem,
            head,
            body,
            body_base64,
        }
    }

    /// The callback, as it was received.
    ///
    /// # Errors
    /// Why the line has no callback.
    pub fn callback(self) -> Result<Callback, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let head = self.head.ok_or("the line has no head")?;
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(encoded)) => {
                let decoded = BASE64_STANDARD.decode(encoded);
                decoded.map_err(|cause| format!("body_base64: {cause}"))?
            }
            _ => return Err("the line has neither body nor body_base64, or both".into()),
        };
        Ok(Callback {
            head,
            body: Bytes::from(body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"{\"provider\":\"openim\",\"app\":\"m\",\"received_at_ms\":3}\n";

    fn record(data: &[u8], intact: bool) -> Record {
        Record {
            seq: 7,
            appended_at_ms: 5,
            data: Bytes::copy_from_slice(data),
            intact,
        }
    }

    fn round_trip(record: &Record) -> (String, Result<Callback, String>) {
        let line = Exported::new("a.b", record, callback_of(record), false);
        let line = serde_json::to_string(&line).unwrap();
        let back: Exported = serde_json::from_str(&line).unwrap();
        assert_eq!(back.id, "a.b.7");
        (line, back.callback())
    }

    #[test]
    fn a_line_gives_back_the_callback_with_every_byte_of_its_body() {
        let text = record(&[HEAD, b"{\"a\": 1}\n"].concat(), true);
        let (line, back) = round_trip(&text);
        assert_eq!(back, Callback::from_record(&text.data).map_err(|_| String::new()));
        assert!(line.contains(r#""body":"{\"a\": 1}\n""#), "{line}");
        let bytes = record(&[HEAD, b"\xff\x00"].concat(), true);
        assert_eq!(round_trip(&bytes).1.unwrap().body.as_ref(), b"\xff\x00");
    }

    #[test]
    fn a_record_that_is_not_a_callback_keeps_its_bytes_and_the_reason() {
        let (line, back) = round_trip(&record(b"x", false));
        assert!(back.unwrap_err().contains("checksum"));
        assert!(line.contains(r#""body_base64":"eA==""#), "{line}");
        assert!(round_trip(&record(b"no head", true)).1.unwrap_err().contains("no head"));
    }
}
