//! OpenIM's request line: the command at the path's end, behind a secret where the instance has one. Facts from
//! OpenIM Server's webhook client.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::secret::Secret;
use super::{Refusal, RequestLine, Verified};
use crate::callback::Provider;

/// One `[[openim]]` of the configuration: a server whose callbacks are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the server in events: OpenIM sends no app id.
    pub name: String,
    /// The path segment between `/openim/` and the command; without it, anyone who reaches the port is this server.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `user:password`, as it stands before the host in OpenIM's `url`.
    #[serde(default)]
    pub basic_auth: Option<Secret>,
}

pub(super) struct Instance {
    name: String,
    secret: Option<Secret>,
    authorization: Option<Secret>,
}

impl Instance {
    pub fn new(config: &Config) -> Instance {
        Instance {
            name: config.name.clone(),
            secret: config.secret.clone(),
            authorization: config.basic_auth.clone(),
        }
    }

    fn check_authorization(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let Some(expected) = &self.authorization else {
            return Ok(());
        };
        let sent = authorization
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| {
                BASE64_STANDARD
                    .decode(encoded.trim())
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
            });
        match sent {
            Some(sent) if expected.matches(&sent) => Ok(()),
            _ => Err(refusal(
                401,
                "authorization",
                "Basic authentication is missing or wrong: write it into OpenIM's url as http://user:password@host",
            )),
        }
    }
}

pub(super) fn verify<'a>(
    instances: &[Instance],
    line: &RequestLine<'a>,
    segments: impl Iterator<Item = &'a str>,
) -> Result<Verified, Refusal> {
    let segments: Vec<&str> = segments.take(3).collect();
    let behind_secret = segments.first().and_then(|first| {
        // Every secret is compared, so that the time does not tell which one came close.
        instances.iter().fold(None, |found, instance| {
            if instance.secret.as_ref().is_some_and(|secret| secret.matches(first)) {
                Some(instance)
            } else {
                found
            }
        })
    });
    let (instance, rest) = match behind_secret {
        Some(instance) => (Some(instance), &segments[1..]),
        None => (
            instances.iter().find(|instance| instance.secret.is_none()),
            &segments[..],
        ),
    };
    let (Some(instance), true) = (instance, rest.len() <= 1) else {
        return Err(refusal(
            404,
            "secret",
            "no such path: OpenIM's url must end with /openim/<secret> of an [[openim]] instance of this bridge",
        ));
    };
    instance.check_authorization(line.authorization)?;
    let from_query = || {
        let mut pairs = form_urlencoded::parse(line.query.as_bytes());
        pairs
            .find(|(name, value)| name == "command" && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    };
    Ok(Verified {
        provider: Provider::OpenIm,
        app: instance.name.clone(),
        command: rest.first().map(|command| (*command).to_owned()).or_else(from_query),
        client_ip: None,
        platform: None,
        request_id: line.operation_id.filter(|id| !id.is_empty()).map(str::to_owned),
        trace: None,
    })
}

fn refusal(status: u16, reason: &'static str, message: &str) -> Refusal {
    Refusal::new(Provider::OpenIm, status, reason, message)
}
