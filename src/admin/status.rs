//! The data of the status page, as JSON: whether the bridge accepts callbacks, whether it is connected to Kafka, how far behind it is,
//! and more. It is made of the metrics and of views that other parts provide. It contains no bodies and no secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::State;
use super::history::PlotHistory;
use super::readings::Readings;
use crate::callback::{SHOWN_BYTES_MAX, clip};
use crate::lifecycle::unix_ms;

/// Data of another part for the page.
#[derive(Clone)]
pub struct View {
    /// Its name in the JSON.
    pub name: &'static str,
    /// Returns its value. Must not block.
    pub read: Arc<dyn Fn() -> Value + Send + Sync>,
}

/// The largest size of the JSON text.
const STATUS_BYTES_MAX: usize = 256 << 10;
/// The most topics that are listed as refused by Kafka.
const TOPICS_MAX: usize = 200;

pub(super) fn status(state: &State, history: &PlotHistory) -> Value {
    let readings = Readings::of(&state.registry);
    let now_ms = unix_ms();
    let refusal = state.appender.unready();
    let refused = readings.by("imbridge_refused_total", "topic");
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now_ms": now_ms,
        "accepting": {
            "ok": refusal.is_none(),
            "reason": refusal.as_ref().map(|(reason, _)| reason),
            "message": refusal.as_ref().map(|(_, message)| clip(message, SHOWN_BYTES_MAX * 5)),
        },
        "kafka": {
            "connected": readings.sum("imbridge_kafka_connected") > 0.0,
            "published": readings.sum("imbridge_messages_published_total"),
            "breaker_open": readings.sum("imbridge_answer_breaker_open") > 0.0,
            "answered_early": readings.sum("imbridge_answered_early_total"),
            "rebuilds": readings.by("imbridge_producer_rebuilds_total", "reason"),
        },
        "spool": {
            "records": readings.sum("imbridge_spool_records"),
            "bytes": readings.sum("imbridge_spool_bytes"),
            "oldest_age_s": readings.sum("imbridge_spool_oldest_age_seconds"),
            "stalled_s": readings.sum("imbridge_delivery_stalled_seconds"),
            "commit_errors": readings.sum("imbridge_spool_commit_errors_total"),
        },
        "commands": commands(&readings, history.earlier()),
        "refused": readings.by("imbridge_requests_refused_total", "reason"),
        "failed_open": readings.by("imbridge_failed_open_total", "reason"),
        "dead_letters": readings.by("imbridge_dead_letters_total", "reason"),
        "refused_by_kafka": refused.into_iter().take(TOPICS_MAX).collect::<BTreeMap<_, _>>(),
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
    shorten(members);
    status
}

/// Halves the longest list until the JSON is within its limit. `left_out` has the number of missing elements.
fn shorten(status: &mut Map<String, Value>) {
    let bytes = |value: &Value| value.to_string().len();
    let mut left_out = Map::new();
    while status
        .iter()
        .map(|(name, value)| name.len() + 4 + bytes(value))
        .sum::<usize>()
        > STATUS_BYTES_MAX - 1024
    {
        let lists = status
            .iter_mut()
            .filter_map(|(name, value)| Some((name, bytes(value), value.as_array_mut()?)));
        let Some((name, _, list)) = lists.max_by_key(|(_, bytes, _)| *bytes) else {
            break;
        };
        let half = list.len() / 2;
        let missing = left_out.get(name).and_then(Value::as_u64).unwrap_or(0);
        left_out.insert(name.clone(), (missing + (list.len() - half) as u64).into());
        list.truncate(half);
    }
    status.insert("left_out".into(), left_out.into());
}

/// Each command that has arrived, the latest first: callbacks answered, callbacks failed, the current rate, the last arrival.
fn commands(readings: &Readings, earlier: Option<(Instant, &Readings)>) -> Vec<Value> {
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
    let then = earlier.map(|(at, readings)| (at.elapsed().as_secs_f64().max(0.001), counts(readings)));
    let last: BTreeMap<_, _> = readings
        .named("imbridge_last_arrival_timestamp_seconds")
        .map(|reading| ((reading.label("provider"), reading.label("command")), reading.value))
        .collect();
    let row = |((provider, command), (answered, failed)): ((String, String), (f64, f64))| {
        let rate = then.as_ref().map(|(seconds, counts)| {
            let before = counts
                .get(&(provider.clone(), command.clone()))
                .copied()
                .unwrap_or_default();
            (answered + failed - before.0 - before.1).max(0.0) / seconds
        });
        let arrival = last.get(&(provider.as_str(), command.as_str()));
        json!({
            "answered": answered,
            "failed": failed,
            "per_s": rate,
            "last_arrival_ms": arrival.map(|seconds| seconds * 1000.0),
            "provider": provider,
            "command": command,
        })
    };
    let mut rows: Vec<Value> = counts(readings).into_iter().map(row).collect();
    rows.sort_by(|a, b| f64::total_cmp(&arrival_ms(b), &arrival_ms(a)));
    rows
}

fn arrival_ms(row: &Value) -> f64 {
    row["last_arrival_ms"].as_f64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_bounded_and_the_first_elements_of_lists_stay() {
        let row = |number: usize| json!({"number": number, "name": "\u{1}".repeat(200)});
        let list = |rows: usize| Value::from_iter((0..rows).map(row));
        let mut status = json!({"version": "1", "commands": list(2000), "groups": list(100), "few": list(3)});
        let members = status.as_object_mut().unwrap();
        shorten(members);
        assert!(status.to_string().len() <= STATUS_BYTES_MAX);
        for (name, rows) in [("commands", 2000), ("groups", 100), ("few", 3)] {
            let (kept, missing) = (status[name].as_array().unwrap(), &status["left_out"][name]);
            assert_eq!(kept.len() as u64 + missing.as_u64().unwrap_or(0), rows, "{name}");
            assert_eq!(kept[0]["number"], 0, "{name}");
        }
        assert_eq!(status["few"].as_array().unwrap().len(), 3);

        let mut small = json!({"commands": list(10)});
        shorten(small.as_object_mut().unwrap());
        assert_eq!(small, json!({"commands": list(10), "left_out": {}}));
    }
}
