//! One record of the spool: opaque bytes with a sequence number and a checksum. It does not know what the bytes mean.

use bytes::Bytes;

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of acknowledgement, from 1, without gaps.
    pub seq: u64,
    /// When the writer took it, in Unix milliseconds.
    pub appended_at_ms: i64,
    /// What was appended.
    pub data: Bytes,
    /// Whether the bytes still have the checksum they were written with. A record that is not intact and empty is lost: the
    /// page that held it cannot be read.
    pub intact: bool,
}

/// Stands in the place of the checksum of a record that is lost; no checksum is negative.
pub(super) const LOST: i64 = -1;

/// CRC-32 (IEEE) over the sequence number and the bytes, so that a record in another's place is found out too.
pub(super) fn checksum(seq: u64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}
