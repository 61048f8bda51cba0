//! The dashboard: each of its queries returns something from a real Prometheus that watches a bridge under load.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::alerts;
use crate::prometheus::Watched;
use crate::support::eventually;
use crate::tools::text;

/// These appear only with a fault in Kafka, so their names are looked up in the source.
const NEED_A_FAULT: [&str; 3] = [
    "imbridge_producer_rebuilds_total",
    "imbridge_refused_total",
    "imbridge_timeline_left_out_total",
];

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&text("dashboards/imbridge.json")).expect("it is JSON");
    dashboard["panels"].as_array().cloned().expect("panels")
}

/// The title and the query of every target, as Grafana would send them.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query
                .replace("$__rate_interval", "15s")
                .replace("$job", ".*")
                .replace("$instance", ".*");
            assert!(
                !query.contains('$'),
                "a variable that Grafana would replace is left: {query}"
            );
            queries.push((panel["title"].as_str().expect("a title").to_owned(), query));
        }
    }
    assert!(queries.len() > 30, "{} queries", queries.len());
    queries
}

/// Grafana's default thresholds show every stat above 80 in red. A column is sorted by the name that it is shown with.
#[test]
fn stats_have_thresholds_and_tables_sort_by_a_visible_column() {
    let of = |kind: &'static str| panels().into_iter().filter(move |panel| panel["type"] == kind);
    for stat in of("stat") {
        let steps = &stat["fieldConfig"]["defaults"]["thresholds"]["steps"];
        assert!(steps[0]["color"].is_string(), "{}: {steps}", stat["title"]);
    }
    for table in of("table") {
        let shown = &table["transformations"][0]["options"]["renameByName"]["Value"];
        assert!(shown.is_string(), "{}: {shown}", table["title"]);
        assert_eq!(
            table["options"]["sortBy"][0]["displayName"], *shown,
            "{}",
            table["title"]
        );
    }
    assert_eq!((of("stat").count(), of("table").count()), (6, 3));
}

/// The metrics in an expression.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.starts_with("imbridge_") || word.starts_with("imbridge:"));
    ours.map(str::to_owned).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_one_of_a_running_bridge() {
    let watched = Watched::start();
    watched.post_a_dead_letter();
    let recorded: BTreeSet<String> = alerts::rules()
        .iter()
        .filter_map(|rule| rule["record"].as_str().map(str::to_owned))
        .collect();
    let expressions = alerts::rules()
        .into_iter()
        .map(|rule| rule["expr"].as_str().expect("an expression").to_owned());
    let wanted: BTreeSet<String> = expressions
        .chain(queries().into_iter().map(|(_, query)| query))
        .flat_map(|expression| metrics(&expression))
        .filter(|metric| !recorded.contains(metric))
        .collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    eventually("all metrics", || {
        let texts = [&watched.bridge, &watched.waiting].map(|bridge| bridge.admin("/metrics").expect("an answer").1);
        let is_there = |metric: &str| {
            let starts = |line: &str| {
                line.strip_prefix(metric)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            texts.iter().flat_map(|text| text.lines()).any(starts)
        };
        let missing: Vec<_> = wanted.iter().filter(|metric| !is_there(metric)).collect();
        (missing == NEED_A_FAULT.each_ref()).then_some(()).or_else(|| {
            println!("not there yet: {missing:?}");
            None
        })
    });
    let source = text("src/forward/metrics.rs");
    assert!(NEED_A_FAULT.iter().all(|name| source.contains(&format!("\"{name}\""))));
}

#[test]
fn every_query_of_the_dashboard_finds_something_in_a_real_prometheus() {
    let mut watched = Watched::start();
    watched.post_a_dead_letter();
    let mut left = queries();
    left.retain(|(_, query)| !NEED_A_FAULT.iter().any(|name| query.contains(name)));
    let faulty = format!("sum(increase({}[1m]))", NEED_A_FAULT[0]);
    assert_eq!(watched.query(&faulty), Ok(Vec::new()), "no producer was rebuilt");
    assert!(watched.query("sum(").is_err(), "a broken query is an error");
    eventually("something for each query", || {
        watched.load();
        left.retain(|(title, query)| {
            let found = watched
                .query(query)
                .unwrap_or_else(|cause| panic!("{title}: {query}: {cause}"));
            found.is_empty()
        });
        println!("nothing yet: {left:?}");
        left.is_empty().then_some(())
    });
}
