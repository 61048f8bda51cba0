//! The compose file: its reference loader accepts it, and its mounts, names and commands fit the program. Starts no
//! container.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::bridge::{APP, Home, PROGRAM};
use crate::support::{kafka, python};
use crate::tools::{assert_bridge_takes, document, run, strings, text, tool, well};

const FILE: &str = "docker-compose.yml";

fn services() -> Vec<(String, Value)> {
    let services = document(FILE)["services"].as_object().cloned().expect("services");
    services.into_iter().collect()
}

fn service(name: &str) -> Value {
    let found = services().into_iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("there is no service {name}")).1
}

#[test]
fn the_reference_loader_takes_the_file_and_refuses_a_changed_one() {
    let loaded = well(tool("compose").arg(FILE));
    for name in [
        "bridge",
        "bridge-1",
        "balancer",
        "kafka",
        "consumer",
        "kafka-ui",
        "clickhouse",
        "prometheus",
        "grafana",
    ] {
        assert!(
            loaded.contains(&format!("\n    {name}:\n")),
            "{name} is not in\n{loaded}"
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let changed = folder.path().join(FILE);
    std::fs::write(&changed, text(FILE).replace("stop_grace_period", "stop_grace_periode")).expect("it is writable");
    let output = run(tool("compose").arg(&changed));
    assert!(
        output.code != Some(0) && output.err.contains("stop_grace_periode"),
        "{}",
        output.err
    );
}

#[test]
fn every_mounted_file_exists_and_every_image_has_a_version() {
    for (name, service) in services() {
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().expect("a source").to_owned();
            let there = if source.starts_with('.') {
                Path::new(&source).is_file()
            } else {
                document(FILE)["volumes"].get(&source).is_some()
            };
            assert!(there, "{name} mounts {source}");
        }
        if let Some(image) = service["image"].as_str() {
            let version = image.rsplit_once(':').map(|(_, version)| version);
            let dated = version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit() || c == 'v'));
            assert!(dated, "{name}: {image} has no version");
        }
        for port in strings(&service["ports"]) {
            let local = port.starts_with("127.0.0.1:") || port.starts_with("${BIND:-127.0.0.1}:");
            assert!(local, "{name} publishes {port} to everyone");
        }
    }
}

#[test]
fn kafka_is_the_one_that_the_tests_run_against() {
    let kafka = service("kafka")["image"].as_str().expect("an image").to_owned();
    let version = kafka.rsplit(':').next().expect("a version");
    assert!(
        text("scripts/kafka.pom.xml").contains(&format!("<version>{version}</version>")),
        "{kafka}"
    );
}

