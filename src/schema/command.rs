//! One command of the catalogue in one version of its schema: its names, its attributes, its plan. The plan is not visible
//! outside of `schema`.

use super::attributes::Attributes;
use super::fingerprint::id_of;
use super::framing::{Framing, Style};
use super::plan::RecordPlan;
use crate::callback::CommandRule;

/// A command as one version of its schema describes it.
#[derive(Debug)]
pub struct Command {
    pub(super) provider: String,
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) fingerprint: u64,
    /// The file's text.
    pub(super) schema: String,
    pub(super) attributes: Attributes,
    pub(super) plan: RecordPlan,
}

impl Command {
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.provider, &self.name)
    }

    /// The name of the provider's folder: `tencent`.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The name on the wire: `Group.CallbackAfterCreateGroup`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the schema with which records are written.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How it is answered, and whether its bodies are batches.
    pub fn rule(&self) -> &CommandRule {
        &self.attributes.rule
    }

    /// Whether its events carry a number that increases by one within their group.
    pub fn is_numbered(&self) -> bool {
        self.attributes.sequence.is_some()
    }

    /// The schema's text, as it is in the folder.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// CRC-64-AVRO of the schema's Parsing Canonical Form.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The schema's id if the bridge is its own registry.
    pub fn id(&self) -> u32 {
        id_of(self.fingerprint)
    }

    /// The framing of each record, with the bridge's own id.
    pub fn framing(&self, style: Style) -> Framing {
        match style {
            Style::Confluent => Framing::Confluent { id: self.id() },
            Style::SingleObject => Framing::SingleObject {
                fingerprint: self.fingerprint,
            },
        }
    }

    /// Whether a body can have an identity of its own. [`super::Encoded::identified`] is whether a body has one.
    pub fn has_identity(&self) -> bool {
        !self.attributes.identity.is_empty()
    }
}
