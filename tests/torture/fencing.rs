//! Transactional delivery: kills under load, a second bridge of the same spool id, a bridge that slept too long. Judged by
//! a reader that reads committed messages only.

use std::time::Duration;

use crate::size::{report, size};
use crate::support::bridge::{APP, Bridge, Home};
use crate::support::load::Load;
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, kafka, schemas};

fn transactional(name: &str) -> Home {
    let mut home = Home::new(name);
    home.set("KAFKA__DELIVERY", "transactional");
    home
}

#[test]
fn kills_in_the_middle_of_transactions_lose_nothing_and_repeat_nothing() {
    let cycles = size("TRANSACTIONAL_KILLS", 12, 300);
    let home = transactional("transactions");
    let mut bridge = home.start();
    let load = Load::start(home.port, 16, 64, u64::MAX);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..cycles {
        // The moment is what is varied, not what is waited for.
        std::thread::sleep(Duration::from_millis(random.u64(20..1500)));
        bridge.kill();
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let unacknowledged = ledger.judge(&consumed);
    report(
        "transactional kill",
        &format!(
            "{cycles} kills, {} acknowledged, {} in Kafka, {unacknowledged} of them not acknowledged",
            ledger.count(),
            consumed.len()
        ),
    );
    assert!(ledger.count() > 1000, "only {} were acknowledged", ledger.count());
}

#[test]
fn a_second_bridge_of_the_same_spool_id_fences_off_the_first() {
    let first = transactional("fenced");
    let before = schemas::add_before_command(&first.schemas());
    let mut second = transactional("fencing");
    second.set("KAFKA__TOPIC_PREFIX", first.prefix.clone());
    let zombie = first.start();
    let ledger = Load::start(first.port, 4, 8, 20).finish();
    zombie.settle();
    let successor = second.start();
    eventually("the successor to publish", || {
        (successor.metric(&["imbridge_kafka_connected "]) == 1.0).then_some(())
    });

    post(&zombie, "Group.CallbackAfterCreateGroup", 200);
    let (_, words) = eventually("the first bridge to see that it is replaced", || {
        zombie.admin("/readyz").filter(|(status, _)| *status == 503)
    });
    assert!(words.contains("another bridge publishes for this spool id"), "{words}");
    assert_eq!(zombie.metric(&["imbridge_producer_rebuilds_total", "replaced"]), 1.0);
    post(&zombie, "Group.CallbackAfterCreateGroup", 503);
    post(&zombie, before, 200);

    let more = Load::start(second.port, 4, 8, 40).finish();
    successor.settle();
    assert_eq!(successor.metric(&["imbridge_producer_rebuilds_total"]), 0.0);
    let consumed = consume(&kafka::shared(), &first.prefix, &first.schemas());
    let events = |bridge: &Home| {
        let spool = format!("imbridge-0.{}", incarnation(bridge));
        // Checkpoints have no such header.
        let of_it = |message: &&Consumed| message.headers.get("imbridge-spool") == Some(&spool);
        consumed.iter().filter(of_it).count()
    };
    assert_eq!((events(&first), events(&second)), (ledger.count(), more.count()));
    report(
        "fencing",
        "the first bridge stopped accepting and published nothing after it was replaced",
    );
}

/// The random part of a bridge's spool name.
fn incarnation(home: &Home) -> String {
    let log = std::fs::read_to_string(home.path().join("log")).expect("the bridge wrote a log");
    let name = log
        .split("spool=")
        .nth(1)
        .expect("it names its spool")
        .trim_start_matches('"');
    let name = name.split(['"', ' ', '\n']).next().expect("a name");
    name.rsplit_once('.').expect("id and incarnation").1.to_owned()
}

fn post(bridge: &Bridge, command: &str, expected: u16) {
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
    let answer = bridge
        .connect()
        .post(&target, r#"{"GroupId":"g","Name":"1"}"#)
        .expect("an answer");
    assert_eq!(answer.status, expected, "{command}: {}", answer.body);
}

#[test]
fn a_bridge_that_slept_longer_than_its_transaction_goes_on_as_the_same() {
    let mut home = transactional("slept");
    home.set("KAFKA__STALL_TIMEOUT_S", "5");
    home.configure("[kafka.properties]\n\"transaction.timeout.ms\" = \"2000\"\n\"socket.timeout.ms\" = \"1500\"");
    let bridge = home.start();
    let load = Load::start(home.port, 8, 16, u64::MAX);
    for _ in 0..3 {
        // The length of the sleep is the case: the coordinator ends the transaction meanwhile, and fences off its producer.
        bridge.signal("STOP");
        std::thread::sleep(Duration::from_secs(5));
        bridge.signal("CONT");
        let before = bridge.metric(&["imbridge_messages_published_total"]);
        eventually("publishing to go on", || {
            (bridge.metric(&["imbridge_messages_published_total"]) > before + 100.0).then_some(())
        });
    }
    let ledger = load.stop();
    bridge.settle();
    let rebuilds = bridge.metric(&["imbridge_producer_rebuilds_total"]);
    assert!(rebuilds >= 1.0, "no sleep met a transaction:\n{}", bridge.log());
    assert!(bridge.terminate().success());
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    ledger.judge(&consumed);
    report(
        "slept",
        &format!("3 sleeps, {rebuilds} producers fenced off by the coordinator, none replaced"),
    );
    assert!(ledger.count() > 100, "only {} were acknowledged", ledger.count());
}

#[test]
fn the_way_of_delivery_changes_only_with_an_empty_spool() {
    let mut home = Home::with_brokers("change", "127.0.0.1:1");
    let shared = kafka::shared();
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    home.set("KAFKA__BROKERS", shared.clone());
    let bridge = home.start();
    Load::start(home.port, 1, 1, 5).finish();
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    let bridge = home.start();
    Load::start(home.port, 1, 1, 5).finish();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", shared);
    home.set("KAFKA__DELIVERY", "transactional");
    let output = home.command("serve").output().expect("the program was built");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && words.contains("5 undelivered records") && words.contains("idempotent"),
        "{words}"
    );
    home.set("KAFKA__DELIVERY", "idempotent");
    let bridge = home.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__DELIVERY", "transactional");
    assert!(home.start().terminate().success());
}
