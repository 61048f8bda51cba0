//! A client for the calls of a registry's API that the bridge needs. Does not cache and does not retry.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::{Config, RegistryError, tls};

/// The compatibility of the bridge's subjects (`schemas/README.md`). It is set on each subject that the client creates.
pub const SUBJECT_COMPATIBILITY: &str = "FULL_TRANSITIVE";

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// The API's error codes, beside the status.
const NO_SUBJECT: u32 = 40401;
const NO_VERSION: u32 = 40402;
const NO_SUBJECT_LEVEL: u32 = 40408;

/// A schema that the registry has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its id, the same under every subject.
    pub id: u32,
    /// Its version under the subject.
    pub version: u32,
}

/// A client of one registry.
pub struct Client {
    agent: Agent,
    urls: Vec<String>,
    authorization: Option<String>,
    /// The index of the address that answered last. It is tried first, so that a dead address does not cost each call its
    /// timeout.
    good: AtomicUsize,
}

impl Client {
    /// A client. It calls nothing yet.
    ///
    /// # Errors
    /// If the trusted authorities cannot be read.
    pub fn new(config: &Config) -> io::Result<Client> {
        let mut agent = Agent::config_builder()
            .timeout_global(Some(config.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("imbridge/", env!("CARGO_PKG_VERSION")));
        if config.ca.is_some() || config.urls.iter().any(|url| url.starts_with("https:")) {
            agent = agent.tls_config(tls(config.ca.as_deref())?);
        }
        let basic = |auth: &String| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(auth));
        Ok(Client {
            agent: agent.build().new_agent(),
            urls: config.urls.clone(),
            authorization: config.auth.as_ref().map(basic),
            good: AtomicUsize::new(0),
        })
    }

    /// How many subjects there are. This call shows whether the registry is up.
    ///
    /// # Errors
    /// [`RegistryError`], as from every call here.
    pub fn count_subjects(&self) -> Result<usize, RegistryError> {
        let subjects: Vec<String> = self.call("GET", "/subjects", "", None)?;
        Ok(subjects.len())
    }

    /// A schema under a subject.
    ///
    /// # Errors
    /// [`RegistryError::NoSubject`] or [`RegistryError::NoSchema`] if it is not there.
    pub fn look_up(&self, subject: &str, schema: &str) -> Result<Found, RegistryError> {
        let path = format!("/subjects/{subject}?normalize=true");
        self.call("POST", &path, subject, Some(&json!({ "schema": schema })))
    }

