//! The chart, rendered by the real helm: the result has not changed, fits Kubernetes' schemas, and configures a bridge.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::support::bridge::{Home, PROGRAM};
use crate::support::{kafka, registry};
use crate::tools::{
    assert_bridge_takes, assert_command_line, document, documents, kubernetes_faults, run, strings, text, tool, well,
};

pub const CHART: &str = "helm/imbridge";
pub const VALUES: [&str; 3] = ["minimal", "production", "replicas"];

fn template(values: &str, more: &[&str]) -> Command {
    let mut helm = tool("helm");
    helm.args([
        "template",
        "im",
        CHART,
        "--namespace",
        "messaging",
        "--kube-version",
        "1.33.0",
    ]);
    helm.args(["--values", &format!("{CHART}/ci/{values}.yaml")]).args(more);
    helm
}

/// What helm renders for one file of values. Rendered once.
pub fn render(values: &str) -> String {
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let render = || well(&mut template(values, &[]));
    known.entry(values.to_owned()).or_insert_with(render).clone()
}

/// The objects of one kind.
pub fn of_kind(objects: &[Value], kind: &str) -> Vec<Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .cloned()
        .collect()
}

/// Every pod that the chart can start.
fn pods(objects: &[Value]) -> Vec<Value> {
    let spec = |object: &Value| match object["kind"].as_str() {
        Some("Pod") => Some(object["spec"].clone()),
        Some("StatefulSet" | "Job") => Some(object["spec"]["template"]["spec"].clone()),
        _ => None,
    };
    objects.iter().filter_map(spec).collect()
}

fn containers(pod: &Value) -> Vec<Value> {
    let lists = [&pod["initContainers"], &pod["containers"]];
    lists
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .cloned()
        .collect()
}

/// Without the two files that the chart carries unchanged.
fn without_files(render: &str) -> String {
    let mut carried = false;
    let mut kept = String::new();
    for line in render.lines() {
        carried &= line != "---";
        if !carried {
            kept.push_str(line);
            kept.push('\n');
        }
        carried |= line == "  imbridge.json: |" || line == "  groups:";
    }
    kept
}

#[test]
fn the_chart_renders_what_it_rendered_before() {
    for values in VALUES {
        let now = without_files(&render(values));
        let golden = format!("tests/deploy/golden/{values}.yaml");
        if std::fs::read_to_string(&golden).is_ok_and(|before| before == now) {
            continue;
        }
        let made = format!("{}/{values}.yaml", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&made, now).expect("the target folder is writable");
        let difference = run(Command::new("diff").args([&golden, &made])).out;
        panic!("{golden} is not what is rendered now; if that is meant, take {made}\n{difference}");
    }
}

#[test]
fn every_object_fits_the_schemas_of_the_oldest_and_the_newest_kubernetes() {
    for values in VALUES {
        let rendered = render(values);
        for version in ["1.25.0", "1.37.0"] {
            assert_eq!(
                kubernetes_faults(&rendered, version),
                "",
                "{values}, Kubernetes {version}"
            );
        }
    }
}

#[test]
fn an_object_that_does_not_fit_is_found() {
    let rendered = render("production");
    for (right, wrong, found) in [
        ("podManagementPolicy:", "podManagmentPolicy:", "podManagmentPolicy"),
        ("runAsNonRoot: true", "runAsNonRoot: 7", "runAsNonRoot"),
        ("maxUnavailable: 1", "maxUnavailable: [1]", "maxUnavailable"),
        ("interval: 15s", "interval: 15 s", "interval"),
        ("kind: ServiceMonitor", "kind: ServiceMonitr", "ServiceMonitr"),
        (
            "        expr: imbridge_ready == 0",
            "        expression: imbridge_ready == 0",
            "'expr' is a required property",
        ),
    ] {
        assert!(rendered.contains(right), "{right}");
        let faults = kubernetes_faults(&rendered.replace(right, wrong), "1.33.0");
        assert!(faults.contains(found), "{wrong}: {faults}");
    }
}

#[test]
fn helm_lints_the_chart_without_a_warning() {
    for values in VALUES {
        let values = format!("{CHART}/ci/{values}.yaml");
        let output = well(tool("helm").args([
            "lint",
            "--strict",
            CHART,
            "--values",
            &values,
            "--kube-version",
            "1.33.0",
        ]));
        assert!(!output.contains("[WARNING]") && !output.contains("[ERROR]"), "{output}");
    }
}

