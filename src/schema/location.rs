//! A value of a schema file together with its place, so that every complaint can say where. Knows JSON, no Avro.

use serde_json::Value;

/// How much of a wrong value is shown.
const SHOWN_CHARS_MAX: usize = 80;

/// A rule that a schema file breaks.
#[derive(Debug)]
pub(super) struct Fault {
    pub place: String,
    pub found: String,
    pub allowed: String,
}

/// The rules that a file breaks, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Faults(pub Vec<Fault>);

impl Faults {
    /// The value, or none and a fault more.
    pub fn note<T>(&mut self, outcome: Result<T, Fault>) -> Option<T> {
        outcome.map_err(|fault| self.0.push(fault)).ok()
    }
}

/// A JSON value and the path to it (`$.fields[3].type`).
#[derive(Debug, Clone)]
pub(super) struct Located<'a> {
    pub value: &'a Value,
    place: String,
}

impl<'a> Located<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            value,
            place: "$".to_owned(),
        }
    }

    pub fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name)?;
        Some(Self {
            value,
            place: format!("{}.{name}", self.place),
        })
    }

    pub fn need(&self, name: &str, allowed: &str) -> Result<Self, Fault> {
        self.get(name).ok_or_else(|| Fault {
            place: format!("{}.{name}", self.place),
            found: "nothing".to_owned(),
            allowed: allowed.to_owned(),
        })
    }

    /// The object, if it has no other attributes than these.
    pub fn only(&self, allowed: &[&str]) -> Result<(), Fault> {
        let object = self.value.as_object().ok_or_else(|| self.fault("an object"))?;
        let others: Vec<_> = object.keys().filter(|name| !allowed.contains(&name.as_str())).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Fault {
            place: self.place.clone(),
            found: format!("the attribute {others:?}").replace(['[', ']'], ""),
            allowed: allowed.join(", "),
        })
    }

    pub fn items(&self) -> Result<Vec<Self>, Fault> {
        let items = self.value.as_array().ok_or_else(|| self.fault("an array"))?;
        let located = |(index, value)| Self {
            value,
            place: format!("{}[{index}]", self.place),
        };
        Ok(items.iter().enumerate().map(located).collect())
    }

    pub fn text(&self) -> Result<&'a str, Fault> {
        match self.value.as_str() {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.fault("a string that is not empty")),
        }
    }

    pub fn texts(&self) -> Result<Vec<&'a str>, Fault> {
        self.items()?.iter().map(Located::text).collect()
    }

    pub fn expect(&self, expected: &Value) -> Result<(), Fault> {
        if self.value == expected {
            Ok(())
        } else {
            Err(self.fault(expected.to_string()))
        }
    }

    pub fn fault(&self, allowed: impl Into<String>) -> Fault {
        let text = self.value.to_string();
        let mut found: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if found.len() < text.len() {
            found.push_str("...");
        }
        Fault {
            place: self.place.clone(),
            found,
            allowed: allowed.into(),
        }
    }
}
