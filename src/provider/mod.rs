//! The wire protocols. A request becomes a verified sender, then a [`Callback`], and gets its provider's answer. A
//! callback becomes [`Event`]s. This part knows no HTTP server types, no spool, no Avro and no Kafka.
//!
//! [`Verified`] exists only after the sender's check, and only a [`Verified`] makes a callback of a body. So nothing
//! that an unverified sender posts is kept.

mod answer;
mod body;
mod event;
mod network;
mod object;
mod openim;
mod privacy;
mod rate;
mod signature;
mod tencent;

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, Registry};

use rate::Rate;

use crate::callback::{Callback, CommandRule, CommandTable, Head, Provider, Trace};

pub use event::{Event, ExpandError, expand, group_of};
pub use network::Networks;
pub use openim::Config as OpenImConfig;
pub use privacy::{Privacy, PrivacyConfig};
pub use signature::Config as SignatureConfig;
pub use tencent::{Config as TencentConfig, sign_of};

/// The part of a request before its body.
pub struct RequestLine<'a> {
    /// `POST`, ...
    pub method: &'a str,
    /// The path as sent, percent-encoding and doubled slashes included.
    pub path: &'a str,
    /// The part behind the question mark, or nothing.
    pub query: &'a str,
    /// The sender's address, if known. Behind trusted proxies it is the one that they report.
    pub client: Option<IpAddr>,
    /// A header's value, by its name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// A sender that has passed its provider's check.
#[derive(Debug)]
pub struct Verified {
    /// Its time of arrival is set when the body is complete.
    head: Head,
    /// The sender's rate limit.
    rate: Option<Rate>,
}

impl Verified {
    /// The head of the future callback.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Adds the request's trace context.
    #[must_use]
    pub fn traced(mut self, trace: Option<Trace>) -> Verified {
        self.head.trace = trace;
        self
    }

    /// Counts one more callback of the sender against its rate.
    ///
    /// # Errors
    /// If the rate is exceeded: the time until the next callback is admitted.
    pub fn admit(&self) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), Rate::admit)
    }

    /// The callback with this body.
    pub fn callback(self, body: Bytes, received_at_ms: i64) -> Callback {
        let head = Head {
            received_at_ms,
            ..self.head
        };
        Callback { head, body }
    }
}

/// A request that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The provider, for the format of the answer; `None` if the path names none.
    pub provider: Option<Provider>,
    /// The HTTP status.
    pub status: u16,
    /// A label for metrics and logs.
    pub reason: &'static str,
    /// A sentence for the person who configured the caller. It contains no secret.
    pub message: String,
}

/// A verified sender's body that cannot be read. The request is refused, and the body is kept for the dead-letter
/// topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The refusal to answer.
    pub refusal: Refusal,
    /// The callback to keep.
    pub callback: Callback,
}

/// The configured senders and the commands' rules.
pub struct Providers {
    tencent: Vec<tencent::App>,
    openim: Vec<openim::Instance>,
    commands: Arc<CommandTable>,
    forgotten: IntCounter,
}

impl Providers {
    /// The senders of a configuration.
    pub fn new(tencent: &[TencentConfig], openim: &[OpenImConfig], commands: Arc<CommandTable>) -> Providers {
        let forgotten = IntCounter::new(
            "imbridge_nonces_forgotten_total",
            "Nonces that were dropped for later ones within replay_window_s, and could be accepted again.",
        );
        let none = Providers {
            tencent: Vec::new(),
            openim: Vec::new(),
            commands: Arc::clone(&commands),
            forgotten: forgotten.expect("the name is a metric's"),
        };
        none.renewed(tencent, openim, commands)
    }

    /// The senders of another configuration. A sender that is in both keeps its nonces and its rate.
    #[must_use]
    pub fn renewed(
        &self,
        tencent: &[TencentConfig],
        openim: &[OpenImConfig],
        commands: Arc<CommandTable>,
    ) -> Providers {
        let app = |config| tencent::App::new(config, &self.tencent);
        let instance = |config| openim::Instance::new(config, &self.openim, &self.forgotten);
        Providers {
            tencent: tencent.iter().map(app).collect(),
            openim: openim.iter().map(instance).collect(),
            commands,
            forgotten: self.forgotten.clone(),
        }
    }

