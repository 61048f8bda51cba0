//! Decodes a record to JSON with apache-avro. Used by the command line and by tests, not by publishing.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use serde_json::Value;
use thiserror::Error;

use super::file::Compiled;

/// A record, and the schema version with which it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub command: String,
    pub version: u32,
    pub record: Value,
}

/// Why bytes could not be decoded as a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("neither Confluent's framing nor an Avro single object")]
    NotFramed,
    #[error("no schema here has the fingerprint {fingerprint:016x}")]
    UnknownSchema { fingerprint: u64 },
    #[error("no schema here has the id {id}, and no registry is configured")]
    UnknownId { id: u32 },
    #[error("schema {id} of the registry: {cause}")]
    Registry { id: u32, cause: String },
    #[error("not a record of {command} v{version}: {cause}")]
    Avro {
        command: String,
        version: u32,
        cause: Box<apache_avro::Error>,
    },
    #[error("{count} bytes behind the record of {command} v{version}")]
    Trailing {
        command: String,
        version: u32,
        count: usize,
    },
}

pub(super) fn decode(Compiled { command, schema }: &Compiled, mut rest: &[u8]) -> Result<Decoded, DecodeError> {
    let (name, version) = (command.name.clone(), command.version);
    match read(schema, &mut rest) {
        Err(cause) => Err(DecodeError::Avro {
            command: name,
            version,
            cause: Box::new(cause),
        }),
        Ok(_) if !rest.is_empty() => Err(DecodeError::Trailing {
            command: name,
            version,
            count: rest.len(),
        }),
        Ok(record) => Ok(Decoded {
            command: name,
            version,
            record,
        }),
    }
}

pub(super) fn read(schema: &Schema, bytes: &mut &[u8]) -> Result<Value, apache_avro::Error> {
    let value = GenericDatumReader::builder(schema).build()?.read_value(bytes)?;
    Value::try_from(value)
}
