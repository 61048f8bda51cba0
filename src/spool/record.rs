//! One record of the spool: opaque bytes with a sequence number and a checksum. It does not know what the bytes mean.

use std::hash::Hasher;

use bytes::Bytes;
use siphasher::sip::SipHasher13;

/// A record as it was read from the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of acknowledgement, from 1, without gaps.
    pub seq: u64,
    /// When the writer took it, in Unix milliseconds.
    pub appended_at_ms: i64,
    /// What was appended.
    pub data: Bytes,
    /// Whether the bytes match their checksum. An empty record that is not intact stands for a lost one, whose page
    /// could not be read.
    pub intact: bool,
}

/// The checksum of a file's records. It tells them from anything else in the file's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// CRC-32 (IEEE) of format 1. The author of a body can compute it.
    Crc32,
    /// SipHash-1-3 with a random key of this file. The author of a body does not know it, so he cannot forge a record
    /// by a row inside the body.
    Keyed([u8; 16]),
}

impl Checksum {
    /// The checksum of a record. It covers the number too, so that a record in another's place is detected. Never
    /// negative.
    pub fn of(&self, seq: u64, appended_at_ms: i64, data: &[u8]) -> i64 {
        match self {
            Checksum::Crc32 => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&seq.to_le_bytes());
                hasher.update(data);
                hasher.finalize().into()
            }
            Checksum::Keyed(key) => {
                let mut hasher = SipHasher13::new_with_key(key);
                hasher.write(&seq.to_le_bytes());
                hasher.write(&appended_at_ms.to_le_bytes());
                hasher.write(data);
                (hasher.finish() >> 1) as i64
            }
        }
    }

    /// The checksum of an entry that stands for a lost record. Always negative.
    pub fn of_lost(&self, seq: u64, appended_at_ms: i64) -> i64 {
        match self {
            Checksum::Crc32 => -1,
            Checksum::Keyed(_) => !self.of(seq, appended_at_ms, b""),
        }
    }
}
