//! The only check of a body before it is acknowledged: whether it is JSON, and which command it names.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::object::Object;
use crate::callback::Provider;

#[derive(Deserialize)]
struct Tencent<'a> {
    #[serde(rename = "CallbackCommand", borrow)]
    command: Option<Cow<'a, str>>,
    /// Push posts a batch, in which each event has its command.
    #[serde(rename = "Events", borrow, default)]
    events: First<'a>,
}

#[derive(Deserialize)]
struct OpenIm<'a> {
    #[serde(rename = "callbackCommand", borrow)]
    command: Option<Cow<'a, str>>,
}

/// One event of a batch.
#[derive(Deserialize)]
pub(super) struct Element<'a> {
    #[serde(rename = "CallbackCommand", borrow)]
    pub command: Option<Cow<'a, str>>,
}

/// The command of a list's first element. The others are only checked to be JSON.
#[derive(Default)]
struct First<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<First<'a>, D::Error> {
        deserializer.deserialize_any(FirstVisitor).map(First)
    }
}

struct FirstVisitor;

impl<'de> Visitor<'de> for FirstVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = list.next_element::<Object<Element<'de>>>()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first.and_then(|Object(event)| event.command))
    }
}

/// The command that the body names, if it names one.
///
/// # Errors
/// serde_json's error if the body is not JSON. Its text names a position, never the content.
pub(super) fn command_in(provider: Provider, body: &[u8]) -> serde_json::Result<Option<String>> {
    let found = match provider {
        Provider::Tencent => {
            serde_json::from_slice::<Object<Tencent<'_>>>(body).map(|Object(body)| body.command.or(body.events.0))
        }
        Provider::OpenIm => serde_json::from_slice::<Object<OpenIm<'_>>>(body).map(|Object(body)| body.command),
    };
    match found {
        Ok(command) => Ok(command.filter(|command| !command.is_empty()).map(Cow::into_owned)),
        // The body may be JSON without a usable command: no object, a command of another type, two commands, or a name
        // that is not Unicode.
        Err(cause) => serde_json::from_slice::<IgnoredAny>(body)
            .map(|_| None)
            .map_err(|_| cause),
    }
}