    /// Registers the metric of the nonces.
    ///
    /// # Errors
    /// If the registry has its name already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.forgotten.clone()))
    }

    /// Checks the sender, before the body is read.
    ///
    /// # Errors
    /// The [`Refusal`] to answer.
    pub fn verify(&self, line: &RequestLine<'_>, now_ms: i64) -> Result<Verified, Refusal> {
        let Some(provider) = provider_of(line.path) else {
            let message = "no such path: callbacks go to /tencent or /openim/<command>";
            return Err(Refusal::new(None, 404, "path", message));
        };
        if line.method != "POST" {
            let message = format!("method {} is not allowed: callbacks are sent with POST", line.method);
            return Err(Refusal::new(provider, 405, "method", message));
        }
        match provider {
            Provider::Tencent => tencent::verify(&self.tencent, line, now_ms),
            Provider::OpenIm => openim::verify(&self.openim, line, now_ms),
        }
    }

    /// Reads a verified sender's body.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not JSON, or if neither the request line nor the body names a command.
    pub fn read(&self, sender: Verified, body: Bytes, now_ms: i64) -> Result<Callback, Box<Unreadable>> {
        let provider = sender.head.provider;
        let mut callback = sender.callback(body, now_ms);
        let refusal = match body::command_in(provider, &callback.body) {
            Ok(in_body) => {
                callback.head.command = callback.head.command.take().or(in_body);
                if callback.head.command.is_some() {
                    return Ok(callback);
                }
                Refusal::new(provider, 400, "no_command", answer::no_command(provider))
            }
            Err(cause) => Refusal::new(
                provider,
                400,
                "not_json",
                format!("the body is not JSON: {cause}; send the callback as application/json"),
            ),
        };
        callback.head.unreadable = true;
        Err(Box::new(Unreadable { refusal, callback }))
    }

    /// The rule of a callback's command, `None` for an unknown one.
    pub fn rule(&self, head: &Head) -> Option<&CommandRule> {
        self.known(head).1
    }

    /// The rule of the OpenIM command that an unverified request names, if its answer carries fields of the request.
    /// The rest of the path does not matter.
    pub fn echoed(&self, line: &RequestLine<'_>) -> Option<&CommandRule> {
        let in_path = segments(line.path).last().map(Cow::Borrowed);
        let named = [in_path, openim::command_in(line.query, None)];
        let mut rules = named.iter().flatten();
        let rule = rules.find_map(|command| self.commands.get(Provider::OpenIm, command));
        rule.filter(|rule| rule.is_echoed())
    }

    /// A label for the callback's command, and its rule. The label is the command's name if it has a schema, and
    /// `unknown` otherwise, so that a caller cannot create labels.
    pub fn known(&self, head: &Head) -> (&str, Option<&CommandRule>) {
        let known = head
            .command
            .as_deref()
            .and_then(|command| self.commands.known(head.provider, command));
        known.map_or(("unknown", None), |(name, rule)| (name, Some(rule)))
    }

    /// The body of the success answer, by the rule of the callback's command.
    pub fn success(&self, callback: &Callback, rule: Option<&CommandRule>) -> Bytes {
        answer::success(callback.head.provider, rule.map(|rule| &rule.answer), &callback.body)
    }
}

/// Checks the sender's address against the configured networks.
fn check_address(provider: Provider, allow: Option<&Networks>, client: Option<IpAddr>) -> Result<(), Refusal> {
    let allowed = allow.is_none_or(|allow| client.is_some_and(|client| allow.contain(client)));
    if allowed {
        return Ok(());
    }
    let client = client.map_or("an unknown address".to_owned(), |client| {
        client.to_canonical().to_string()
    });
    let message =
        format!("callbacks of this sender are not accepted from {client}: add the address to the sender's allow");
    Err(Refusal::new(provider, 403, "address", message))
}

/// The first wrong value of the keys that senders of both providers have, and what is allowed. Each provider's struct
/// has these fields itself, since serde's errors for a flattened struct name neither the key nor the allowed keys.
fn sender_problem(
    allow: Option<&Networks>,
    rate_per_s: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
) -> Option<(&'static str, String)> {
    if allow.is_some_and(Networks::is_empty) {
        return Some(("allow", "[]: name at least one network, or leave the key out".into()));
    }
    let alone = burst.filter(|_| rate_per_s.is_none())?;
    Some(("burst", format!("{alone}: set rate_per_s too, or leave the key out")))
}

/// The provider whose callbacks are posted to a path.
pub fn provider_of(path: &str) -> Option<Provider> {
    match segments(path).next() {
        Some("tencent") => Some(Provider::Tencent),
        Some("openim") => Some(Provider::OpenIm),
        _ => None,
    }
}

/// The segments of a path. Repeated slashes count as one.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

impl Refusal {
    /// A refusal in a provider's format, or in a general one.
    pub fn new(
        provider: impl Into<Option<Provider>>,
        status: u16,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Refusal {
        Refusal {
            provider: provider.into(),
            status,
            reason,
            message: message.into(),
        }
    }

    /// The body of the answer, in the provider's format.
    pub fn body(&self) -> Vec<u8> {
        answer::failure(self)
    }

    /// The body with the fields that the success answer to this request would carry.
    pub fn echo(&self, rule: &CommandRule, request: &[u8]) -> Vec<u8> {
        answer::with_echo(self.body(), &rule.answer, request)
    }
}

#[cfg(test)]
mod tests;
