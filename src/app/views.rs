//! The views that the status page shows of parts that it does not know.

use std::sync::Arc;

use serde_json::json;

use crate::admin::View;
use crate::forward::{Irregularity, Latest, Sample};

/// The latest dead letters, and the latest gaps and disorder in the message numbers of groups.
pub(super) fn all(letters: Latest<Sample>, groups: Latest<Irregularity>) -> Vec<View> {
    let letter = |sample: Sample| {
        json!({
            "at_ms": sample.at_ms,
            "provider": sample.provider,
            "command": sample.command,
            "reason": sample.reason,
            "bytes": sample.bytes,
            "sample": sample.shape,
        })
    };
    let group = |it: Irregularity| {
        json!({
            "at_ms": it.at_ms,
            "provider": it.provider,
            "app": it.app,
            "command": it.command,
            "group": it.group,
            "expected": it.expected,
            "got": it.got,
        })
    };
    vec![
        View {
            name: "latest_dead_letters",
            read: Arc::new(move || letters.list().into_iter().map(letter).collect()),
        },
        View {
            name: "groups",
            read: Arc::new(move || groups.list().into_iter().map(group).collect()),
        },
    ]
}
