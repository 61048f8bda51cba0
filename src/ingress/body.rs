//! Reads a request's body within its limits: its own size, its time, and what all bodies together may hold in memory. What a
//! proxy has packed is unpacked within the same limits, so that a few bytes cannot become many.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use prometheus::IntGauge;
use tokio_stream::Stream;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    Overloaded,
    UnknownCoding,
    Broken(String),
}

/// What [`Coding`] knows, as a header names it.
pub(super) const CODINGS: &str = "gzip, deflate";
/// What is unpacked before other requests of the thread have their turn.
const PIECE_BYTES: u64 = 64 << 10;
/// A byte order mark, which some proxies and editors put in front of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How a body is packed, by `Content-Encoding` (RFC 9110, section 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// Nothing for one that is not known, and for several.
    fn of(headers: &HeaderMap) -> Option<Coding> {
        let mut found = Coding::Identity;
        for line in headers.get_all(CONTENT_ENCODING) {
            for name in line.to_str().ok()?.split(',') {
                let coding = match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Coding::Gzip,
                    "deflate" => Coding::Deflate,
                    _ => return None,
                };
                if std::mem::replace(&mut found, coding) != Coding::Identity {
                    return None;
                }
            }
        }
        Some(found)
    }

    fn reader(self, packed: &[u8]) -> Box<dyn Read + '_> {
        // zlib's first two bytes are a multiple of 31; some senders leave its frame out (RFC 9110, section 8.4.1.2).
        let is_framed = |packed: &[u8]| matches!(packed, [a, b, ..] if u16::from_be_bytes([*a, *b]).is_multiple_of(31));
        match self {
            Coding::Identity => Box::new(packed),
            Coding::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Coding::Deflate if is_framed(packed) => Box::new(ZlibDecoder::new(packed)),
            Coding::Deflate => Box::new(DeflateDecoder::new(packed)),
        }
    }
}

/// The bounds of one body.
pub(super) struct Limits<'a> {
    pub max_body_bytes: usize,
    pub max_held_bytes: usize,
    pub timeout: Duration,
    pub held: &'a HeldBytes,
}

/// What all bodies hold at this moment.
pub(super) struct HeldBytes {
    bytes: AtomicUsize,
    shown: IntGauge,
}

impl HeldBytes {
    pub fn new(shown: IntGauge) -> HeldBytes {
        let bytes = AtomicUsize::new(0);
        HeldBytes { bytes, shown }
    }
}

/// A body's share of the memory that all bodies may hold; given back when it is dropped.
pub(super) struct Held<'a> {
    held: &'a HeldBytes,
    bytes: usize,
}

impl Held<'_> {
    fn grow(&mut self, bytes: usize, most: usize) -> Result<(), BodyError> {
        self.bytes += bytes;
        self.held.shown.add(bytes as i64);
        if self.held.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
            Err(BodyError::Overloaded)
        } else {
            Ok(())
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.held.shown.sub(self.bytes as i64);
        self.held.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body to its end and drops it, for who is answered without it.
pub(super) async fn skip(payload: Payload, limits: &Limits<'_>) {
    let nothing = Limits {
        max_held_bytes: 0,
        ..*limits
    };
    // Whatever becomes of it, the answer is the same.
    read(payload, &HeaderMap::new(), &nothing).await.ok();
}

/// The whole body, unpacked and without a byte order mark, and its share of the memory.
pub(super) async fn read<'a>(
    payload: Payload,
    headers: &HeaderMap,
    limits: &Limits<'a>,
) -> Result<(Bytes, Held<'a>), BodyError> {
    let coding = Coding::of(headers).ok_or(BodyError::UnknownCoding)?;
    let whole = async {
        let (body, share) = collect(payload, limits).await?;
        let (body, share) = match coding {
            Coding::Identity => (body, share),
            _ => unpack(&body, coding, limits).await?,
        };
        let mark = if body.starts_with(MARK) { MARK.len() } else { 0 };
        Ok((body.slice(mark..), share))
    };
    let read = tokio::time::timeout(limits.timeout, whole).await;
    read.unwrap_or(Err(BodyError::TooSlow))
}

async fn unpack<'a>(packed: &[u8], coding: Coding, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    let (held, bytes) = (limits.held, 0);
    let mut share = Held { held, bytes };
    let mut body = Vec::new();
    let mut reader = coding.reader(packed);
    loop {
        let piece = reader.by_ref().take(PIECE_BYTES).read_to_end(&mut body);
        let piece = piece.map_err(|cause| BodyError::Broken(format!("{coding:?}: {cause}")))?;
        if piece == 0 {
            return Ok((body.into(), share));
        }
        if body.len() > limits.max_body_bytes {
            return Err(BodyError::TooLarge);
        }
        share.grow(piece, limits.max_held_bytes)?;
        tokio::task::yield_now().await;
    }
}

/// The next piece. The first look comes from within the server's parser, which looks again once it has parsed what is there, the body
/// most often: a wake-up registered then costs a turn of the whole connection, 0.9 us of processor time. Whatever comes later comes by
/// that connection too, whose turn ends with such a look.
fn next(
    payload: &mut Payload,
    first_look: &mut bool,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, PayloadError>>> {
    let mut nobody = Context::from_waker(Waker::noop());
    let context = if std::mem::take(first_look) {
        &mut nobody
    } else {
        context
    };
    Pin::new(payload).poll_next(context)
}

async fn collect<'a>(mut payload: Payload, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    let (held, bytes) = (limits.held, 0);
    let (mut share, mut read) = (Some(Held { held, bytes }), 0);
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let mut first_look = true;
    while let Some(chunk) = poll_fn(|context| next(&mut payload, &mut first_look, context)).await {
        let chunk = chunk.map_err(|cause| BodyError::Broken(cause.to_string()))?;
        read += chunk.len();
        if read > limits.max_body_bytes {
            return Err(BodyError::TooLarge);
        }
        let Some(held) = &mut share else { continue };
        if held.grow(chunk.len(), limits.max_held_bytes).is_err() {
            // The rest is read and dropped: an answer to a caller who still sends breaks the connection under it.
            (share, first, more) = (None, Bytes::new(), BytesMut::new());
        } else if first.is_empty() {
            first = chunk;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&chunk);
        }
    }
    let body = if more.is_empty() { first } else { more.freeze() };
    share.map(|share| (body, share)).ok_or(BodyError::Overloaded)
}