    /// The text of the schema with this id.
    ///
    /// # Errors
    /// [`RegistryError::NoSchema`] if no schema has the id.
    pub fn schema(&self, id: u32) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Text {
            schema: String,
        }
        let text: Text = self.call("GET", &format!("/schemas/ids/{id}"), &format!("id {id}"), None)?;
        Ok(text.schema)
    }

    /// The newest version of a subject.
    ///
    /// # Errors
    /// [`RegistryError::NoSubject`] if there is none.
    pub fn latest(&self, subject: &str) -> Result<Found, RegistryError> {
        self.call("GET", &format!("/subjects/{subject}/versions/latest"), subject, None)
    }

    /// Looks up a schema, and adds it as the subject's next version if it is not there. For a new subject,
    /// [`SUBJECT_COMPATIBILITY`] is set first. Returns the id, and whether the schema was added.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`] if the subject's versions do not allow it.
    pub fn register(&self, subject: &str, schema: &str) -> Result<(u32, bool), RegistryError> {
        match self.look_up(subject, schema) {
            Ok(found) => return Ok((found.id, false)),
            Err(RegistryError::NoSubject(_)) => {
                let level = json!({ "compatibility": SUBJECT_COMPATIBILITY });
                let _: Value = self.call("PUT", &format!("/config/{subject}"), subject, Some(&level))?;
            }
            Err(RegistryError::NoSchema(_)) => {}
            Err(other) => return Err(other),
        }
        #[derive(Deserialize)]
        struct Added {
            id: u32,
        }
        let path = format!("/subjects/{subject}/versions?normalize=true");
        let added: Added = self.call("POST", &path, subject, Some(&json!({ "schema": schema })))?;
        Ok((added.id, true))
    }

    /// The compatibility level of a subject: its own, or the registry's if it has none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn compatibility(&self, subject: &str) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Level {
            compatibility_level: String,
        }
        let own = self.call("GET", &format!("/config/{subject}"), subject, None);
        let level: Level = match own {
            Err(RegistryError::NoSubject(_)) => self.call("GET", "/config", subject, None)?,
            other => other?,
        };
        Ok(level.compatibility_level)
    }

    /// Calls the addresses in turn, until one gives an answer that does not depend on the address.
    fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        subject: &str,
        body: Option<&Value>,
    ) -> Result<T, RegistryError> {
        let first = self.good.load(Ordering::Relaxed);
        let mut outcome = None;
        for step in 0..self.urls.len() {
            let index = (first + step) % self.urls.len();
            let url = &self.urls[index];
            let answer = self
                .request(method, &format!("{url}{path}"), body)
                .map_err(|cause| RegistryError::Unreachable {
                    url: url.clone(),
                    cause: cause.to_string(),
                })
                .and_then(|(status, text)| read(url, subject, status, &text));
            match answer {
                Err(cause) if cause.is_of_the_address() => outcome = Some(cause),
                answer => {
                    self.good.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(outcome.expect("there is at least one address"))
    }

    fn request(&self, method: &str, url: &str, body: Option<&Value>) -> Result<(u16, String), ureq::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("accept", format!("{CONTENT_TYPE}, application/json"));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = match body {
            Some(body) => {
                let request = request.header("content-type", CONTENT_TYPE);
                self.agent.run(request.body(body.to_string())?)?
            }
            None => self.agent.run(request.body(())?)?,
        };
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string()?;
        Ok((response.status().as_u16(), text))
    }
}

/// The result of an HTTP response.
fn read<T: DeserializeOwned>(url: &str, subject: &str, status: u16, text: &str) -> Result<T, RegistryError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Refusal {
        error_code: u32,
        message: String,
    }
    let (url, subject) = (url.to_owned(), subject.to_owned());
    let answer = |url, message| RegistryError::Answer { url, status, message };
    if (200..300).contains(&status) {
        return serde_json::from_str(text)
            .map_err(|cause| answer(url, format!("not the answer of a registry: {cause}")));
    }
    Err(match (status, serde_json::from_str(text).ok()) {
        (401 | 403, _) => RegistryError::Unauthorized { url, status },
        (404, Some(Refusal { error_code, .. })) if [NO_SUBJECT, NO_VERSION, NO_SUBJECT_LEVEL].contains(&error_code) => {
            RegistryError::NoSubject(subject)
        }
        // The code shows that this 404 is from a registry and not from another server.
        (404, Some(Refusal { error_code, .. })) if error_code / 100 == 404 => RegistryError::NoSchema(subject),
        (409 | 422, Some(Refusal { message, .. })) => RegistryError::Incompatible { subject, message },
        (_, Some(Refusal { message, .. })) if !message.is_empty() => answer(url, message),
        _ => answer(url, text.chars().take(200).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_classified_by_the_status_and_the_registrys_error_code() {
        for (status, text, reason) in [
            (
                404,
                r#"{"error_code":40401,"message":"Subject"}"#,
                "the registry has no subject s",
            ),
            (
                404,
                r#"{"error_code":40403,"message":"Schema"}"#,
                "does not have this schema under s",
            ),
            (404, "<html>", "status 404: <html>"),
            (401, "", "registry_auth with status 401"),
            (
                409,
                r#"{"error_code":409,"message":"no"}"#,
                "s does not take this schema: no",
            ),
            (503, r#"{"error_code":50003,"message":"later"}"#, "status 503: later"),
            (200, "<html>", "not the answer of a registry"),
        ] {
            let error = read::<Found>("u", "s", status, text).unwrap_err();
            assert!(error.to_string().contains(reason), "{status} {text}: {error}");
        }
        let found: Found = read("u", "s", 200, r#"{"subject":"s","version":2,"id":7}"#).unwrap();
        assert_eq!(found, Found { id: 7, version: 2 });
    }
}
