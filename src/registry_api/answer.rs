//! Answers a request with the messages and error codes of Confluent's API
//! (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>). It does no I/O.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::subjects::{Subjects, Version};
use crate::schema::id_of_schema;
use crate::schema::registry::SUBJECT_COMPATIBILITY;

/// The parts of a request that an answer depends on.
pub(super) struct ApiRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// For `GET /subjects` and `/schemas`: only subjects that begin with it.
    pub subject_prefix: &'a str,
    pub body: &'a [u8],
}

/// An error of the API: its error code, whose first three digits are the HTTP status, and a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    code: u32,
    message: String,
}

impl ApiError {
    fn new(code: u32, message: impl Into<String>) -> ApiError {
        let message = message.into();
        ApiError { code, message }
    }

    pub fn status(&self) -> u16 {
        let status = if self.code > 999 { self.code / 100 } else { self.code };
        u16::try_from(status).expect("three digits")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { code, message } = self;
        json!({"error_code": code, "message": message}).fmt(formatter)
    }
}

/// The body of the answer.
pub(super) fn answer(subjects: &Subjects, request: &ApiRequest<'_>) -> Result<String, ApiError> {
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    match (request.method, &path[..]) {
        ("GET" | "HEAD", path) => read(subjects, path, request.subject_prefix),
        ("POST", ["subjects", subject]) => look_up(subjects, subject, request.body),
        _ => Err(ApiError::new(
            40501,
            "the bridge's registry is read-only: add a version to the schemas folder",
        )),
    }
}

fn read(subjects: &Subjects, path: &[&str], prefix: &str) -> Result<String, ApiError> {
    let answer = match path {
        [] => json!({}),
        ["subjects"] => {
            // `:*:` means all contexts. There is only one.
            let prefix = prefix.trim_start_matches(":*:");
            subjects.names().filter(|name| name.starts_with(prefix)).collect()
        }
        ["subjects", subject, "versions"] => versions(subjects, subject)?.iter().map(|it| it.number).collect(),
        ["subjects", subject, "versions", number] => described(subject, version(subjects, subject, number)?),
        ["subjects", subject, "versions", number, "schema"] => {
            return Ok(version(subjects, subject, number)?.schema.clone());
        }
        ["subjects", subject, "versions", number, "referencedby"] => {
            version(subjects, subject, number).map(|_| json!([]))?
        }
        ["schemas"] => {
            let wanted = subjects.all().filter(|(subject, _)| subject.starts_with(prefix));
            wanted.map(|(subject, version)| described(subject, version)).collect()
        }
        ["schemas", "types"] => json!(["AVRO"]),
        ["schemas", "ids", id, of @ ..] => return by_id(subjects, id, of),
        ["config", subject] => versions(subjects, subject).map(|_| config())?,
        ["config"] => config(),
        ["mode", ..] => json!({"mode": "READONLY"}),
        ["contexts"] => json!(["."]),
        _ => return Err(no_path()),
    };
    Ok(answer.to_string())
}

fn by_id(subjects: &Subjects, id: &str, of: &[&str]) -> Result<String, ApiError> {
    let found: Vec<_> = subjects
        .all()
        .filter(|(_, version)| id.parse() == Ok(version.id))
        .collect();
    let Some((_, version)) = found.first() else {
        return Err(ApiError::new(40403, format!("Schema {id} not found")));
    };
    let answer: Value = match of {
        [] => json!({"schema": version.schema}),
        ["schema"] => return Ok(version.schema.clone()),
        ["subjects"] => found.iter().map(|(subject, _)| *subject).collect(),
        ["versions"] => found
            .iter()
            .map(|(subject, version)| json!({"subject": subject, "version": version.number}))
            .collect(),
        _ => return Err(no_path()),
    };
    Ok(answer.to_string())
}

/// Schemas with equal ids are equal, also if they are formatted differently.
fn look_up(subjects: &Subjects, subject: &str, body: &[u8]) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Sent {
        schema: String,
    }
    let invalid = |cause: String| ApiError::new(42201, format!("Invalid schema: {cause}"));
    let versions = versions(subjects, subject)?;
    let sent: Sent = serde_json::from_slice(body).map_err(|cause| invalid(cause.to_string()))?;
    let id = id_of_schema(&sent.schema).map_err(invalid)?;
    let found = versions.iter().find(|version| version.id == id);
    let version = found.ok_or_else(|| ApiError::new(40403, "Schema not found"))?;
    Ok(described(subject, version).to_string())
}

fn versions<'a>(subjects: &'a Subjects, subject: &str) -> Result<&'a [Version], ApiError> {
    let found = subjects.versions(subject);
    found.ok_or_else(|| ApiError::new(40401, format!("Subject '{subject}' not found.")))
}

fn version<'a>(subjects: &'a Subjects, subject: &str, number: &str) -> Result<&'a Version, ApiError> {
    let versions = versions(subjects, subject)?;
    let found = match (number, number.parse::<u32>()) {
        ("latest" | "-1", _) => versions.last(),
        (_, Ok(number @ 1..)) => versions.iter().find(|version| version.number == number),
        _ => {
            let allowed = "Allowed values are between [1, 2^31-1] and the string \"latest\"";
            let message = format!("The specified version '{number}' is not a valid version id. {allowed}");
            return Err(ApiError::new(42202, message));
        }
    };
    found.ok_or_else(|| ApiError::new(40402, format!("Version {number} not found.")))
}

fn described(subject: &str, version: &Version) -> Value {
    let Version { number, id, schema } = version;
    json!({"subject": subject, "version": number, "id": id, "schemaType": "AVRO", "schema": schema})
}

fn config() -> Value {
    json!({"compatibilityLevel": SUBJECT_COMPATIBILITY})
}

fn no_path() -> ApiError {
    ApiError::new(404, "HTTP 404 Not Found")
}

#[cfg(test)]
mod tests;
