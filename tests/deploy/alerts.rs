//! The alert rules, checked by promtool with their test cases, and firing in a real Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::prometheus::Watched;
use crate::support::eventually;
use crate::tools::{document, run, text, tool, well};

const RULES: &str = "dashboards/alerts.yml";

/// Every rule in the file.
pub fn rules() -> Vec<Value> {
    let groups = document(RULES)["groups"].as_array().cloned().expect("groups");
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().cloned().expect("rules"))
        .collect()
}

fn names(kind: &str) -> BTreeSet<String> {
    let names = rules()
        .into_iter()
        .filter_map(|rule| rule[kind].as_str().map(str::to_owned));
    names.collect()
}

#[test]
fn promtool_finds_nothing_wrong_and_every_test_case_as_it_is_written() {
    well(tool("promtool").args(["check", "rules", "--lint=all", "--lint-fatal", RULES]));
    let files = ["dashboards/alerts_test.yml", "dashboards/alerts_days_test.yml"];
    well(tool("promtool").args(["test", "rules"]).args(files));
    let cases = files.map(text).concat();
    for alert in names("alert") {
        assert!(cases.contains(&alert), "no test case is about {alert}");
    }
}

#[test]
fn a_rule_that_is_changed_fails_its_test_case() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is writable");
    let cases = text("dashboards/alerts_test.yml");
    let (head, _) = cases.split_once("  - name: ").expect("there are cases");
    let case = cases.split("  - name: ").find(|case| case.starts_with("Kafka is away"));
    write(
        "alerts_test.yml",
        &format!("{head}  - name: {}", case.expect("a case of that name")),
    );
    for (limit, code) in [("> 60", 0), ("> 6000", 1)] {
        let rules = text(RULES).replace("stalled_seconds > 60 ", &format!("stalled_seconds {limit} "));
        write("alerts.yml", &rules);
        let output = run(tool("promtool")
            .args(["test", "rules"])
            .arg(folder.path().join("alerts_test.yml")));
        assert_eq!(output.code, Some(code), "{limit}: {}{}", output.out, output.err);
    }
}

#[test]
fn every_alert_has_a_severity_and_links_to_its_section_of_the_guide() {
    let guide = text("docs/guide/alerts.md");
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = rule["alert"].as_str().expect("filtered");
        assert!(name.starts_with("Imbridge"), "{name}");
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        let url = format!("docs/guide/alerts.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], url.as_str(), "{name}");
        assert!(
            guide.contains(&format!("\n### {name}\n")),
            "docs/guide/alerts.md has no section {name}"
        );
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].is_string(),
                "{name} has no {annotation}"
            );
        }
    }
    let sections = guide.lines().filter_map(|line| line.strip_prefix("### Imbridge"));
    let known = names("alert");
    for section in sections {
        assert!(
            known.contains(&format!("Imbridge{section}")),
            "there is no alert Imbridge{section}"
        );
    }
}

#[test]
fn a_real_prometheus_fires_for_the_first_dead_letter_of_a_bridge_under_load() {
    let mut watched = Watched::start();
    eventually("two scrapes of both bridges", || {
        watched.load();
        let both = watched
            .query("count(count_over_time(imbridge_ready[10s]) > 1)")
            .expect("a query");
        (both.first()?["value"][1] == "2").then_some(())
    });
    assert!(
        !watched.firing().contains(&"ImbridgeDeadLetters".to_owned()),
        "{:?}",
        watched.firing()
    );
    watched.post_a_dead_letter();
    eventually("ImbridgeDeadLetters to fire", || {
        watched.load();
        watched
            .firing()
            .contains(&"ImbridgeDeadLetters".to_owned())
            .then_some(())
    });
    // The faults that were provoked at the start fire too. Alerts without a fault do not.
    let firing = watched.firing();
    assert!(firing.contains(&"ImbridgeFailedOpen".to_owned()), "{firing:?}");
    for well in [
        "ImbridgeDown",
        "ImbridgeNotReady",
        "ImbridgeCommitFailed",
        "ImbridgeProducerRebuilt",
    ] {
        assert!(!firing.contains(&well.to_owned()), "{firing:?}");
    }
}
