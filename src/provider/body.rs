//! The one look at a body before it is acknowledged: is it JSON, and does it name its command?

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::callback::Provider;

#[derive(Deserialize)]
struct Tencent<'a> {
    #[serde(rename = "CallbackCommand", borrow)]
    command: Option<Cow<'a, str>>,
    /// Push posts a batch; the command stands in each event.
    #[serde(rename = "Events", borrow, default)]
    events: First<'a>,
}

#[derive(Deserialize)]
struct OpenIm<'a> {
    #[serde(rename = "callbackCommand", borrow)]
    command: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PushEvent<'a> {
    #[serde(rename = "CallbackCommand", borrow)]
    command: Option<Cow<'a, str>>,
}

/// The first element of a list; the others are only checked to be JSON.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum First<'a> {
    Batch(#[serde(borrow)] Vec<PushEvent<'a>>),
    Other(IgnoredAny),
    #[default]
    Absent,
}

/// The command that the body names, if it names one.
///
/// # Errors
/// serde_json's, when the body is not JSON. Its text names a position, never the content.
pub(super) fn command_in(provider: Provider, body: &[u8]) -> serde_json::Result<Option<String>> {
    let found = match provider {
        Provider::Tencent => serde_json::from_slice::<Tencent<'_>>(body).map(|body| match body.events {
            First::Batch(events) => body.command.or_else(|| events.into_iter().next()?.command),
            _ => body.command,
        }),
        Provider::OpenIm => serde_json::from_slice::<OpenIm<'_>>(body).map(|body| body.command),
    };
    match found {
        Ok(command) => Ok(command.filter(|command| !command.is_empty()).map(Cow::into_owned)),
        // JSON, but no object, or a command of another type, or two of them: no command that one could rely on.
        Err(cause) if cause.is_data() => serde_json::from_slice::<IgnoredAny>(body).map(|_| None),
        Err(cause) => Err(cause),
    }
}
