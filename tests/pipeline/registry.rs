//! With a schema registry: stock clients read what the bridge wrote. A registry that is down delays only events whose
//! schemas were never used before.

use std::process::Output;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home, free_ports};
use crate::support::eventually;
use crate::support::kafka;
use crate::support::oracle::Plan;
use crate::support::reader::consume;
use crate::support::registry::{Client, Gate, read, shared};
use crate::support::samples;
use crate::support::schemas::FOUR;

const CREATED: &str = "tencent/Group.CallbackAfterCreateGroup";

fn with_registry(name: &str, url: &str) -> Home {
    let mut home = Home::new(name);
    home.set("SCHEMAS__REGISTRY_URL", url);
    // The readers see each event once.
    home.without_timeline();
    home
}

/// Runs `imbridge schemas <verb>`.
fn registry(home: &Home, verb: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = home
        .command(&format!("schemas {verb}"))
        .output()
        .expect("the program was built");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn registered_schemas_let_stock_clients_read_the_four_commands() {
    let home = with_registry("stock", &shared());
    let (code, lines) = registry(&home, "verify");
    assert_eq!(code, Some(1), "{lines}");
    assert!(
        lines.contains("run imbridge schemas register") && lines.contains("4 schemas, 4 differences"),
        "{lines}"
    );
    for (what, times) in [("registered, id", 4), ("unchanged, id", 4)] {
        let (code, lines) = registry(&home, "register");
        assert_eq!((code, lines.matches(what).count()), (Some(0), times), "{lines}");
    }
    let (code, lines) = registry(&home, "verify");
    assert_eq!(code, Some(0), "{lines}");
    let check = home.command("check").output().expect("the program was built");
    assert!(
        String::from_utf8_lossy(&check.stdout).contains("ok    registry: "),
        "{check:?}"
    );

    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    let [python, javascript, java] = [Client::Python, Client::JavaScript, Client::Java]
        .map(|client| samples::by_topic(&home.prefix, read(client, &shared(), &kafka::shared(), &home.prefix, 4)));
    assert_eq!(python, javascript);
    assert_eq!(python, java);
    let created = &python[&format!("im.{}", CREATED.replace('/', "."))][0];
    let sample: Value = serde_json::from_str(&samples::sample(CREATED).1).expect("JSON");
    assert_eq!(created["key"], sample["GroupId"]);
    assert_eq!(created["value"]["MemberList"], sample["MemberList"]);
    assert_eq!(python.len(), 4);
}

#[test]
fn with_a_warm_cache_a_registry_that_is_down_at_the_start_delays_nothing() {
    let [port] = free_ports();
    let mut gate = Gate::closed(port);
    let mut home = with_registry("warm", &gate.url());
    // The same samples are posted again and again.
    home.set("HISTORY__WINDOW_S", "0");
    gate.open();
    assert_eq!(registry(&home, "register").0, Some(0));
    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    assert!(bridge.terminate().success());
    gate.close();

    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    assert_eq!(bridge.metric(&["imbridge_registry_errors_total"]), 0.0);
    assert_eq!(
        read(Client::Python, &shared(), &kafka::shared(), &home.prefix, 8).len(),
        8
    );
    assert!(bridge.terminate().success());

    // A cache that is not valid is renamed, and the registry is asked.
    let ids = home.path().join("spool/registry-ids.json");
    std::fs::write(&ids, "{").expect("a temporary folder is writable");
    gate.open();
    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    bridge.logged("it is renamed to *.json.bad");
    let text = std::fs::read_to_string(&ids).expect("it was written anew");
    assert_eq!(
        text.matches(".Group.CallbackAfterCreateGroup-value").count(),
        1,
        "{text}"
    );
}

#[test]
fn with_a_cold_cache_a_registry_that_is_down_delays_publishing_and_nothing_else() {
    let [port] = free_ports();
    let mut gate = Gate::closed(port);
    let home = with_registry("cold", &gate.url());
    let bridge = home.start();
    let unknown = bridge
        .connect()
        .post("/openim/callbackNobodyKnows", r#"{"groupID":"g0"}"#);
    assert_eq!(unknown.expect("an answer").status, 200);
    let plan = Plan::new(&home).with("groups", 32).with("each", 20);
    let ledger = plan.start().finish();
    assert_eq!(ledger.acknowledged, 32 * 20, "every post is acknowledged");
    eventually("the bridge to report that it waits", || {
        (bridge.metric(&["imbridge_registry_waiting "]) == 1.0
            && bridge.metric(&["imbridge_registry_errors_total", "unreachable"]) >= 2.0)
            .then_some(())
    });
    let rebuilds = || bridge.metric(&["imbridge_producer_rebuilds_total"]);
    let published = || bridge.metric(&["imbridge_messages_published_total"]);
    eventually("what needs no schema", || (published() >= 1.0).then_some(()));
    let rebuilds_before = rebuilds();
    gate.open();
    eventually("the bridge to miss the schema", || {
        (bridge.metric(&["imbridge_registry_errors_total", "not_registered"]) >= 1.0).then_some(())
    });
    bridge.logged("run imbridge schemas register");
    assert_eq!(published(), 1.0, "nothing overtakes a record that waits");

    assert_eq!(registry(&home, "register").0, Some(0));
    bridge.settle();
    assert_eq!(bridge.metric(&["imbridge_registry_waiting "]), 0.0);
    assert_eq!(rebuilds(), rebuilds_before, "waiting is no fault of the producer's");
    assert_eq!(bridge.metric(&["imbridge_dead_letters_total"]), 0.0);
    let raw = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(raw.len(), 1 + 32 * 20, "everything has arrived, once");
    let mut named = home;
    // Only the topic of the command: the raw JSON in the other topic is not for a deserializer.
    named.prefix = format!("{}.tencent", named.prefix);
    let mut last = std::collections::HashMap::new();
    for message in read(Client::Python, &shared(), &kafka::shared(), &named.prefix, 16 * 20) {
        let number: i64 = message.value["Name"]
            .as_str()
            .expect("a number")
            .parse()
            .expect("a number");
        let before = last.insert(message.key.clone(), number).unwrap_or(-1);
        assert_eq!(number, before + 1, "{} is in order", message.key);
    }
    assert_eq!(last.len(), 16, "every other group speaks Tencent's protocol");
}

#[test]
fn with_auto_register_the_first_event_of_a_command_registers_its_schema() {
    // The first address does not answer, so the second is asked.
    let mut home = with_registry("auto", &format!("http://127.0.0.1:1, {}", shared()));
    home.set("SCHEMAS__AUTO_REGISTER", "true");
    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    assert_eq!(
        read(Client::Python, &shared(), &kafka::shared(), &home.prefix, 4).len(),
        4
    );
    let (code, lines) = registry(&home, "verify");
    assert_eq!(code, Some(0), "the subjects are FULL_TRANSITIVE: {lines}");
}

#[test]
fn a_withdrawn_schema_is_no_longer_looked_up() {
    let home = with_registry("withdrawn", "http://127.0.0.1:1");
    let bridge = home.start();
    let waiting = |wanted: f64| (bridge.metric(&["imbridge_registry_waiting "]) == wanted).then_some(());
    let body = r#"{"GroupId":"g"}"#;
    let command = CREATED.split_once('/').expect("provider/command").1;
    assert_eq!(bridge.post(command, body).status, 200);
    eventually("the bridge to wait for the number", || waiting(1.0));
    withdraw(&home, &bridge);
    eventually("the bridge to wait no longer", || waiting(0.0));
}

#[test]
fn a_withdrawn_schema_is_no_longer_looked_up_after_a_restart() {
    let home = with_registry("restarted", "http://127.0.0.1:1");
    let bridge = home.start();
    let command = CREATED.split_once('/').expect("provider/command").1;
    assert_eq!(bridge.post(command, r#"{"GroupId":"g"}"#).status, 200);
    bridge.kill();
    let bridge = home.start();
    eventually("the bridge to wait for the number", || {
        (bridge.metric(&["imbridge_registry_waiting "]) == 1.0).then_some(())
    });
    withdraw(&home, &bridge);
}

/// Removes the schema. Events that wait for its id are published without one.
fn withdraw(home: &Home, bridge: &Bridge) {
    std::fs::remove_dir_all(home.schemas().join(CREATED)).expect("it is there");
    bridge.signal("HUP");
    bridge.settle();
    let messages = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(messages.len(), 1);
    assert!(messages[0].topic.ends_with(".tencent.unknown"), "{}", messages[0].topic);
}
