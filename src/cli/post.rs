//! Posts callbacks to a bridge as the IM servers do: with the same paths and queries, signed with the configured
//! secrets, over one persistent connection. There are no retries, because a callback that is posted twice becomes two
//! events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ureq::Agent;

use crate::app::Config;
use crate::callback::{Callback, Head, Provider};
use crate::lifecycle::unix_ms;
use crate::provider::{Providers, RequestLine, sign_of};
use crate::schema::registry;
use crate::secret::{Secret, Secrets};

/// Longer than that of IM servers, which is a few seconds: a tool may wait for a slow disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A poster that is late catches up on at most this time.
const CATCH_UP: Duration = Duration::from_millis(100);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A connection to a bridge's public port.
pub(super) struct Poster<'a> {
    agent: Agent,
    base: String,
    /// Has the senders that the bridge accepts, and their secrets.
    config: &'a Config,
}

/// The result of posting one callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is durable.
    Accepted,
    /// The bridge answered with this status and text; status 0 if nothing was sent.
    Refused(u16, String),
    /// There was no answer, so it may have been accepted. Has the error message.
    Unknown(String),
}

/// A request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Path and query.
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
}

/// When the next callback is due, at a fixed rate.
pub(super) struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// The first callback is due after `first`, then one in each interval.
    pub fn new(first: Duration, interval: Duration) -> Pace {
        Pace {
            next: Instant::now() + first,
            interval,
        }
    }

    /// The time until the next callback is due.
    pub fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Counts a callback as sent. After a long pause, only the last [`CATCH_UP`] of it is made up for.
    pub fn step(&mut self) {
        let now = Instant::now();
        let least = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = (self.next + self.interval).max(least);
    }
}

/// Parses a rate on the command line, in callbacks per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("0.01 to 1000000 a second is allowed".into()),
    }
}

/// A head without the optional fields.
pub(super) fn plain_head(provider: Provider, app: &str, command: &str, received_at_ms: i64) -> Head {
    Head {
        provider,
        app: app.to_owned(),
        command: Some(command.to_owned()),
        received_at_ms,
        client_ip: None,
        platform: None,
        request_id: None,
        trace: None,
        unreadable: false,
    }
}

/// The URL of the configured bridge on this machine.
pub(super) fn own_url(config: &Config) -> Result<String> {
    let mut address: std::net::SocketAddr = config.server.listen.parse().context("server.listen")?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("http://{address}"))
}

/// The request for a callback with this head, from a configured sender, signed for `now_ms` (Unix milliseconds).
///
/// # Errors
/// Why the callback cannot be posted.
pub(super) fn request(config: &Config, head: &Head, now_ms: i64) -> Result<Request, String> {
    let command = head.command.as_deref().ok_or("it has no command")?;
    match head.provider {
        Provider::Tencent => tencent(config, head, command, now_ms),
        Provider::OpenIm => openim(config, head, command),
    }
}

fn tencent(config: &Config, head: &Head, command: &str, now_ms: i64) -> Result<Request, String> {
    let app = config.tencent.iter().find(|app| app.sdk_app_id.to_string() == head.app);
    let app = app.ok_or_else(|| format!("no [[tencent]] has sdk_app_id = {}", head.app))?;
    let mut query = form_urlencoded::Serializer::new(String::from("/tencent?"));
    query
        .append_pair("SdkAppid", &head.app)
        .append_pair("CallbackCommand", command)
        .append_pair("contenttype", "json");
    let more = [
        ("ClientIP", &head.client_ip),
        ("OptPlatform", &head.platform),
        ("RequestId", &head.request_id),
    ];
    query.extend_pairs(
        more.into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?))),
    );
    if let Some(token) = &app.token {
        let time = (now_ms / 1000).to_string();
        query
            .append_pair("Sign", &sign_of(first(token), &time))
            .append_pair("RequestTime", &time);
    }
    Ok(Request {
        target: query.finish(),
        headers: Vec::new(),
    })
}

fn openim(config: &Config, head: &Head, command: &str) -> Result<Request, String> {
    let instance = config.openim.iter().find(|instance| instance.name == head.app);
    let instance = instance.ok_or_else(|| format!("no [[openim]] has name = {:?}", head.app))?;
    if instance.signature.is_some() {
        return Err(format!(
            "{:?} signs its requests, which only OpenIM itself can do",
            head.app
        ));
    }
    let secret = instance.secret.as_ref().map(|secret| format!("/{}", first(secret)));
    let mut target = format!("/openim{}", secret.unwrap_or_default());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if command.bytes().all(plain) {
        target.push_str(&format!("/{command}"));
    } else {
        target.push_str("?command=");
        target.extend(form_urlencoded::byte_serialize(command.as_bytes()));
    }
    let mut headers = Vec::new();
    headers.extend(head.request_id.clone().map(|id| ("operationID", id)));
    headers.extend(instance.basic_auth.as_ref().map(|auth| {
        let encoded = BASE64_STANDARD.encode(first(auth));
        ("authorization", format!("Basic {encoded}"))
    }));
    Ok(Request { target, headers })
}

