//! Expands a callback into events: one event, or one per element of a batch.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::body::Element;
use super::object::Object;
use crate::callback::{Callback, CommandTable};

/// Events of one batch at most; Tencent documents 100. A larger batch is not expanded.
const EVENTS_MAX: usize = 1000;

/// One event of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its index in the callback, from 0.
    pub index: u32,
    /// The event's own command, which in a batch may differ from the callback's.
    pub command: Cow<'a, str>,
    /// Its JSON text.
    pub body: Cow<'a, [u8]>,
}

/// Why a batch cannot be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The field with the events is not a list.
    #[error("`{0}` is not a list of events")]
    NoList(String),
    /// There are more events than `EVENTS_MAX`.
    #[error("the batch has {0} events, more than {EVENTS_MAX}")]
    TooMany(usize),
    /// The fields beside the list cannot be added to the first event.
    #[error("the batch has fields beside its list, but its first element is not an object")]
    NoFirst,
    /// The body is not a JSON object.
    #[error("the batch is not a JSON object: {0}")]
    NoObject(#[from] serde_json::Error),
}

/// The events of a callback with a command. Fields beside the list of a batch are added to its first event.
///
/// # Errors
/// [`ExpandError`] if the command's rule expects a batch and the body is none.
pub fn expand<'a>(callback: &'a Callback, commands: &CommandTable) -> Result<Vec<Event<'a>>, ExpandError> {
    let command = callback.head.command.as_deref().unwrap_or_default();
    let rule = commands.get(callback.head.provider, command);
    let whole = Event {
        index: 0,
        command: command.into(),
        body: callback.body.as_ref().into(),
    };
    let Some(list) = rule.and_then(|rule| rule.expand.as_deref()) else {
        return Ok(vec![whole]);
    };
    let mut beside: BTreeMap<Cow<'a, str>, &RawValue> = serde_json::from_slice(&callback.body)?;
    let Some(elements) = beside.remove(list) else {
        // An older format of the same command: a single event.
        return Ok(vec![whole]);
    };
    let elements: Vec<&RawValue> =
        serde_json::from_str(elements.get()).map_err(|_| ExpandError::NoList(list.to_owned()))?;
    if elements.len() > EVENTS_MAX {
        return Err(ExpandError::TooMany(elements.len()));
    }
    if !beside.is_empty() && elements.first().is_some_and(|first| !first.get().starts_with('{')) {
        return Err(ExpandError::NoFirst);
    }
    let events = (0..).zip(elements).map(|(index, element)| {
        let own = serde_json::from_str::<Object<Element<'_>>>(element.get())
            .ok()
            .and_then(|Object(element)| element.command);
        let command = own.map_or(Cow::Borrowed(command), |own| Cow::Owned(own.into_owned()));
        let body = if index == 0 {
            with_fields(element.get(), &beside)
        } else {
            element.get().as_bytes().into()
        };
        Event { index, command, body }
    });
    Ok(events.collect())
}

/// Appends fields to an object.
fn with_fields<'a>(object: &'a str, fields: &BTreeMap<Cow<'_, str>, &RawValue>) -> Cow<'a, [u8]> {
    match object.trim_end().strip_suffix('}') {
        Some(open) if !fields.is_empty() => {
            let mut separator = if open.trim_end().ends_with('{') { "" } else { "," };
            let mut text = open.to_owned();
            for (name, value) in fields {
                text.push_str(&format!("{separator}{}:{}", serde_json::json!(name), value.get()));
                separator = ",";
            }
            text.push('}');
            Cow::Owned(text.into_bytes())
        }
        _ => Cow::Borrowed(object.as_bytes()),
    }
}

/// The group of a body without a schema: a top-level field with one of the names that both providers use. Invalid UTF-8
/// elsewhere in the body does not matter.
pub fn group_of(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let replaced = matches!(text, Cow::Owned(_));
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(&text).ok()?;
    ["GroupId", "groupID", "GroupID", "groupId", "ToGroupId"]
        .iter()
        .find_map(|name| {
            let text = fields.get(*name)?.get();
            let group = serde_json::from_str::<String>(text)
                .ok()
                .or_else(|| text.parse::<u64>().ok().map(|_| text.to_owned()))?;
            let readable = !(replaced && group.contains(char::REPLACEMENT_CHARACTER));
            (readable && !group.is_empty()).then_some(group)
        })
}
