//! Tencent Cloud Chat's request line. The app id, the signature, the command and the end user's address are in the
//! query. Source: Tencent's webhook overview, and captured traffic.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::rate::Rate;
use super::{Networks, Refusal, RequestLine, Verified, check_address, sender_problem};
use crate::callback::{Head, Provider};
use crate::secret::{Secret, Secrets, same};

/// One `[[tencent]]` of the configuration: an app whose callbacks are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The SDKAppID of the console.
    pub sdk_app_id: u64,
    /// The token of the console's callback authentication. If set, every request must be signed. Two during a rotation.
    pub token: Option<Secrets>,
    /// Seconds that `RequestTime` may differ from this machine's clock, either way.
    #[serde(default = "default_skew")]
    pub max_clock_skew_s: u32,
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
        sender_problem(self.allow.as_ref(), self.rate_per_s, self.burst)
    }
}

fn default_skew() -> u32 {
    60
}

pub(super) struct App {
    sdk_app_id: String,
    config: Config,
    rate: Option<Rate>,
}

impl App {
    /// Keeps the rate of the same app in `before`.
    pub fn new(config: &Config, before: &[App]) -> App {
        let sdk_app_id = config.sdk_app_id.to_string();
        let before = before.iter().find(|app| app.sdk_app_id == sdk_app_id);
        let rate = before.and_then(|app| app.rate.as_ref());
        App {
            sdk_app_id,
            config: config.clone(),
            rate: config.rate_per_s.map(|per_s| Rate::renewed(per_s, config.burst, rate)),
        }
    }

    /// Checks `Sign` and `RequestTime`; see [`sign_of`].
    fn check_signature(&self, query: &Query<'_>, now_ms: i64) -> Result<(), Refusal> {
        let Some(token) = &self.config.token else { return Ok(()) };
        let refuse = |message: &str| Err(refusal(403, "signature", message));
        let (Some(sign), Some(time)) = (query.get("Sign"), query.get("RequestTime")) else {
            return refuse(
                "Sign or RequestTime is missing: this app's callbacks must be signed; turn on authentication in the Chat console",
            );
        };
        let Ok(seconds) = time.parse::<i64>() else {
            return refuse("RequestTime is not a number of Unix seconds");
        };
        let skew_s = self.config.max_clock_skew_s;
        if (now_ms / 1000).abs_diff(seconds) > u64::from(skew_s) {
            let message = format!("RequestTime is more than {skew_s} s from this server's clock");
            return Err(refusal(403, "stale", message));
        }
        let sign = sign.to_ascii_lowercase();
        let signed_with = |token: &Secret| same(&sign_of(token.expose(), time), &sign);
        if token.any(signed_with) {
            Ok(())
        } else {
            refuse("Sign does not match: the token of the Chat console and the one configured here differ")
        }
    }
}

/// `Sign` of a callback: SHA-256 over the token and `RequestTime` (Unix seconds), in hex.
pub fn sign_of(token: &str, request_time: &str) -> String {
    let hash = Sha256::new().chain_update(token).chain_update(request_time);
    hex::encode(hash.finalize())
}

/// The query's parameters. Of two with the same name, the first counts.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Query<'a> {
        let mut pairs = Vec::with_capacity(8);
        for pair in query.split('&') {
            // Decoding copies and validates, which is only needed if something is encoded.
            match pair.split_once('=') {
                Some((name, value)) if !pair.contains(['%', '+']) => pairs.push((name.into(), value.into())),
                _ => pairs.extend(form_urlencoded::parse(pair.as_bytes())),
            }
        }
        Query(pairs)
    }

    /// The value; `None` if it is absent or empty.
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        (!value.is_empty()).then_some(value)
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

pub(super) fn verify(apps: &[App], line: &RequestLine<'_>, now_ms: i64) -> Result<Verified, Refusal> {
    let query = Query::parse(line.query);
    let refuse = |message: &str| Err(refusal(403, "app", message));
    let Some(app_id) = query.get("SdkAppid") else {
        return refuse("SdkAppid is missing from the query: it names the app of the callback");
    };
    let Some(app) = apps.iter().find(|app| app.sdk_app_id == app_id) else {
        return refuse("SdkAppid is not an app of this bridge: add it as [[tencent]] sdk_app_id");
    };
    check_address(Provider::Tencent, app.config.allow.as_ref(), line.client)?;
    app.check_signature(&query, now_ms)?;
    let head = Head {
        provider: Provider::Tencent,
        app: app.sdk_app_id.clone(),
        command: query.owned("CallbackCommand"),
        received_at_ms: now_ms,
        client_ip: query.owned("ClientIP"),
        platform: query.owned("OptPlatform"),
        request_id: query.owned("RequestID").or_else(|| query.owned("RequestId")),
        trace: None,
        unreadable: false,
    };
    let rate = app.rate.clone();
    Ok(Verified { head, rate })
}

fn refusal(status: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(Provider::Tencent, status, reason, message)
}
