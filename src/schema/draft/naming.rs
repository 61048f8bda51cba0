//! Names for the fields and records of a draft. Avro allows fewer names than JSON.

use std::collections::HashSet;

use super::super::compile::is_bridge_field;

/// Whether this is the name of an id. Ids are declared as strings, even if numbers are sent.
pub(super) fn is_id(wire: &str) -> bool {
    ["Id", "ID", "Account"].iter().any(|end| wire.ends_with(end)) || wire == "id"
}

/// The name itself if Avro and the bridge allow it, else one that they allow. The field then lists the original name as a
/// spelling.
pub(super) fn field_name(wire: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = wire.chars().map(plain).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        name.insert(0, '_');
    }
    if is_bridge_field(&name) {
        name.push('_');
    }
    name
}

/// The names of records that are in use.
#[derive(Debug, Default)]
pub(super) struct Names(pub HashSet<String>);

impl Names {
    /// A free name for the record in the field `wire` of `owner`. The record in a list is named after the list.
    pub fn record(&mut self, owner: &str, wire: &str) -> String {
        let field = field_name(wire);
        let stem = field.strip_suffix("List").filter(|stem| !stem.is_empty());
        let stem = stem.unwrap_or(&field);
        let base = format!("{owner}{}{}", stem[..1].to_ascii_uppercase(), &stem[1..]);
        let numbered = (2..).map(|number| format!("{base}{number}"));
        let mut candidates = std::iter::once(base.clone()).chain(numbered);
        let name = candidates.find(|name| self.0.insert(name.clone()));
        name.expect("numbers do not end")
    }
}
