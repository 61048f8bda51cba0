//! The schemas folder, and what it makes of a callback: `<provider>/<Command>/v<N>.avsc` becomes a plan, and the plan
//! turns a JSON body into framed Avro bytes in one pass over the text. The rules are in `schemas/README.md`.
//!
//! ```text
//! load:    folder -> compile (checks every rule) -> Command { attributes, plan, key rule, framing }
//! encode:  body -> walk (fields, captures, what does not fit) -> assembly in schema order -> meta -> unmapped
//! decode:  framing -> version -> apache-avro -> JSON
//! folder:  lint (every fault at once), publish (the lock), fingerprints, summaries, drafts
//! ```
//!
//! Absent here: Kafka, HTTP as a server (`registry` is a client of one), the spool, what a provider's answer looks like. Encoding never builds a tree, and fails
//! only for what is not a JSON object in UTF-8 (`a_json_object_always_encodes_and_nothing_is_lost`).

mod attributes;
mod avro;
mod capture;
mod catalogue;
mod columns;
mod command;
mod compile;
mod decode;
mod decoder;
mod draft;
mod encoder;
mod error;
mod evolution;
mod exact;
mod file;
mod fingerprint;
mod framing;
mod identity;
mod key;
mod kinds;
mod kinds_page;
mod lint;
mod location;
mod meaning;
mod path;
mod plan;
mod published;
mod reference;
pub mod registry;
mod source;
mod summary;
mod text;
mod timeline;
mod unmapped;
mod versions;
mod walk;
mod wording;

#[cfg(test)]
mod tests;

pub use catalogue::Catalogue;
pub use columns::{Column, Shape};
pub use command::Command;
pub use decode::{DecodeError, Decoded};
pub use decoder::Decoder;
pub use draft::{Draft, DraftError, Drafted, Sample, draft};
pub use encoder::{Encoded, Encoder, Meta};
pub use error::{EncodeError, Finding, LoadError};
pub use fingerprint::{Fingerprint, id_of_schema};
pub use framing::{Framing, Style};
pub use identity::Numbered;
pub use kinds_page::kinds_page;
pub use lint::{Report, lint};
pub use meaning::Meaning;
pub use published::publish;
pub use reference::reference;
pub use summary::Summary;
pub use timeline::TimelineEvent;
pub use versions::{VersionPrint, fingerprints};
