//! What the status page shows, as JSON: whether it accepts, whether Kafka is there, how far behind it is, and the rest of
//! what its users ask first. Made of the metrics and of views that other parts offer; no bodies, no secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::history::History;
use super::readings::Readings;
use super::{State, unready};
use crate::lifecycle::unix_ms;

/// Something that another part shows on the page: its name in the JSON, and what to ask.
#[derive(Clone)]
pub struct View {
    /// A member of the status.
    pub name: &'static str,
    /// Gives its value; must not block.
    pub read: Arc<dyn Fn() -> Value + Send + Sync>,
}

pub(super) fn status(state: &State, history: &History) -> Value {
    let readings = Readings::of(&state.registry);
    let now_ms = unix_ms();
    let refusal = unready(state);
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now_ms": now_ms,
        "accepting": {
            "ok": refusal.is_none(),
            "reason": refusal.as_ref().map(|(reason, _)| reason),
            "message": refusal.as_ref().map(|(_, message)| message),
        },
        "kafka": {
            "connected": readings.sum("imbridge_kafka_connected") > 0.0,
            "published": readings.sum("imbridge_messages_published_total"),
            "rebuilds": readings.by("imbridge_producer_rebuilds_total", "reason"),
        },
        "spool": {
            "records": readings.sum("imbridge_spool_records"),
            "bytes": readings.sum("imbridge_spool_bytes"),
            "oldest_age_s": readings.sum("imbridge_spool_oldest_age_seconds"),
            "stalled_s": readings.sum("imbridge_delivery_stalled_seconds"),
            "commit_errors": readings.sum("imbridge_spool_commit_errors_total"),
        },
        "commands": commands(&readings, history.earlier(), now_ms),
        "refused": readings.by("imbridge_requests_refused_total", "reason"),
        "failed_open": readings.by("imbridge_failed_open_total", "reason"),
        "dead_letters": readings.by("imbridge_dead_letters_total", "reason"),
        "refused_by_kafka": readings.by("imbridge_refused_total", "topic"),
        "duplicates_dropped": readings.sum("imbridge_duplicates_dropped_total"),
        "sequence": {
            "gaps": readings.sum("imbridge_sequence_gaps_total"),
            "disorder": readings.sum("imbridge_sequence_disorder_total"),
        },
        "unmapped_fields": readings.sum("imbridge_unmapped_fields_total"),
        "history": history.columns(),
    });
    let members = status.as_object_mut().expect("it was made an object");
    members.extend(state.views.iter().map(|view| (view.name.to_owned(), (view.read)())));
    status
}

/// Each command that has come: how often, how often not answered with success, its rate now, its last arrival.
fn commands(readings: &Readings, earlier: Option<(i64, &Readings)>, now_ms: i64) -> Vec<Value> {
    let counts = |readings: &Readings| {
        let mut counts: BTreeMap<(String, String), (f64, f64)> = BTreeMap::new();
        for reading in readings.named("imbridge_requests_total") {
            let command = (
                reading.label("provider").to_owned(),
                reading.label("command").to_owned(),
            );
            let (answered, failed) = counts.entry(command).or_default();
            let success = reading.label("status").starts_with('2');
            *(if success { answered } else { failed }) += reading.value;
        }
        counts
    };
    let then = earlier.map(|(at_ms, readings)| (at_ms, counts(readings)));
    let last: BTreeMap<_, _> = readings
        .named("imbridge_last_arrival_timestamp_seconds")
        .map(|reading| ((reading.label("provider"), reading.label("command")), reading.value))
        .collect();
    let row = |((provider, command), (answered, failed)): ((String, String), (f64, f64))| {
        let rate = then.as_ref().map(|(at_ms, counts)| {
            let before = counts
                .get(&(provider.clone(), command.clone()))
                .copied()
                .unwrap_or_default();
            let seconds = (now_ms - at_ms).max(1) as f64 / 1000.0;
            (answered + failed - before.0 - before.1).max(0.0) / seconds
        });
        let mut row = Map::new();
        let arrival = last
            .get(&(provider.as_str(), command.as_str()))
            .map(|seconds| seconds * 1000.0);
        row.insert("answered".into(), answered.into());
        row.insert("failed".into(), failed.into());
        row.insert("per_s".into(), rate.into());
        row.insert("last_arrival_ms".into(), arrival.into());
        row.insert("provider".into(), provider.into());
        row.insert("command".into(), command.into());
        Value::Object(row)
    };
    counts(readings).into_iter().map(row).collect()
}
