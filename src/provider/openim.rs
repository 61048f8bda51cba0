//! OpenIM's request line. The path ends with the command; the instance's secret, if it has one, precedes it. Source:
//! OpenIM Server's webhook client.

use std::borrow::Cow;
use std::num::NonZeroU32;

use prometheus::IntCounter;
use serde::Deserialize;

use super::rate::Rate;
use super::signature::Signature;
use super::{Networks, Refusal, RequestLine, SignatureConfig, Verified, check_address, segments, sender_problem};
use crate::callback::{Head, Provider};
use crate::secret::{Secret, Secrets, basic_credentials};

/// One `[[openim]]` of the configuration: a server whose callbacks are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the server in events, since OpenIM sends no app id.
    pub name: String,
    /// The path segment between `/openim/` and the command, of unreserved characters. Without it, anyone who can reach
    /// the port can post as this server.
    pub secret: Option<Secrets>,
    /// `user:password`, as before the host in OpenIM's `url`.
    pub basic_auth: Option<Secrets>,
    /// The Enterprise edition's signature over a nonce.
    pub signature: Option<SignatureConfig>,
    /// The networks from which callbacks are accepted; any if `None`.
    pub allow: Option<Networks>,
    /// Callbacks accepted in a second; unlimited if `None`.
    pub rate_per_s: Option<NonZeroU32>,
    /// Callbacks accepted at once; `rate_per_s` if `None`.
    pub burst: Option<NonZeroU32>,
}

impl Config {
    /// The first key with a wrong value, and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        // RFC 3986's unreserved characters: no client or proxy encodes or decodes them.
        let plain = |secret: &Secret| {
            let mut bytes = secret.expose().bytes();
            bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if !self.secret.iter().flat_map(Secrets::iter).all(plain) {
            let problem = "it is a part of OpenIM's url, so only A-Z a-z 0-9 - . _ ~ are allowed; \
                           `openssl rand -hex 32` makes such a secret";
            return Some(("secret", problem.into()));
        }
        let has_colon = |auth: &Secret| auth.expose().contains(':');
        if !self.basic_auth.iter().flat_map(Secrets::iter).all(has_colon) {
            return Some(("basic_auth", "it has no colon: write user:password".into()));
        }
        let signature = || self.signature.as_ref().and_then(SignatureConfig::problem);
        sender_problem(self.allow.as_ref(), self.rate_per_s, self.burst).or_else(signature)
    }
}

pub(super) struct Instance {
    config: Config,
    signature: Option<Signature>,
    rate: Option<Rate>,
}

impl Instance {
    /// Keeps the rate and the nonces of the same instance in `before`.
    pub fn new(config: &Config, before: &[Instance], forgotten: &IntCounter) -> Instance {
        let before = before.iter().find(|instance| instance.config.name == config.name);
        let rate = before.and_then(|instance| instance.rate.as_ref());
        let signature = before.and_then(|instance| instance.signature.as_ref());
        let signed = |config| Signature::new(config, signature, forgotten);
        Instance {
            config: config.clone(),
            signature: config.signature.as_ref().map(signed),
            rate: config.rate_per_s.map(|per_s| Rate::renewed(per_s, config.burst, rate)),
        }
    }

    fn check_authorization(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let Some(expected) = &self.config.basic_auth else {
            return Ok(());
        };
        let sent = authorization.and_then(basic_credentials);
        if sent.is_some_and(|sent| expected.matches(&sent)) {
            return Ok(());
        }
        let message = "Basic authentication is missing or wrong: set OpenIM's url to http://user:password@host";
        Err(refusal(401, "authorization", message))
    }
}

pub(super) fn verify(instances: &[Instance], line: &RequestLine<'_>, now_ms: i64) -> Result<Verified, Refusal> {
    let segments: Vec<&str> = segments(line.path).skip(1).take(3).collect();
    let with_secret = segments.first().and_then(|first| {
        let matches = |secrets: &Secrets| secrets.matches(first);
        // Every secret is compared, so that the time does not depend on which one matches.
        instances.iter().fold(None, |found, instance| {
            let here = instance.config.secret.as_ref().is_some_and(matches);
            here.then_some(instance).or(found)
        })
    });
    let (instance, rest) = match with_secret {
        Some(instance) => (Some(instance), &segments[1..]),
        None => {
            let open = instances.iter().find(|instance| instance.config.secret.is_none());
            (open, &segments[..])
        }
    };
    let (Some(instance), true) = (instance, rest.len() <= 1) else {
        return Err(refusal(
            404,
            "secret",
            "no such path: OpenIM's url must end with /openim/<secret> of an [[openim]] instance of this bridge",
        ));
    };
    check_address(Provider::OpenIm, instance.config.allow.as_ref(), line.client)?;
    instance.check_authorization((line.header)("authorization"))?;
    if let Some(signature) = &instance.signature {
        signature.check(line, now_ms)?;
    }
    let id = (line.header)("operationid").filter(|id| !id.is_empty());
    let head = Head {
        provider: Provider::OpenIm,
        app: instance.config.name.clone(),
        command: command_in(line.query, rest.first().copied()).map(Cow::into_owned),
        received_at_ms: now_ms,
        client_ip: None,
        platform: None,
        request_id: id.map(str::to_owned),
        trace: None,
        unreadable: false,
    };
    let rate = instance.rate.clone();
    Ok(Verified { head, rate })
}

/// The command: the path's last segment, or that of the query if there is none.
pub(super) fn command_in<'a>(query: &'a str, segment: Option<&'a str>) -> Option<Cow<'a, str>> {
    let from_query = || {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, command) = pairs.find(|(name, value)| name == "command" && !value.is_empty())?;
        Some(command)
    };
    segment.map(Cow::Borrowed).or_else(from_query)
}

fn refusal(status: u16, reason: &'static str, message: &str) -> Refusal {
    Refusal::new(Provider::OpenIm, status, reason, message)
}
