//! What can go wrong: a folder that breaks a rule, a body that is not a JSON object. Knows no remedy; the caller does.

use std::io;
use std::path::PathBuf;

use jiter::{JiterError, JiterErrorType, JsonErrorType};
use serde::Serialize;
use thiserror::Error;

/// Why a schemas folder was refused. Every variant is for the folder's author to mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    /// Something in the folder that has no place there, or something missing.
    #[error("{}: {found}; allowed: {allowed}", path.display())]
    Layout {
        path: PathBuf,
        found: String,
        allowed: String,
    },
    #[error("{} is not JSON: {cause}", path.display())]
    Json { path: PathBuf, cause: serde_json::Error },
    #[error(transparent)]
    Rule(Finding),
    #[error("{} is not an Avro schema: {cause}", path.display())]
    Avro {
        path: PathBuf,
        cause: Box<apache_avro::Error>,
    },
}

/// A rule that is broken: where, by what, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Error)]
#[error("{} at {place}: found {found}; allowed: {allowed}", path.display())]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// The place in the file (`$.fields[3].type`); `$` is the whole of it.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl From<LoadError> for Finding {
    fn from(error: LoadError) -> Self {
        let (path, found, allowed) = match error {
            LoadError::Rule(finding) => return finding,
            LoadError::Layout { path, found, allowed } => (path, found, allowed),
            LoadError::Read { path, cause } => {
                (path, cause.to_string(), "a file or folder that can be read".to_owned())
            }
            LoadError::Write { path, cause } => (path, cause.to_string(), "a file that can be written".to_owned()),
            LoadError::Json { path, cause } => (path, cause.to_string(), "JSON".to_owned()),
            LoadError::Avro { path, cause } => (path, cause.to_string(), "an Avro schema".to_owned()),
        };
        Self {
            path,
            place: "$".to_owned(),
            found,
            allowed,
        }
    }
}

/// Why a body cannot become a record. All are properties of the body: trying again gives the same.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    #[error("not JSON at byte {position}: {detail}")]
    NotJson { position: usize, detail: String },
    #[error("not a JSON object")]
    NotAnObject,
    #[error("nested deeper than {DEPTH_MAX} levels at byte {position}")]
    TooDeep { position: usize },
    #[error("a string that is no Unicode text at byte {position}")]
    NotText { position: usize },
    #[error("a number of more than 4300 digits at byte {position}")]
    NumberTooLong { position: usize },
}

/// Levels of objects and arrays that a body may have, the body included.
pub(super) const DEPTH_MAX: u32 = 128;

impl EncodeError {
    /// A stable name for a metric's label or a header.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep { .. } => "too_deep",
            Self::NotText { .. } => "not_text",
            Self::NumberTooLong { .. } => "number_too_long",
        }
    }
}

impl From<JiterError> for EncodeError {
    fn from(error: JiterError) -> Self {
        let position = error.index;
        match error.error_type {
            JiterErrorType::JsonError(
                JsonErrorType::InvalidUnicodeCodePoint
                | JsonErrorType::LoneLeadingSurrogateInHexEscape
                | JsonErrorType::UnexpectedEndOfHexEscape,
            ) => Self::NotText { position },
            JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) => Self::NumberTooLong { position },
            other => Self::NotJson {
                position,
                detail: other.to_string(),
            },
        }
    }
}
