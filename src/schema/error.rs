//! The errors of this part: a folder that breaks a rule, and a body that cannot become a record. The caller decides what to
//! do about them.

use std::io;
use std::path::{Path, PathBuf};

use jiter::{JiterError, JiterErrorType, JsonErrorType};
use serde::Serialize;
use thiserror::Error;

/// Why a schemas folder was refused. The folder's author must correct every one of these.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    /// A file or folder that does not belong there, or one that is missing.
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

/// A rule that is broken: the place, what was found there, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Error)]
#[error("{} at {place}: found {found}; allowed: {allowed}", path.display())]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// The place in the file (`$.fields[3].type`). `$` is the whole file.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// What is allowed there.
    pub allowed: String,
}

impl LoadError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Read { path, cause }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Write { path, cause }
    }

    pub(super) fn layout(path: &Path, found: impl Into<String>, allowed: &str) -> Self {
        Self::Layout {
            path: path.to_owned(),
            found: found.into(),
            allowed: allowed.to_owned(),
        }
    }
}

impl Finding {
    /// A finding about a file or folder as a whole.
    pub(super) fn of_file(path: PathBuf, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            path,
            place: "$".to_owned(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }
}

impl From<LoadError> for Finding {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Rule(finding) => finding,
            LoadError::Layout { path, found, allowed } => Self::of_file(path, found, allowed),
            LoadError::Read { path, cause } => {
                Self::of_file(path, cause.to_string(), "a file or folder that can be read")
            }
            LoadError::Write { path, cause } => Self::of_file(path, cause.to_string(), "a file that can be written"),
            LoadError::Json { path, cause } => Self::of_file(path, cause.to_string(), "JSON"),
            LoadError::Avro { path, cause } => Self::of_file(path, cause.to_string(), "an Avro schema"),
        }
    }
}

/// Why a body cannot become a record. The reason is always in the body, so a retry gives the same error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    #[error("not JSON at byte {position}: {detail}")]
    NotJson { position: usize, detail: String },
    #[error("not a JSON object")]
    NotAnObject,
    #[error("nested deeper than {DEPTH_MAX} levels at byte {position}")]
    TooDeep { position: usize },
    #[error("a string that is not Unicode text at byte {position}")]
    NotText { position: usize },
    #[error("a number of more than 4300 digits at byte {position}")]
    NumberTooLong { position: usize },
}

/// How many levels of objects and arrays a body may have, the body included.
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
