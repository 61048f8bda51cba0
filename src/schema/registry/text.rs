//! The text of a schema as a registry gets it. Knows attributes by name, not what they mean.

use serde_json::Value;

use super::super::fingerprint::strip;

/// The bridge's own attributes (`schemas/README.md`).
const OWN: [&str; 5] = ["imbridge", "spellings", "unit", "json", "unique"];

/// The schema without the attributes that only the bridge reads, on one line.
///
/// A registry's normalisation keeps attributes that it does not know, so a changed key expression or one more spelling,
/// which no reader can see, would be a new version there, with a new number. Documentation and logical types stay: they
/// are for readers.
///
/// # Errors
/// When the text is not JSON; a catalogue holds none such.
pub fn published(schema: &str) -> serde_json::Result<String> {
    let mut json: Value = serde_json::from_str(schema)?;
    strip(&OWN, &mut json);
    serde_json::to_string(&json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bridges_own_attributes_are_left_out() {
        let schema = r#"{"type": "record", "name": "A", "doc": "d", "imbridge": {"phase": "after"}, "fields": [
            {"name": "unit", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null,
             "doc": "t", "spellings": ["Unit"], "unit": "s"},
            {"name": "imbridge", "type": ["null", "string"], "default": null, "json": true, "unique": true}]}"#;
        let expected = r#"{"type": "record", "name": "A", "doc": "d", "fields": [
            {"name": "unit", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null,
             "doc": "t"},
            {"name": "imbridge", "type": ["null", "string"], "default": null}]}"#;
        let [found, expected]: [Value; 2] =
            [&published(schema).unwrap(), expected].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(found, expected);
    }
}
