//! The wire protocols: a request becomes a verified sender, then a [`Callback`], and gets its provider's answer; a
//! callback becomes [`Event`]s. Neither the HTTP server's types nor the spool, Avro or Kafka are known here.
//!
//! [`Verified`] exists only after the sender's check, and only a [`Verified`] makes a callback of a body: what an unverified
//! sender posts is never kept.

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

/// What of a request is there before its body.
pub struct RequestLine<'a> {
    /// `POST`, ...
    pub method: &'a str,
    /// The path as sent, percent-encoding and doubled slashes included.
    pub path: &'a str,
    /// What stands behind the question mark; empty when nothing does.
    pub query: &'a str,
    /// Who sent it, as far as that is known: behind trusted proxies, whom they name.
    pub client: Option<IpAddr>,
    /// A header's value, by its name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// A sender that has passed its provider's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When it arrived is known only with its body.
    head: Head,
    /// The sender's place in the configuration, among those of its provider.
    place: usize,
}

impl Verified {
    /// What stands before the body.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The same, with the trace that the request is part of.
    #[must_use]
    pub fn traced(mut self, trace: Option<Trace>) -> Verified {
        self.head.trace = trace;
        self
    }

    /// The callback that its request line and this body make.
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
    /// Whose answer shape to use; `None` when the path names no provider.
    pub provider: Option<Provider>,
    /// The HTTP status.
    pub status: u16,
    /// A label for metrics and logs.
    pub reason: &'static str,
    /// A sentence for the person who set the caller up. It names no secret.
    pub message: String,
}

/// A body of a verified sender that cannot be read: refused, but kept for the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What to answer.
    pub refusal: Refusal,
    /// What to keep.
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
    /// Builds them; secrets are resolved already.
    pub fn new(tencent: &[TencentConfig], openim: &[OpenImConfig], commands: Arc<CommandTable>) -> Providers {
        let forgotten = IntCounter::new(
            "imbridge_nonces_forgotten_total",
            "Nonces that were pushed out by later ones within replay_window_s, and could pass again.",
        );
        let nobody = Providers {
            tencent: Vec::new(),
            openim: Vec::new(),
            commands: Arc::clone(&commands),
            forgotten: forgotten.expect("the name is a metric's"),
        };
        nobody.renewed(tencent, openim, commands)
    }

    /// Those of another configuration. A sender who stays goes on with the nonces and the rate that he had.
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

    /// Registers their metric.
    ///
    /// # Errors
    /// When the registry has its name already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.forgotten.clone()))
    }

    /// Checks the sender by what stands before the body.
    ///
    /// # Errors
    /// A [`Refusal`] with what to answer.
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

    /// Takes one more callback of a verified sender, within its rate.
    ///
    /// # Errors
    /// The time until there is room for it.
    pub fn admit(&self, sender: &Verified) -> Result<(), Duration> {
        let rate = match sender.head.provider {
            Provider::Tencent => &self.tencent[sender.place].rate,
            Provider::OpenIm => &self.openim[sender.place].rate,
        };
        rate.as_ref().map_or(Ok(()), Rate::admit)
    }

    /// Reads a verified sender's body.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not JSON; a [`Refusal`] alone when no command is to be found.
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

    /// The rule of the command that a request of OpenIM's names, whoever sent it and wherever it leads, if its answer carries
    /// fields of the request.
    pub fn echoed(&self, line: &RequestLine<'_>) -> Option<&CommandRule> {
        let in_path = segments(line.path).last().map(Cow::Borrowed);
        let named = [in_path, openim::command_in(line.query, None)];
        let mut rules = named.iter().flatten();
        let rule = rules.find_map(|command| self.commands.get(Provider::OpenIm, command));
        rule.filter(|rule| rule.is_echoed())
    }

    /// A callback's command: a label for metrics that no caller can make grow, its name if it has a schema, else `unknown`; and its rule.
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

/// Whether a sender may have this address.
fn check_address(provider: Provider, allow: Option<&Networks>, client: Option<IpAddr>) -> Result<(), Refusal> {
    let allowed = allow.is_none_or(|allow| client.is_some_and(|client| allow.contain(client)));
    if allowed {
        return Ok(());
    }
    let client = client.map_or("an unknown address".to_owned(), |client| {
        client.to_canonical().to_string()
    });
    let message = format!("callbacks of this sender are not accepted from {client}: add it to the sender's allow");
    Err(Refusal::new(provider, 403, "address", message))
}

/// What is wrong with what senders of both providers can have: the key and what is allowed. Each has the fields to itself: of
/// a flattened struct, serde's errors name neither the key nor those that there are.
fn sender_problem(
    allow: Option<&Networks>,
    rate_per_s: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
) -> Option<(&'static str, String)> {
    if allow.is_some_and(Networks::is_empty) {
        return Some(("allow", "[]: at least one network is needed, or leave it out".into()));
    }
    let alone = burst.filter(|_| rate_per_s.is_none())?;
    Some(("burst", format!("{alone}: set rate_per_s too, or leave it out")))
}

/// Whose callbacks come to a path.
pub fn provider_of(path: &str) -> Option<Provider> {
    match segments(path).next() {
        Some("tencent") => Some(Provider::Tencent),
        Some("openim") => Some(Provider::OpenIm),
        _ => None,
    }
}

/// What stands between the slashes, however many of them there are.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

impl Refusal {
    /// A refusal in a provider's shape, or in that of none.
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

    /// The body of the answer, in the provider's shape.
    pub fn body(&self) -> Vec<u8> {
        answer::failure(self)
    }

    /// The same with what the success answer to this request would carry.
    pub fn echo(&self, rule: &CommandRule, request: &[u8]) -> Vec<u8> {
        answer::with_echo(self.body(), &rule.answer, request)
    }
}

#[cfg(test)]
mod tests;
