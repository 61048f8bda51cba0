//! Transactional delivery: kills under load, a second bridge with the same spool id, and a bridge that was paused for
//! too long. A reader that reads committed messages only judges the result.

use std::time::Duration;

use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::oracle::{Plan, judge};
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
    let load = Plan::new(&home).start();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..cycles {
        // This sleep varies the moment of the kill. It waits for nothing.
        std::thread::sleep(Duration::from_millis(random.u64(20..1500)));
        bridge.kill();
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report("transactional kill", &format!("{cycles} kills, {}", verdict.summary()));
    verdict.assert_kept();
    assert!(
        verdict.acknowledged > 1000,
        "only {} were acknowledged",
        verdict.acknowledged
    );
}

#[test]
fn a_second_bridge_of_the_same_spool_id_fences_off_the_first() {
    let first = transactional("fenced");
    let before = schemas::add_before_command(&first.schemas());
    let mut second = transactional("fencing");
    second.set("KAFKA__TOPIC_PREFIX", first.prefix.clone());
    let zombie = first.start();
    let ledger = Plan::new(&first).with("groups", 8).with("each", 20).start().finish();
    zombie.settle();
    let successor = second.start();
    eventually("the successor to publish", || {
        (successor.metric(&["imbridge_kafka_connected "]) == 1.0).then_some(())
    });

    post(&zombie, "Group.CallbackAfterCreateGroup", 200);
    let (_, reason) = eventually("the first bridge to see that it is replaced", || {
        zombie.admin("/readyz").filter(|(status, _)| *status == 503)
    });
    assert!(
        reason.contains("another bridge publishes for this spool id"),
        "{reason}"
    );
    assert_eq!(zombie.metric(&["imbridge_producer_rebuilds_total", "replaced"]), 1.0);
    post(&zombie, "Group.CallbackAfterCreateGroup", 503);
    post(&zombie, before, 200);

    let more = Plan::new(&second).with("groups", 8).with("each", 40).start().finish();
    successor.settle();
    let rebuilds = successor.metric(&["imbridge_producer_rebuilds_total"]);
    assert_eq!(rebuilds, 0.0, "{}\n{}", zombie.log(), successor.log());
    let verdict = judge(&kafka::shared(), &first, &[&ledger.path, &more.path], "read_committed");
    report("fencing", &format!("the first bridge stopped; {}", verdict.summary()));
    verdict.assert_kept();
    assert_eq!(verdict.found, 8 * 20 + 8 * 40, "{verdict:#?}");
}

#[test]
fn bridges_of_one_spool_id_with_topics_of_their_own_leave_each_other_alone() {
    let homes = ["apart-a", "apart-b"].map(transactional);
    let bridges = homes.each_ref().map(Home::start);
    for (home, bridge) in homes.iter().zip(&bridges) {
        let ledger = Plan::new(home).with("groups", 8).with("each", 10).start().finish();
        bridge.settle();
        ledger.judge(&kafka::shared(), home).assert_kept();
        assert_eq!(ledger.acknowledged, 80);
    }
    for bridge in &bridges {
        let rebuilds = bridge.metric(&["imbridge_producer_rebuilds_total"]);
        assert_eq!(rebuilds, 0.0, "{}", bridge.log());
    }
}

fn post(bridge: &Bridge, command: &str, expected: u16) {
    let answer = bridge.post(command, r#"{"GroupId":"g","Name":"1"}"#);
    assert_eq!(answer.status, expected, "{command}: {}", answer.body);
}

#[test]
fn a_bridge_that_was_paused_longer_than_its_transaction_goes_on() {
    let mut home = transactional("paused");
    home.set("KAFKA__STALL_TIMEOUT_S", "5");
    home.configure("[kafka.properties]\n\"transaction.timeout.ms\" = \"2000\"\n\"socket.timeout.ms\" = \"1500\"");
    let bridge = home.start();
    let load = Plan::new(&home).with("groups", 16).start();
    let rebuilds = || bridge.metric(&["imbridge_producer_rebuilds_total"]);
    let mut pauses = 0;
    // A pause between two transactions ends none. So this is repeated until a pause has hit a transaction, 15 times at
    // most.
    while pauses < 3 || (rebuilds() == 0.0 && pauses < 15) {
        pauses += 1;
        // The sleep is the pause: meanwhile the coordinator ends the transaction and fences off its producer.
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
    let rebuilds = rebuilds();
    assert!(rebuilds >= 1.0, "no pause hit a transaction:\n{}", bridge.log());
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report(
        "paused",
        &format!(
            "{pauses} pauses, {rebuilds} producers fenced off by the coordinator, none replaced; {}",
            verdict.summary()
        ),
    );
    verdict.assert_kept();
    assert!(
        verdict.acknowledged > 100,
        "only {} were acknowledged",
        verdict.acknowledged
    );
}

#[test]
fn the_mode_of_delivery_changes_only_with_an_empty_spool() {
    let mut home = Home::with_brokers("change", "127.0.0.1:1");
    let shared = kafka::shared();
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    home.set("KAFKA__BROKERS", shared.clone());
    let bridge = home.start();
    post_five(&home);
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    let bridge = home.start();
    post_five(&home);
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", shared);
    home.set("KAFKA__DELIVERY", "transactional");
    let output = home.command("serve").output().expect("the program was built");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("5 undelivered records") && error.contains("idempotent"),
        "{error}"
    );
    home.set("KAFKA__DELIVERY", "idempotent");
    let bridge = home.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__DELIVERY", "transactional");
    assert!(home.start().terminate().success());
}

fn post_five(home: &Home) {
    let ledger = Plan::new(home).with("groups", 1).with("each", 5).start().finish();
    assert_eq!(ledger.acknowledged, 5);
}
