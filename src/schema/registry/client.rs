//! The registry's API: the few calls of it that the bridge needs. Knows no cache and waits for nothing but an answer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::{Config, RegistryError, tls};

/// What the bridge promises of its subjects (`schemas/README.md`), and sets on those that it creates.
pub const SUBJECT_COMPATIBILITY: &str = "FULL_TRANSITIVE";

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// The API's own numbers, beside the status.
const NO_SUBJECT: u32 = 40401;
const NO_VERSION: u32 = 40402;
const NO_SUBJECT_LEVEL: u32 = 40408;

/// A schema as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its number, the same under every subject.
    pub id: u32,
    /// Its place among the subject's.
    pub version: u32,
}

/// A registry.
pub struct Client {
    agent: Agent,
    urls: Vec<String>,
    authorization: Option<String>,
    /// The address that answered last: a dead first one does not cost every call its timeout.
    good: AtomicUsize,
}

impl Client {
    /// A client; nothing is called yet.
    ///
    /// # Errors
    /// When the authorities to trust cannot be read.
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

    /// How many subjects there are: the least that a living registry answers.
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
    /// [`RegistryError::NoSubject`] and [`RegistryError::NoSchema`] when it is not there.
    pub fn look_up(&self, subject: &str, schema: &str) -> Result<Found, RegistryError> {
        let path = format!("/subjects/{subject}?normalize=true");
        self.call("POST", &path, subject, Some(&json!({ "schema": schema })))
    }

    /// The text of the schema with this number.
    ///
    /// # Errors
    /// [`RegistryError::NoSchema`] when the registry has given the number to none.
    pub fn schema(&self, id: u32) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Text {
            schema: String,
        }
        let text: Text = self.call("GET", &format!("/schemas/ids/{id}"), &format!("number {id}"), None)?;
        Ok(text.schema)
    }

    /// The newest version of a subject.
    ///
    /// # Errors
    /// [`RegistryError::NoSubject`] when there is none.
    pub fn latest(&self, subject: &str) -> Result<Found, RegistryError> {
        self.call("GET", &format!("/subjects/{subject}/versions/latest"), subject, None)
    }

    /// Makes sure that a schema is there: looks it up, else adds it as the subject's next version. A new subject gets
    /// [`SUBJECT_COMPATIBILITY`] first. Gives the number, and whether anything was added.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`] when the subject's versions do not allow it.
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

    /// The compatibility level that holds for a subject, its own or the registry's.
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

    /// Calls the addresses in turn, until one has something to say.
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
                let request = request.header("content-type", CONTENT_TYPE).body(body.to_string())?;
                self.agent.run(request)?
            }
            None => self.agent.run(request.body(())?)?,
        };
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()?;
        Ok((response.status().as_u16(), text))
    }
}

/// What an answer says.
fn read<T: DeserializeOwned>(url: &str, subject: &str, status: u16, text: &str) -> Result<T, RegistryError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Refusal {
        error_code: u32,
        message: String,
    }
    let answer = |message: String| RegistryError::Answer {
        url: url.to_owned(),
        status,
        message,
    };
    if (200..300).contains(&status) {
        return serde_json::from_str(text).map_err(|cause| answer(format!("not the answer of a registry: {cause}")));
    }
    let refusal: Option<Refusal> = serde_json::from_str(text).ok();
    let subject = subject.to_owned();
    Err(match (status, refusal) {
        (401 | 403, _) => RegistryError::Unauthorized {
            url: url.to_owned(),
            status,
        },
        (404, Some(Refusal { error_code, .. })) if [NO_SUBJECT, NO_VERSION, NO_SUBJECT_LEVEL].contains(&error_code) => {
            RegistryError::NoSubject(subject)
        }
        // Any other 404 in the registry's own words; a 404 of some other server is no answer of a registry.
        (404, Some(Refusal { error_code, .. })) if error_code / 100 == 404 => RegistryError::NoSchema(subject),
        (409 | 422, Some(Refusal { message, .. })) => RegistryError::Incompatible { subject, message },
        (_, Some(Refusal { message, .. })) if !message.is_empty() => answer(message),
        _ => answer(text.chars().take(200).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_status_and_by_the_registrys_own_number() {
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
