//! Reads records back in either framing: by the fingerprints and ids of a schemas folder, or by a registry's numbers, which
//! are asked for once. For people who look; no part of the way to Kafka.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use serde_json::Value;

use super::catalogue::Catalogue;
use super::decode::{self, DecodeError};
use super::framing::Framing;
use super::registry::Client;

/// A registry that did not answer is not asked again for the same number before this.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Where schemas are found.
pub struct Decoder {
    catalogue: Arc<Catalogue>,
    registry: Option<Client>,
    known: HashMap<u32, Answer>,
}

/// The schema; or why there is none, and since when.
type Answer = Result<Schema, (String, Instant)>;

impl Decoder {
    /// A decoder; without a registry, ids are those that the bridge makes.
    pub fn new(catalogue: Arc<Catalogue>, registry: Option<Client>) -> Decoder {
        Decoder {
            catalogue,
            registry,
            known: HashMap::new(),
        }
    }

    /// The record in these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none, or its schema is not to be had.
    pub fn decode(&mut self, framed: &[u8]) -> Result<Value, DecodeError> {
        match Framing::split(framed) {
            Some((Framing::Confluent { id }, record)) if self.registry.is_some() => {
                // A topic can hold records from before there was a registry.
                let read = self.decode_numbered(id, record);
                read.or_else(|cause| Ok(self.catalogue.decode(framed).map_err(|_| cause)?.record))
            }
            _ => Ok(self.catalogue.decode(framed)?.record),
        }
    }

    fn decode_numbered(&mut self, id: u32, mut record: &[u8]) -> Result<Value, DecodeError> {
        let registry = self.registry.as_ref().expect("it is asked only where it is");
        let failed = |cause: String| DecodeError::Registry { id, cause };
        let stale = |answer: &Answer| matches!(answer, Err((_, at)) if at.elapsed() > ASK_AGAIN);
        if self.known.get(&id).is_none_or(stale) {
            self.known.insert(id, ask(registry, id));
        }
        let schema = self.known[&id].as_ref().map_err(|(cause, _)| failed(cause.clone()))?;
        let value = decode::read(schema, &mut record).map_err(|cause| failed(cause.to_string()))?;
        if record.is_empty() {
            Ok(value)
        } else {
            Err(failed(format!("{} bytes behind the record", record.len())))
        }
    }
}

fn ask(registry: &Client, id: u32) -> Answer {
    let text = registry.schema(id).map_err(|cause| cause.to_string());
    let schema = text.and_then(|text| Schema::parse_str(&text).map_err(|cause| cause.to_string()));
    schema.map_err(|cause| (cause, Instant::now()))
}