#[test]
fn values_that_cannot_work_are_refused_with_their_place() {
    for (value, place) in [
        ("config.tencent=none", "/config/tencent"),
        ("config.tencent[0].token=plain", "/config/tencent/0/token"),
        ("config.spool.id=mine", "/config/spool"),
        ("config.server.listen=0.0.0.0:1", "/config/server"),
        ("config.sever.workers=2", "additional properties 'sever'"),
        ("replicas=many", "/replicas"),
        ("ingress.enabled=true", "/ingress/hosts"),
        ("spool.size=20", "/spool/size"),
        ("monitoring.rules.enable=true", "/monitoring/rules"),
        ("service.port=0", "/service/port"),
        ("topologySpread.zones=never", "/topologySpread/zones"),
        (
            "replicas=3,config.server.answer_after=disk",
            r#"config.server.answer_after is "disk" with replicas: 3"#,
        ),
    ] {
        let output = run(&mut template("minimal", &["--set", value]));
        assert!(
            output.code == Some(1) && output.err.contains(place),
            "{value}: {}",
            output.err
        );
    }
}

#[test]
fn several_bridges_answer_after_kafka_and_a_single_one_as_configured() {
    for (set, wanted) in [
        ("replicas=1", None),
        ("replicas=1,config.server.answer_after=disk", Some("disk")),
        ("replicas=1,config.server.answer_after=kafka", Some("kafka")),
        ("replicas=2", Some("kafka")),
        ("replicas=3,config.server.answer_after=kafka", Some("kafka")),
    ] {
        let objects = documents(&well(&mut template("minimal", &["--set", set])));
        let config = of_kind(&objects, "ConfigMap")[0]["data"]["imbridge.toml"].clone();
        let config: toml::Table = config.as_str().expect("a text").parse().expect("it is TOML");
        let found = config["server"].get("answer_after").and_then(toml::Value::as_str);
        assert_eq!(found, wanted, "{set}");
    }
}

#[test]
fn several_bridges_are_kept_apart_and_end_one_at_a_time() {
    for values in VALUES {
        let objects = documents(&render(values));
        let bridge = &of_kind(&objects, "StatefulSet")[0]["spec"];
        assert_eq!(bridge["updateStrategy"]["type"], "RollingUpdate", "{values}");
        assert_eq!(bridge["podManagementPolicy"], "Parallel", "{values}");
        assert_eq!(
            bridge["minReadySeconds"].is_number(),
            bridge["replicas"] != 1,
            "{values}"
        );
        let budget = &of_kind(&objects, "PodDisruptionBudget")[0]["spec"];
        assert_eq!(budget["maxUnavailable"], 1, "{values}");
        let template = &bridge["template"];
        let spread = template["spec"]["topologySpreadConstraints"]
            .as_array()
            .expect("a list");
        let keys: Vec<_> = spread.iter().map(|spread| spread["topologyKey"].as_str()).collect();
        assert_eq!(
            keys,
            [Some("kubernetes.io/hostname"), Some("topology.kubernetes.io/zone")],
            "{values}"
        );
        let labels = template["metadata"]["labels"].as_object().expect("labels");
        for selector in spread
            .iter()
            .map(|spread| &spread["labelSelector"])
            .chain([&budget["selector"]])
        {
            let selected = selector["matchLabels"].as_object().expect("labels");
            assert!(
                selected.iter().all(|(name, value)| labels.get(name) == Some(value)),
                "{values}"
            );
        }
    }
}

#[test]
fn the_bridge_accepts_the_configuration_of_each_render() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let certificate = home.path().join("ca.crt");
    std::fs::write(&certificate, text("tests/deploy/golden/ca.crt")).expect("a temporary folder is writable");
    for values in VALUES {
        let objects = documents(&render(values));
        let config = of_kind(&objects, "ConfigMap")[0]["data"]["imbridge.toml"].clone();
        let config = config
            .as_str()
            .expect("a text")
            .replace("/etc/imbridge/certificates/ca.crt", &certificate.display().to_string());
        let bridge = &of_kind(&objects, "StatefulSet")[0];
        let name = bridge["metadata"]["name"].as_str().expect("a text");
        // Secrets come from elsewhere or from the release. The spool's name is that of the last pod.
        let secrets = ["IM_TOKEN", "OPENIM_SECRET", "KAFKA_PASSWORD", "PRIVACY_KEY"]
            .map(|name| (name.to_owned(), "secret".to_owned()));
        let mut environment = secrets.to_vec();
        environment.push(("REGISTRY_AUTH".into(), "user:password".into()));
        for variable in bridge["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .expect("a list")
        {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => format!("{name}-{}", bridge["spec"]["replicas"]),
                _ => variable["value"].as_str().expect("a text").to_owned(),
            };
            environment.push((variable["name"].as_str().expect("a text").to_owned(), value));
        }
        assert!(environment.iter().any(|(name, _)| name == "IMBRIDGE_SPOOL__ID"));
        assert_bridge_takes(&config, &environment);
    }
}

