//! The bytes before a record, by which a reader finds the schema with which it was written. Knows no schema.

use serde::Deserialize;

/// Marks Avro's single-object encoding, version 1.
const SINGLE_OBJECT_MARKER: [u8; 2] = [0xC3, 0x01];
/// Marks Confluent's wire format: the schema is named by its id in a registry.
const CONFLUENT_MARKER: [u8; 1] = [0];

/// Which framing is written: `schemas.framing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// The framing of stock readers. The id is from a registry, the bridge's own or another one.
    #[default]
    Confluent,
    /// Avro's single-object encoding, which needs no registry.
    SingleObject,
}

/// How a record names its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Avro single-object encoding: the marker, then the CRC-64-AVRO of the schema's Parsing Canonical Form.
    SingleObject { fingerprint: u64 },
    /// Confluent's wire format: a zero byte, then the schema's id in a registry.
    Confluent { id: u32 },
}

impl Framing {
    /// Appends the bytes that precede the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::SingleObject { fingerprint } => {
                out.extend_from_slice(&SINGLE_OBJECT_MARKER);
                out.extend_from_slice(&fingerprint.to_le_bytes());
            }
            Self::Confluent { id } => {
                out.extend_from_slice(&CONFLUENT_MARKER);
                out.extend_from_slice(&id.to_be_bytes());
            }
        }
    }

    /// Splits a framed record into its framing and the record. None if it begins with no known framing.
    pub fn split(framed: &[u8]) -> Option<(Self, &[u8])> {
        if let Some(rest) = framed.strip_prefix(&CONFLUENT_MARKER) {
            let (id, record) = rest.split_first_chunk()?;
            let id = u32::from_be_bytes(*id);
            return Some((Self::Confluent { id }, record));
        }
        let rest = framed.strip_prefix(&SINGLE_OBJECT_MARKER)?;
        let (fingerprint, record) = rest.split_first_chunk()?;
        let fingerprint = u64::from_le_bytes(*fingerprint);
        Some((Self::SingleObject { fingerprint }, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_stands_before_the_fingerprint_in_little_endian_or_the_id_in_big_endian() {
        let fingerprint = 0x0102_0304_0506_0708;
        let cases: [(_, &[u8]); 2] = [
            (
                Framing::SingleObject { fingerprint },
                &[0xC3, 0x01, 8, 7, 6, 5, 4, 3, 2, 1],
            ),
            (Framing::Confluent { id: 0x0102_0304 }, &[0, 1, 2, 3, 4]),
        ];
        for (framing, bytes) in cases {
            let mut out = vec![];
            framing.write(&mut out);
            assert_eq!(out, bytes);
            out.push(42);
            assert_eq!(Framing::split(&out), Some((framing, &[42][..])));
        }
    }

    #[test]
    fn what_is_not_framed_is_not_split() {
        for bytes in [
            &b""[..],
            b"\xC3",
            b"\xC3\x01\x01\x02",
            b"\x00\x00\x00\x01",
            b"{\"a\":1}...",
        ] {
            assert_eq!(Framing::split(bytes), None, "{bytes:?}");
        }
    }
}
