//! Loads the schemas folder and encodes callbacks with it. Each `<provider>/<Command>/v<N>.avsc` is compiled into a plan.
//! The plan turns a JSON body into framed Avro bytes in one pass over the text. The rules are in `schemas/README.md`.
//!
//! ```text
//! load:    folder -> compile (checks every rule) -> Command { attributes, plan, key rule, framing }
//! encode:  body -> walk (fields, captures, values that do not fit) -> schema order -> meta -> unmapped
//! decode:  framing -> version -> apache-avro -> JSON
//! folder:  lint (all faults at once), publish (the lock), fingerprints, summaries, drafts
//! ```
//!
//! Absent here: Kafka, HTTP servers (`registry` is an HTTP client), the spool, the form of a provider's answer. Encoding
//! never builds a tree. It fails only if the body is not a JSON object in UTF-8
//! (`a_json_object_always_encodes_and_nothing_is_lost`).

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
mod walk;
mod wording;

#[cfg(test)]
mod tests;

pub use catalogue::Catalogue;
pub use columns::{Column, Shape};
pub use command::Command;
pub use decode::{DecodeError, Decoded};
pub use decoder::Decoder;
pub use draft::{Draft, DraftError, Drafted, OrderedJson, draft};
pub use encoder::{Encoded, Encoder, Meta};
pub use error::{EncodeError, Finding, LoadError};
pub use fingerprint::{Fingerprint, id_of_schema};
pub use framing::{Framing, Style};
pub use identity::Numbered;
pub use kinds_page::kinds_page;
pub use lint::{Report, lint};
pub use meaning::Meaning;
pub use published::{VersionPrint, fingerprints, publish};
pub use reference::reference;
pub use summary::Summary;
pub use timeline::TimelineEvent;