#[test]
fn the_bridge_takes_its_configuration_and_has_no_more_rights_than_it_needs() {
    for (name, bridge) in bridges() {
        assert_bridge_takes(&text("deploy/compose/imbridge.toml"), &environment(&bridge));
        assert_eq!(bridge["read_only"], true, "{name}");
        assert_eq!(strings(&bridge["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&bridge["security_opt"]), ["no-new-privileges:true"], "{name}");
        let grace = bridge["stop_grace_period"]
            .as_str()
            .and_then(|time| time.strip_suffix('s')?.parse::<u32>().ok());
        assert!(grace.is_some_and(|seconds| seconds > 15 + 20 + 5), "{name}: {grace:?}");
    }
}

/// The single bridge and the replicas.
fn bridges() -> Vec<(String, Value)> {
    let bridges = services().into_iter().filter(|(name, _)| name.starts_with("bridge"));
    bridges.collect()
}

/// A service's variables if the caller sets none.
fn environment(service: &Value) -> Vec<(String, String)> {
    let variables = service["environment"].as_object().expect("variables").iter();
    let value = |value: &Value| default_of(value.as_str().expect("a text"));
    variables.map(|(name, text)| (name.clone(), value(text))).collect()
}

#[test]
fn the_profiles_bridges_share_no_spool_and_answer_after_kafka_behind_a_balancer_that_knows_them() {
    let replicas = bridges()
        .into_iter()
        .filter(|(_, bridge)| bridge["profiles"][0] == "replicas");
    let replicas: Vec<_> = replicas.collect();
    assert_eq!(replicas.len(), 3);
    let volume = |bridge: &Value| strings(&bridge["volumes"]).pop().expect("a spool");
    let id = |bridge: &Value| {
        environment(bridge)
            .into_iter()
            .find(|(name, _)| name == "IMBRIDGE_SPOOL__ID")
    };
    for unique in [
        bridges()
            .iter()
            .map(|(_, bridge)| volume(bridge))
            .collect::<BTreeSet<_>>(),
        bridges()
            .iter()
            .map(|(_, bridge)| format!("{:?}", id(bridge)))
            .collect(),
    ] {
        assert_eq!(unique.len(), 4, "{unique:?}");
    }
    let balancer = text("deploy/compose/haproxy.cfg");
    for (name, bridge) in &replicas {
        let answers = ("IMBRIDGE_SERVER__ANSWER_AFTER".to_owned(), "kafka".to_owned());
        assert!(environment(bridge).contains(&answers), "{name}");
        assert_eq!(strings(&bridge["ports"]), Vec::<String>::new(), "{name}");
        assert!(
            balancer.contains(&format!("server {name} {name}:8080 check port 9464\n")),
            "{name}"
        );
        assert!(text("deploy/compose/prometheus.yml").contains(name));
        assert!(strings(&service("balancer")["depends_on"]).contains(name), "{name}");
    }
}

/// `${NAME:-default}` without the variable.
fn default_of(value: &str) -> String {
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let default = inner.and_then(|inner| inner.split_once(":-"));
    default.map_or(value, |(_, default)| default).to_owned()
}

#[test]
fn promtool_takes_the_configuration_of_prometheus() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (from, to) in [
        ("deploy/compose/prometheus.yml", "prometheus.yml"),
        ("dashboards/alerts.yml", "alerts.yml"),
    ] {
        std::fs::copy(from, folder.path().join(to)).expect("a temporary folder is writable");
    }
    let output = well(
        tool("promtool")
            .args(["check", "config"])
            .arg(folder.path().join("prometheus.yml")),
    );
    assert!(output.contains("1 rule files found"), "{output}");
}

#[test]
fn readers_of_schemas_use_the_bridge_if_it_serves_them() {
    let configured = text("deploy/compose/imbridge.toml");
    assert!(configured.contains("\nlisten = \"0.0.0.0:8081\""), "{configured}");
    assert!(strings(&service("bridge")["ports"]).contains(&"127.0.0.1:8081:8081".to_owned()));
    let url = "http://bridge:8081";
    assert!(strings(&service("consumer")["command"]).contains(&url.to_owned()));
    assert_eq!(
        service("kafka-ui")["environment"]["KAFKA_CLUSTERS_0_SCHEMAREGISTRY"],
        url
    );
}

#[test]
fn the_analytics_profile_creates_the_printed_tables_in_the_tested_clickhouse() {
    let service = service("clickhouse");
    assert_eq!(service["profiles"], serde_json::json!(["analytics"]));
    let script = "./deploy/compose/clickhouse.sql:/docker-entrypoint-initdb.d/timeline.sql:ro";
    assert!(strings(&service["volumes"]).contains(&script.to_owned()));
    let mut ddl = Command::new(PROGRAM);
    ddl.args(["schemas", "ddl", "--for", "clickhouse", "timeline"]);
    // As the bridge and its consumers create them.
    ddl.args(["--brokers", "kafka:19092", "--registry", "http://bridge:8081"]);
    assert_eq!(text("deploy/compose/clickhouse.sql"), well(&mut ddl));
    let image = service["image"].as_str().expect("an image").to_owned();
    let version = image.rsplit(':').next().expect("a version");
    assert!(
        text("tests/readers/consumers.requirements.txt").contains(&format!("chdb-core=={version}.")),
        "{image}"
    );
}

#[test]
fn the_sample_consumer_prints_decoded_events_and_continues_where_it_ended() {
    let home = Home::new("sample");
    let bridge = home.start();
    let mut connection = bridge.connect();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json");
    for name in ["one", "two", "three"] {
        let body = format!(r#"{{"GroupId":"g","Name":"{name}"}}"#);
        assert_eq!(connection.post(&target, body).expect("an answer").status, 200);
    }
    bridge.settle();
    let mut consumer = python("IMBRIDGE_TEST_PYTHON", "deploy/compose/consumer.py");
    consumer.args(["--brokers", &kafka::shared(), "--registry", &home.registry()]);
    consumer.args(["--topic-prefix", &home.prefix, "--group", &home.prefix, "--until-count"]);
    let names = |consumer: &mut Command| {
        let printed = well(consumer);
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("a line of JSON")["value"]["Name"].clone();
        printed.lines().map(line).collect::<Vec<_>>()
    };
    let mut more = Command::new(consumer.get_program());
    more.args(consumer.get_args());
    assert_eq!(names(consumer.arg("2")), ["one", "two"]);
    assert_eq!(names(more.arg("1")), ["three"]);
    // The consumer understands the arguments that compose passes.
    let flags = strings(&service("consumer")["command"]);
    for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
        assert!(
            text("deploy/compose/consumer.py").contains(&format!("\"{flag}\"")),
            "{flag}"
        );
    }
}