impl Request {
    /// The head that the bridge reads from this request after it has verified it. The client's address is not checked.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn verified(&self, providers: &Providers, now_ms: i64) -> Result<Head, String> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let header = |wanted: &str| {
            let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.as_str())
        };
        let line = RequestLine {
            method: "POST",
            path,
            query,
            client: None,
            header: &header,
        };
        let verified = providers.verify(&line, now_ms).map_err(|refusal| refusal.message)?;
        Ok(verified.callback(Bytes::new(), now_ms).head)
    }
}

/// The first of the secrets. During a rotation there are two, and both are accepted.
fn first(secrets: &Secrets) -> &str {
    secrets.iter().next().map_or("", Secret::expose)
}

impl Poster<'_> {
    /// A poster to this base URL. Sends nothing yet.
    pub fn new<'a>(base: &str, config: &'a Config) -> Result<Poster<'a>> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("--url {base:?}: must be http://host:port or https://host");
        }
        let mut agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("imbridge/", env!("CARGO_PKG_VERSION")));
        if base.starts_with("https:") {
            agent = agent.tls_config(registry::tls(None)?);
        }
        Ok(Poster {
            agent: agent.build().new_agent(),
            base: base.trim_end_matches('/').to_owned(),
            config,
        })
    }

    /// Posts one callback and waits for its answer.
    pub fn post(&self, callback: &Callback) -> Outcome {
        let Request { target, headers } = match request(self.config, &callback.head, unix_ms()) {
            Ok(request) => request,
            Err(problem) => return Outcome::Refused(0, problem),
        };
        let request = self.agent.post(format!("{}{target}", self.base));
        let mut request = request.content_type("application/json; charset=utf-8");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send(callback.body.as_ref()).and_then(|mut response| {
            let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
            let text = body.read_to_string()?;
            Ok((response.status().as_u16(), text))
        });
        let no_server = || Outcome::Refused(0, format!("no server listens at {}", self.base));
        match answer {
            Ok((200, _)) => Outcome::Accepted,
            Ok((status, text)) => Outcome::Refused(status, text.chars().take(300).collect()),
            Err(ureq::Error::ConnectionFailed | ureq::Error::HostNotFound) => no_server(),
            Err(ureq::Error::Io(cause)) if cause.kind() == std::io::ErrorKind::ConnectionRefused => no_server(),
            Err(cause) => Outcome::Unknown(cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::callback::CommandTable;

    const NOW_MS: i64 = 1_700_000_000_123;

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "user:s3cret").unwrap();
        std::fs::write(path.with_extension("plain"), "s3cret").unwrap();
        let secret = format!("\"file:{}\"", path.display());
        let text = format!(
            "[[tencent]]\nsdk_app_id = 7\ntoken = {secret}\n[[openim]]\nname = \"m\"\nbasic_auth = {secret}\n[[openim]]\nname = \"n\"\nsecret = \"file:{}.plain\"\n",
            path.display()
        );
        Config::parse("test", &text, []).unwrap()
    }

    fn head(provider: Provider, app: &str, command: &str) -> Head {
        Head {
            client_ip: (provider == Provider::Tencent).then(|| "10.0.0.1".into()),
            platform: (provider == Provider::Tencent).then(|| "iOS & more".into()),
            request_id: Some("r/1".into()),
            ..plain_head(provider, app, command, NOW_MS)
        }
    }

    #[test]
    fn the_bridge_verifies_a_posted_request_and_reads_the_same_head_from_it() {
        let config = config();
        let providers = Providers::new(&config.tencent, &config.openim, Arc::new(CommandTable::default()));
        for head in [
            head(Provider::Tencent, "7", "Group.CallbackAfterSendMsg"),
            head(Provider::OpenIm, "m", "callbackAfterSendGroupMsgCommand"),
            head(Provider::OpenIm, "n", "a command/of another kind"),
        ] {
            let request = request(&config, &head, NOW_MS).unwrap();
            assert_eq!(request.verified(&providers, NOW_MS), Ok(head), "{}", request.target);
        }
    }

    #[test]
    fn a_sender_that_is_not_configured_is_named() {
        let config = config();
        let other = |provider, app| request(&config, &head(provider, app, "c"), NOW_MS).unwrap_err();
        assert!(other(Provider::Tencent, "8").contains("sdk_app_id = 8"));
        assert!(other(Provider::OpenIm, "x").contains("\"x\""));
    }
}
