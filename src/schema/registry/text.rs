//! The text of a schema that is sent to a registry. Knows attributes by name, not their meaning.

use serde_json::Value;

use super::super::fingerprint::strip;

/// The attributes that only the bridge reads (`schemas/README.md`).
const OWN: [&str; 5] = ["imbridge", "spellings", "unit", "json", "unique"];

/// The schema on one line, without the attributes that only the bridge reads.
///
/// A registry's normalisation keeps unknown attributes. So with them, a changed key expression or a new spelling would be a
/// new version with a new id, although readers see no difference. Documentation and logical types stay: readers use them.
///
/// # Errors
/// If the text is not JSON. The schemas of a catalogue always are.
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
