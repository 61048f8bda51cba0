//! One record of the spool: opaque bytes with a sequence number and a checksum. It does not know what the bytes mean.

use std::hash::Hasher;

use bytes::Bytes;
use siphasher::sip::SipHasher13;

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

/// How a file's records are told from anything else in its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// CRC-32 (IEEE) of format 1, which whoever writes a body can compute.
    Crc32,
    /// SipHash-1-3 with a key of the file's own, which no body's author knows: a row in a body is no record.
    Keyed([u8; 16]),
}

impl Checksum {
    /// Over the number too, so that a record in another's place is found out. Never negative.
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

    /// Stands in the place of the checksum of a record that is lost. Always negative.
    pub fn of_lost(&self, seq: u64, appended_at_ms: i64) -> i64 {
        match self {
            Checksum::Crc32 => -1,
            Checksum::Keyed(_) => !self.of(seq, appended_at_ms, b""),
        }
    }
}