#[test]
fn command_lines_are_the_programs_own() {
    let mut verbs = Vec::new();
    for values in VALUES {
        for container in pods(&documents(&render(values))).iter().flat_map(containers) {
            // The container of the chart's test runs bash.
            if container["command"].is_null() {
                let arguments = strings(&container["args"]);
                assert_command_line(&arguments);
                verbs.push(arguments[0].clone());
            }
        }
    }
    assert!(
        ["serve", "schemas", "topics"]
            .iter()
            .all(|verb| verbs.contains(&(*verb).to_owned())),
        "{verbs:?}"
    );
}

#[test]
fn the_setup_job_makes_the_topics_and_schemas_that_a_bridge_waits_for_and_may_run_again() {
    let home = Home::new("setup-job");
    let more = [
        format!("config.kafka.brokers={}", kafka::shared()),
        format!("config.kafka.topic_prefix={}", home.prefix),
        "config.kafka.replication_factor=1".to_owned(),
        format!("config.schemas.registry_url={}", registry::shared()),
        // The test's registry has just started, while other tests run.
        "config.schemas.registry_timeout_ms=30000".to_owned(),
    ];
    let more: Vec<&str> = more.iter().flat_map(|value| ["--set", value]).collect();
    let objects = documents(&well(&mut template("replicas", &more)));
    let config = of_kind(&objects, "ConfigMap")[0]["data"]["imbridge.toml"].clone();
    std::fs::write(home.config(), config.as_str().expect("a text")).expect("a temporary folder is writable");
    let run = |arguments: &[String]| {
        let path = home.config().display().to_string();
        let arguments = arguments
            .iter()
            .map(|word| word.replace("/etc/imbridge/imbridge.toml", &path));
        let mut program = Command::new(PROGRAM);
        // The environment of the image, and the secret.
        program.env_clear().args(arguments).env("OPENIM_SECRET", "secret");
        run(program.env("IMBRIDGE_SCHEMAS__DIR", home.schemas()))
    };
    let checks = [["topics", "plan"], ["schemas", "verify"]].map(|verb| {
        verb.into_iter()
            .chain(["--config", "/etc/imbridge/imbridge.toml"])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    for check in &checks {
        assert_eq!(run(check).code, Some(1), "{check:?} finds everything there already");
    }
    for _ in ["installation", "upgrade"] {
        for container in of_kind(&objects, "Job")
            .iter()
            .flat_map(|job| containers(&job["spec"]["template"]["spec"]))
        {
            let output = run(&strings(&container["args"]));
            assert_eq!(
                output.code,
                Some(0),
                "{}: {}{}",
                container["name"],
                output.out,
                output.err
            );
        }
        for check in &checks {
            let output = run(check);
            assert_eq!(output.code, Some(0), "{check:?}: {}{}", output.out, output.err);
        }
    }
}

#[test]
fn no_pod_has_more_rights_than_it_needs_and_each_bridge_time_to_drain() {
    for values in VALUES {
        let objects = documents(&render(values));
        for pod in pods(&objects) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{pod}");
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{pod}"
            );
            assert_eq!(pod["automountServiceAccountToken"], false, "{pod}");
            for container in containers(&pod) {
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
                assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{container}");
            }
        }
        let config = of_kind(&objects, "ConfigMap")[0]["data"]["imbridge.toml"].clone();
        let config: toml::Table = config.as_str().expect("a text").parse().expect("it is TOML");
        let seconds = |table: &str, key: &str, default: i64| {
            let value = config.get(table).and_then(|table| table.get(key));
            value.and_then(toml::Value::as_integer).unwrap_or(default)
        };
        let needed = seconds("server", "shutdown_timeout_s", 15) + seconds("shutdown", "drain_timeout_s", 20);
        let given = &of_kind(&objects, "StatefulSet")[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        assert!(
            given.as_i64().expect("a number") > needed + 5,
            "{values}: {given} s, {needed} s are needed"
        );
    }
}

#[test]
fn rules_and_dashboard_are_those_of_the_repository() {
    let objects = documents(&render("production"));
    let base = "https://git.example.com/imbridge/blob/main/";
    let rules = of_kind(&objects, "PrometheusRule")[0]["spec"]
        .to_string()
        .replace(base, "");
    assert_eq!(rules, document("dashboards/alerts.yml").to_string());
    let maps = of_kind(&objects, "ConfigMap");
    let dashboard = maps.iter().find_map(|map| map["data"]["imbridge.json"].as_str());
    assert_eq!(
        dashboard.map(str::trim_end),
        Some(text("dashboards/imbridge.json").trim_end())
    );
}
