//! Decodes records in either framing, with the schemas of a folder or of a registry. A registry is asked once for each id.
//! Used by the command line, not by publishing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use serde_json::Value;

use super::catalogue::Catalogue;
use super::decode::{self, DecodeError};
use super::framing::Framing;
use super::registry::Client;

/// After a failed look-up, the registry is not asked again for the same id during this time.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Decodes records, and caches the schemas that a registry has.
pub struct Decoder {
    catalogue: Arc<Catalogue>,
    registry: Option<Client>,
    looked_up: HashMap<u32, LookUp>,
}

/// The schema, or the cause and the time of the failure.
type LookUp = Result<Schema, (String, Instant)>;

impl Decoder {
    /// A decoder. Without a registry, ids are those that the bridge computes.
    pub fn new(catalogue: Arc<Catalogue>, registry: Option<Client>) -> Decoder {
        Decoder {
            catalogue,
            registry,
            looked_up: HashMap::new(),
        }
    }

    /// Decodes the record in these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not a record, or if its schema cannot be found.
    pub fn decode(&mut self, framed: &[u8]) -> Result<Value, DecodeError> {
        if let (Some(registry), Some((Framing::Confluent { id }, record))) = (&self.registry, Framing::split(framed)) {
            let is_stale = |known: &LookUp| matches!(known, Err((_, at)) if at.elapsed() > RETRY_AFTER);
            if self.looked_up.get(&id).is_none_or(is_stale) {
                self.looked_up.insert(id, look_up(registry, id));
            }
            return match decode_with(&self.looked_up[&id], record) {
                Ok(value) => Ok(value),
                // The topic may have records that were written without a registry, with the bridge's own ids.
                Err(cause) => match self.catalogue.decode(framed) {
                    Ok(decoded) => Ok(decoded.record),
                    Err(_) => Err(DecodeError::Registry { id, cause }),
                },
            };
        }
        Ok(self.catalogue.decode(framed)?.record)
    }
}

fn decode_with(schema: &LookUp, mut record: &[u8]) -> Result<Value, String> {
    let schema = schema.as_ref().map_err(|(cause, _)| cause.clone())?;
    let value = decode::read(schema, &mut record).map_err(|cause| cause.to_string())?;
    match record.len() {
        0 => Ok(value),
        count => Err(format!("{count} bytes behind the record")),
    }
}

fn look_up(registry: &Client, id: u32) -> LookUp {
    let text = registry.schema(id).map_err(|cause| cause.to_string());
    let schema = text.and_then(|text| Schema::parse_str(&text).map_err(|cause| cause.to_string()));
    schema.map_err(|cause| (cause, Instant::now()))
}
