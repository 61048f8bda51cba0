//! Whether a record has everything that was sent.

use serde_json::Value;

/// Fails unless each leaf of `sent` is in the record, or in `unmapped` under its path.
pub fn assert_held(sent: &Value, held: &Value, unmapped: &Value, path: &str) {
    if unmapped.get(path).is_some_and(|text| {
        serde_json::from_str::<Value>(text.as_str().expect("text"))
            .ok()
            .as_ref()
            == Some(sent)
    }) {
        return;
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        }
    };
    match (sent, held) {
        (Value::Object(fields), Value::Object(record)) => {
            for (name, value) in fields {
                assert_held(value, record.get(name).unwrap_or(&Value::Null), unmapped, &below(name));
            }
        }
        (Value::Array(sent), Value::Array(held)) => {
            assert_eq!(sent.len(), held.len(), "{path}");
            sent.iter()
                .zip(held)
                .enumerate()
                .for_each(|(index, (sent, held))| assert_held(sent, held, unmapped, &below(&index.to_string())));
        }
        (Value::String(text), Value::Number(number)) => assert_eq!(*text, number.to_string(), "{path}"),
        (Value::Number(number), Value::String(text)) => assert_eq!(*text, number.to_string(), "{path}"),
        // A field that holds any JSON as text.
        (_, Value::String(text)) if !sent.is_string() || text.starts_with('"') => {
            assert_eq!(serde_json::from_str::<Value>(text).ok().as_ref(), Some(sent), "{path}");
        }
        _ => assert_eq!(sent, held, "{path}"),
    }
}
