//! Applies rules to JSON text. Everything else stays as it was written, including numbers and repeated keys.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Action, PrivacyConfig};

/// The replacement of masked text.
pub(super) const MASK: &str = "***";

/// The rest of a rule's path at a place in the body.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub path: &'a str,
    pub rule: &'a PrivacyConfig,
}

impl<'a> Step<'a> {
    /// The first name and the rest, which is `None` at the last name.
    fn split(self) -> (&'a str, Option<&'a str>) {
        self.path
            .split_once('/')
            .map_or((self.path, None), |(name, rest)| (name, Some(rest)))
    }
}

/// How the rules apply to one field.
enum Effect<'a> {
    /// A rule's path ends at this field. If several do, a rule that drops has priority.
    Replace(&'a PrivacyConfig),
    /// The rules whose paths continue below this field. If there are none, the value stays as it is.
    Descend(Vec<Step<'a>>),
}

fn effect<'a>(rules: &[Step<'a>], name: &str) -> Effect<'a> {
    let mut below = Vec::new();
    let mut ends: Option<&PrivacyConfig> = None;
    for step in rules {
        match step.split() {
            (wanted, rest) if wanted == "*" || wanted == name => match rest {
                Some(path) => below.push(Step { path, rule: step.rule }),
                None if ends.is_none_or(|_| step.rule.action == Action::Drop) => ends = Some(step.rule),
                None => {}
            },
            _ => {}
        }
    }
    ends.map_or(Effect::Descend(below), Effect::Replace)
}

/// Writes a value after the rules were applied.
///
/// # Errors
/// If the text is not JSON.
pub(super) fn value(text: &str, rules: &[Step<'_>], out: &mut String) -> serde_json::Result<()> {
    let text = text.trim();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if !rules.is_empty() => {
            let mut reader = serde_json::Deserializer::from_str(text);
            Container { rules, out }.deserialize(&mut reader)?;
            reader.end()
        }
        _ => {
            let raw: &RawValue = serde_json::from_str(text)?;
            out.push_str(raw.get());
            Ok(())
        }
    }
}

/// An object or a list, entry by entry.
struct Container<'r, 'a, 'o> {
    rules: &'r [Step<'a>],
    out: &'o mut String,
}

impl<'de> DeserializeSeed<'de> for Container<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Container<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.out.push('{');
        let mut separator = "";
        while let Some((name, raw)) = entries.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            let effect = effect(self.rules, &name);
            if matches!(effect, Effect::Replace(rule) if rule.action == Action::Drop) {
                continue;
            }
            self.out.push_str(separator);
            self.out.push_str(&quoted(&name));
            self.out.push(':');
            entry(raw, effect, self.out).map_err(serde::de::Error::custom)?;
            separator = ",";
        }
        self.out.push('}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.out.push('[');
        let mut index = 0;
        while let Some(raw) = elements.next_element::<&'de RawValue>()? {
            if index > 0 {
                self.out.push(',');
            }
            entry(raw, effect(self.rules, &index.to_string()), self.out).map_err(serde::de::Error::custom)?;
            index += 1;
        }
        self.out.push(']');
        Ok(())
    }
}

fn entry(raw: &RawValue, effect: Effect<'_>, out: &mut String) -> serde_json::Result<()> {
    match effect {
        Effect::Descend(rules) => value(raw.get(), &rules, out),
        Effect::Replace(rule) => {
            out.push_str(&replaced(raw.get(), rule));
            Ok(())
        }
    }
}

fn replaced(text: &str, rule: &PrivacyConfig) -> String {
    let string = serde_json::from_str::<Cow<'_, str>>(text).ok();
    match (rule.action, string) {
        (Action::Drop, _) => "null".to_owned(),
        _ if text == "null" => "null".to_owned(),
        (Action::Hash, string) => quoted(&rule.hash(string.as_deref().unwrap_or(text))),
        (Action::Mask, Some(_)) => quoted(MASK),
        (Action::Mask, None) => "null".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text always serialises")
}
