//! The schemas folder, and what it makes of a callback: `<provider>/<Command>/v<N>.avsc` becomes a plan, and the plan
//! turns a JSON body into framed Avro bytes in one pass over the text. The rules are in `schemas/README.md`.
//!
//! ```text
//! load:    folder -> compile (checks every rule) -> Command { attributes, plan, key rule, framing }
//! encode:  body -> walk (fields, captures, what does not fit) -> assembly in schema order -> meta -> unmapped
//! decode:  framing -> version -> apache-avro -> JSON
//! ```
//!
//! Absent here: Kafka, HTTP as a server (`registry` is a client of one), the spool, what a provider's answer looks like. Encoding never builds a tree, and fails
//! only for what is not a JSON object in UTF-8 (`a_json_object_always_encodes_and_nothing_is_lost`).

mod attributes;
mod avro;
mod capture;
mod catalogue;
mod command;
mod compile;
mod decode;
mod encoder;
mod error;
mod evolution;
mod exact;
mod fingerprint;
mod framing;
mod key;
mod location;
mod plan;
pub mod registry;
mod source;
mod unmapped;
mod walk;

#[cfg(test)]
mod tests;

pub use catalogue::Catalogue;
pub use command::Command;
pub use decode::{DecodeError, Decoded};
pub use encoder::{Encoded, Encoder, Meta};
pub use error::{EncodeError, LoadError};
pub use framing::Framing;
pub use unmapped::Leftovers;
