//! A record becomes its callback, and the callback its events, without what a privacy rule withholds. It knows no schema and no Kafka.

use std::borrow::Cow;

use crate::callback::{Callback, CommandTable};
use crate::provider::{Event, Privacy, expand};
use crate::spool::Record;

/// Why there is no event: a label, and an error message.
pub(super) type Reason = (&'static str, String);

pub(super) fn open(record: &Record) -> Result<Callback, Reason> {
    if !record.intact && record.data.is_empty() {
        let error = "the page of the spool's file that held the record cannot be read; the file is in the quarantine";
        return Err(("corrupt_page", error.into()));
    }
    if !record.intact {
        return Err(("corrupt_record", "the record's bytes do not have its checksum".into()));
    }
    Callback::from_record(&record.data).map_err(|cause| ("unknown_record", cause.to_string()))
}

pub(super) fn events_of<'a>(callback: &'a Callback, commands: &CommandTable) -> Result<Vec<Event<'a>>, Reason> {
    if callback.head.unreadable {
        return Err((
            "not_json",
            "the body was refused: it is not JSON, or names no command".into(),
        ));
    }
    match expand(callback, commands) {
        Ok(events) if events.is_empty() => Err(("empty_batch", "the batch has no events".into())),
        Ok(events) => Ok(events),
        Err(cause) => Err(("no_batch", cause.to_string())),
    }
}

/// Removes from the head what a privacy rule withholds.
pub(super) fn clear_head(callback: &mut Callback, privacy: &Privacy) {
    let command = callback.head.command.take();
    privacy.head(command.as_deref().unwrap_or_default(), &mut callback.head);
    callback.head.command = command;
}

/// The event without what a privacy rule withholds; `None` where its body cannot be read for that.
pub(super) fn cleared<'a>(event: &'a Event<'_>, privacy: &Privacy) -> Option<Event<'a>> {
    Some(Event {
        index: event.index,
        command: Cow::Borrowed(&event.command),
        body: privacy.body(&event.command, &event.body)?,
    })
}
