//! Reads a request's body within its limits: its own size, its time, and what all bodies together may hold in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
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
    pub held: &'a AtomicUsize,
}

/// A body's share of the memory that all bodies may hold; given back when it is dropped.
pub(super) struct Held<'a> {
    held: &'a AtomicUsize,
    bytes: usize,
}

impl Held<'_> {
    fn grow(&mut self, bytes: usize, most: usize) -> Result<(), BodyError> {
        self.bytes += bytes;
        if self.held.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
            Err(BodyError::Overloaded)
        } else {
            Ok(())
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The whole body and its share of the memory.
pub(super) async fn read<'a>(payload: Payload, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    tokio::time::timeout(limits.timeout, collect(payload, limits))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<'a>(mut payload: Payload, limits: &Limits<'a>) -> Result<(Bytes, Held<'a>), BodyError> {
    let mut share = Held {
        held: limits.held,
        bytes: 0,
    };
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|cause| BodyError::Broken(cause.to_string()))?;
        if share.bytes + chunk.len() > limits.max_body_bytes {
            return Err(BodyError::TooLarge);
        }
        share.grow(chunk.len(), limits.max_held_bytes)?;
        if first.is_empty() {
            first = chunk;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&chunk);
        }
    }
    Ok((if more.is_empty() { first } else { more.freeze() }, share))
}
