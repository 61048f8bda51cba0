//! Reads a request's body within its limits: its own size, its time, and what all bodies together may hold in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
use prometheus::IntGauge;
use tokio_stream::StreamExt;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    Overloaded,
    Broken(String),
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
    read(payload, &nothing).await.ok();
}

/// The whole body and its share of the memory.
pub(super) async fn read<'a>(payload: Payload, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    tokio::time::timeout(limits.timeout, collect(payload, limits))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<'a>(mut payload: Payload, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    let new = |held| Held { held, bytes: 0 };
    let (mut share, mut read) = (Some(new(limits.held)), 0);
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(chunk) = payload.next().await {
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
