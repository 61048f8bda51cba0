//! An installation of the chart: the notes that it prints, which pods are reached and when, and the chart's own test.

use std::process::Command;

use serde_json::Value;

use crate::chart::{CHART, VALUES, of_kind, render};
use crate::support::bridge::{Home, PROGRAM};
use crate::tools::{documents, kubernetes_faults, run, tool, well};

/// The notes that `helm install` prints at its end. helm would ask a cluster, so a template of the test has them.
fn notes(values: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let chart = folder.path().join("imbridge");
    well(Command::new("cp").args(["-rL", CHART]).arg(&chart));
    let template = r#"notes: {{ include "imbridge/templates/NOTES.txt" . | toJson }}"#;
    std::fs::write(chart.join("templates/printed.yaml"), template).expect("a temporary folder is writable");
    let mut helm = tool("helm");
    helm.args(["template", "im"])
        .arg(&chart)
        .args(["--show-only", "templates/printed.yaml"]);
    let printed = documents(&well(helm.args(values)));
    printed[0]["notes"].as_str().expect("a text").to_owned()
}

#[test]
fn the_chart_renders_without_values_and_install_and_pod_report_what_is_missing() {
    let output = well(tool("helm").args(["lint", "--strict", CHART]));
    assert!(!output.contains("[WARNING]") && !output.contains("[ERROR]"), "{output}");
    let rendered = well(tool("helm").args(["template", "im", CHART]));
    assert_eq!(kubernetes_faults(&rendered, "1.33.0"), "");
    let printed = notes(&[]);
    for part in ["no sender", "config.tencent", "exit code 64", "config.kafka.brokers"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let config = of_kind(&documents(&rendered), "ConfigMap")[0]["data"]["imbridge.toml"].clone();
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("imbridge.toml");
    std::fs::write(&file, config.as_str().expect("a text")).expect("a temporary folder is writable");
    for verb in ["serve", "check"] {
        let output = run(Command::new(PROGRAM).env_clear().args([verb, "--config"]).arg(&file));
        assert_eq!(output.code, Some(64), "{verb}: {}{}", output.out, output.err);
        assert!(
            output.err.contains("no sender: at least one [[tencent]]"),
            "{verb}: {}",
            output.err
        );
    }
    for values in VALUES {
        let printed = notes(&["--values", &format!("{CHART}/ci/{values}.yaml")]);
        assert!(!printed.contains("WARNING"), "{values}: {printed}");
    }
}

#[test]
fn a_bridge_that_is_not_ready_is_reached_if_it_is_the_only_one_and_is_never_killed() {
    for values in VALUES {
        let objects = documents(&render(values));
        let bridge = &of_kind(&objects, "StatefulSet")[0]["spec"];
        for service in of_kind(&objects, "Service") {
            let is_public = service["metadata"]["labels"]["app.kubernetes.io/component"].is_null();
            let all = service["spec"]["publishNotReadyAddresses"] == true;
            assert_eq!(all, !is_public || bridge["replicas"] == 1, "{values}: {service}");
        }
        let container = &bridge["template"]["spec"]["containers"][0];
        for (probe, path) in [("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")] {
            let asked = &container[&format!("{probe}Probe")]["httpGet"];
            assert_eq!(
                (&asked["path"], &asked["port"]),
                (&path.into(), &"admin".into()),
                "{values}: {probe}"
            );
        }
    }
}

/// Whether a rule of a NetworkPolicy lets a pod of the same namespace reach a port.
fn lets_in(rule: &Value, labels: &Value, port: &str) -> bool {
    let ports = rule["ports"].as_array().into_iter().flatten();
    let is_it = |peer: &Value| {
        let wanted = peer["podSelector"]["matchLabels"].as_object();
        peer["podSelector"].is_object()
            && peer["namespaceSelector"].is_null()
            && wanted.is_none_or(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value))
    };
    let from = rule["from"].as_array();
    ports.into_iter().any(|found| found["port"] == port) && from.is_none_or(|from| from.iter().any(is_it))
}

#[test]
fn the_charts_own_test_may_reach_the_bridge_whatever_others_may() {
    for values in VALUES {
        let objects = documents(&render(values));
        let labels = &of_kind(&objects, "Pod")[0]["metadata"]["labels"];
        let rules = of_kind(&objects, "NetworkPolicy")[0]["spec"]["ingress"].clone();
        for port in ["http", "admin"] {
            let mut rules = rules.as_array().expect("a list").iter();
            assert!(
                rules.any(|rule| lets_in(rule, labels, port)),
                "{values}: {port}, {labels}"
            );
        }
    }
}

#[test]
fn the_charts_own_test_passes_against_a_bridge_and_fails_without() {
    let home = Home::with_brokers("helm-test", "127.0.0.1:1");
    let bridge = home.start();
    let objects = documents(&render("minimal"));
    let script = of_kind(&objects, "Pod")[0]["spec"]["containers"][0]["args"][0].clone();
    let script = script
        .as_str()
        .expect("a text")
        .replace(
            "im-imbridge-0.im-imbridge-headless 9464",
            &format!("127.0.0.1 {}", home.admin_port),
        )
        .replace("im-imbridge 80", &format!("127.0.0.1 {}", home.port));
    let mut ask = Command::new("bash");
    ask.args(["-euc", &script]);
    let output = run(&mut ask);
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    assert!(
        output.out.contains("/readyz 200") && output.out.contains("/healthz 200"),
        "{}",
        output.out
    );
    bridge.kill();
    assert_eq!(run(&mut ask).code, Some(1));
}
