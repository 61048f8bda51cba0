//! A value of a schema file together with its place in the file, so that every finding names the place. Knows JSON, not
//! Avro.

use std::path::Path;

use serde_json::Value;

use super::error::Finding;

/// How many characters of a wrong value are shown.
const SHOWN_CHARS_MAX: usize = 80;

/// The rules that a file breaks, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Returns the value, or adds the finding.
    pub fn note<T>(&mut self, outcome: Result<T, Finding>) -> Option<T> {
        outcome.map_err(|finding| self.push(finding)).ok()
    }
}

/// A JSON value, its file, and the path to it in the file (`$.fields[3].type`).
#[derive(Debug, Clone)]
pub(super) struct Located<'a> {
    pub value: &'a Value,
    file: &'a Path,
    place: String,
}

impl<'a> Located<'a> {
    pub fn root(file: &'a Path, value: &'a Value) -> Self {
        let place = "$".to_owned();
        Self { value, file, place }
    }

    pub fn get(&self, name: &str) -> Option<Self> {
        let place = format!("{}.{name}", self.place);
        let value = self.value.get(name)?;
        Some(Self { value, place, ..*self })
    }

    pub fn need(&self, name: &str, allowed: &str) -> Result<Self, Finding> {
        self.get(name).ok_or_else(|| Finding {
            place: format!("{}.{name}", self.place),
            ..Finding::of_file(self.file.to_owned(), "nothing", allowed)
        })
    }

    /// An error unless the value is an object with no other attributes than these.
    pub fn only(&self, allowed: &[&str]) -> Result<(), Finding> {
        let object = self.value.as_object().ok_or_else(|| self.finding("an object"))?;
        let others: Vec<_> = object.keys().filter(|name| !allowed.contains(&name.as_str())).collect();
        if others.is_empty() {
            return Ok(());
        }
        let found = format!("the attribute {others:?}").replace(['[', ']'], "");
        Err(self.found(found, allowed.join(", ")))
    }

    pub fn items(&self) -> Result<Vec<Self>, Finding> {
        let items = self.value.as_array().ok_or_else(|| self.finding("an array"))?;
        let located = |(index, value)| Self {
            value,
            place: format!("{}[{index}]", self.place),
            ..*self
        };
        Ok(items.iter().enumerate().map(located).collect())
    }

    pub fn text(&self) -> Result<&'a str, Finding> {
        match self.value.as_str() {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.finding("a string that is not empty")),
        }
    }

    pub fn texts(&self) -> Result<Vec<&'a str>, Finding> {
        self.items()?.iter().map(Located::text).collect()
    }

    pub fn expect(&self, expected: &Value) -> Result<(), Finding> {
        if self.value == expected {
            Ok(())
        } else {
            Err(self.finding(expected.to_string()))
        }
    }

    /// The finding that this value is not what is allowed.
    pub fn finding(&self, allowed: impl Into<String>) -> Finding {
        let text = self.value.to_string();
        let mut found: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if found.len() < text.len() {
            found.push_str("...");
        }
        self.found(found, allowed)
    }

    fn found(&self, found: String, allowed: impl Into<String>) -> Finding {
        Finding {
            place: self.place.clone(),
            ..Finding::of_file(self.file.to_owned(), found, allowed)
        }
    }
}
