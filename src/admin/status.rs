//! The data of the status page, as JSON: whether the bridge accepts callbacks, whether it is connected to Kafka, how far behind it is,
//! and more. It is made of the metrics and of views that other parts provide. It contains no bodies and no secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::State;
use super::history::PlotHistory;
use super::readings::MetricValues;
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
    let values = MetricValues::of(&state.registry);
    let now_ms = unix_ms();
    let refusal = state.appender.unready();
    let refused = values.by("imbridge_refused_total", "topic");
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now_ms": now_ms,
        "accepting": {
            "ok": refusal.is_none(),
            "reason": refusal.as_ref().map(|(reason, _)| reason),
            "message": refusal.as_ref().map(|(_, message)| clip(message, SHOWN_BYTES_MAX * 5)),
        },
        "kafka": {
            "connected": values.sum("imbridge_kafka_connected") > 0.0,
            "published": values.sum("imbridge_messages_published_total"),
            "breaker_open": values.sum("imbridge_answer_breaker_open") > 0.0,
            "answered_early": values.sum("imbridge_answered_early_total"),
            "rebuilds": values.by("imbridge_producer_rebuilds_total", "reason"),
        },
        "spool": {
            "records": values.sum("imbridge_spool_records"),
            "bytes": values.sum("imbridge_spool_bytes"),
            "oldest_age_s": values.sum("imbridge_spool_oldest_age_seconds"),
            "stalled_s": values.sum("imbridge_delivery_stalled_seconds"),
            "commit_errors": values.sum("imbridge_spool_commit_errors_total"),
        },
        "commands": commands(&values, history.earlier()),
        "refused": values.by("imbridge_requests_refused_total", "reason"),
        "failed_open": values.by("imbridge_failed_open_total", "reason"),
        "dead_letters": values.by("imbridge_dead_letters_total", "reason"),
        "refused_by_kafka": refused.into_iter().take(TOPICS_MAX).collect::<BTreeMap<_, _>>(),
        "duplicates_dropped": values.sum("imbridge_duplicates_dropped_total"),
        "sequence": {
            "gaps": values.sum("imbridge_sequence_gaps_total"),
            "disorder": values.sum("imbridge_sequence_disorder_total"),
        },
        "unmapped_fields": values.sum("imbridge_unmapped_fields_total"),
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

/// By provider and command: the callbacks that were answered, and those that failed.
fn counts(values: &MetricValues) -> BTreeMap<(&str, &str), [f64; 2]> {
    let mut counts = BTreeMap::<_, [f64; 2]>::new();
    for metric in values.named("imbridge_requests_total") {
        let failed = !metric.label("status").starts_with('2');
        counts.entry(metric.command()).or_default()[usize::from(failed)] += metric.value;
    }
    counts
}

/// Each command that has arrived, the latest first: callbacks answered, callbacks failed, the current rate, the last arrival.
fn commands(values: &MetricValues, earlier: Option<(Instant, &MetricValues)>) -> Vec<Value> {
    let earlier = earlier.map(|(at, values)| (at.elapsed().as_secs_f64().max(0.001), counts(values)));
    let arrivals = values.named("imbridge_last_arrival_timestamp_seconds");
    let arrivals: BTreeMap<_, _> = arrivals.map(|metric| (metric.command(), metric.value)).collect();
    let row = |(command, [answered, failed]): ((&str, &str), [f64; 2])| {
        let rate = earlier.as_ref().map(|(seconds, counts)| {
            let before: f64 = counts.get(&command).into_iter().flatten().sum();
            (answered + failed - before).max(0.0) / seconds
        });
        json!({
            "answered": answered,
            "failed": failed,
            "per_s": rate,
            "last_arrival_ms": arrivals.get(&command).map(|seconds| seconds * 1000.0),
            "provider": command.0,
            "command": command.1,
        })
    };
    let mut rows: Vec<Value> = counts(values).into_iter().map(row).collect();
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
