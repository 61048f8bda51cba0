//! SIGTERM: no new callbacks are accepted, requests in progress are answered, the spool is delivered, and the exit code
//! is 0.

use std::time::{Duration, Instant};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::eventually;
use crate::support::kafka::{self, Kafka};
use crate::support::oracle::{Ledger, Plan};
use crate::support::reader::consume;

#[test]
fn sigterm_under_load_drains_and_exits_with_zero() {
    for answer_after in ["disk", "kafka"] {
        let mut home = Home::new("drain");
        home.set("SERVER__ANSWER_AFTER", answer_after);
        let bridge = home.start();
        let load = Plan::new(&home).start();
        eventually("some load", || {
            (bridge.metric(&["imbridge_requests_total"]) > 500.0).then_some(())
        });
        let status = bridge.terminate();
        let ledger = load.stop();
        assert!(status.success(), "{answer_after}: {status}");
        // Read before another start could deliver anything: the drain itself has delivered everything.
        let verdict = ledger.judge(&kafka::shared(), &home);
        verdict.assert_kept();
        assert_eq!(
            verdict.unacknowledged_yet_present, 0,
            "{answer_after}: whatever was accepted was answered"
        );
        assert!(ledger.acknowledged >= 500);
    }
}

#[test]
fn a_load_balancer_has_time_to_leave_while_callbacks_are_taken() {
    let mut home = Home::new("leave");
    home.set("SHUTDOWN__LEAVE_S", "3");
    let bridge = home.start();
    let mut public = bridge.connect();
    let asked = Instant::now();
    bridge.signal("TERM");
    eventually("both ports to report the shutdown", || {
        let healthz = public.request("GET", "/healthz", &[], b"").expect("an answer");
        let (status, body) = bridge.admin("/readyz").expect("an answer");
        let is_draining = healthz.body.contains("draining") && body.contains("draining");
        is_draining.then(|| assert_eq!((healthz.status, status), (503, 503)))
    });
    let answer = bridge.post("Group.CallbackAfterCreateGroup", r#"{"GroupId":"g"}"#);
    assert_eq!(answer.status, 200, "over a new connection, too");
    assert!(bridge.ended().success());
    let took = asked.elapsed();
    assert!(
        took > Duration::from_secs(3) && took < Duration::from_secs(3 + 5),
        "{took:?}"
    );
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), 1);
}

#[test]
fn records_that_are_not_delivered_in_time_stay_for_the_next_start() {
    let mut home = Home::with_brokers("stay", "127.0.0.1:1");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "1");
    let bridge = home.start();
    let ledger = Plan::new(&home).with("groups", 8).with("each", 10).start().finish();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    bridge.settle();
    let verdict = ledger.judge(&kafka::shared(), &home);
    verdict.assert_kept();
    assert_eq!((verdict.found, verdict.unacknowledged_yet_present), (80, 0));
}

/// Loads a bridge, stops its broker by SIGSTOP under load, and lets callbacks accumulate.
fn pause_under_load(home: &Home, kafka: &Kafka) -> (Bridge, Ledger) {
    let bridge = home.start();
    let load = Plan::new(home).start();
    eventually("messages on their way", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 300.0).then_some(())
    });
    kafka.node("pause", 1);
    eventually("records that wait", || {
        (bridge.metric(&["imbridge_spool_records "]) > 300.0).then_some(())
    });
    (bridge, load.stop())
}

#[test]
fn sigterm_ends_the_process_in_time_with_a_broker_that_hangs_and_a_request_that_does_not_end() {
    let kafka = Kafka::start("hangs");
    for delivery in ["idempotent", "transactional"] {
        let mut home = Home::with_brokers(delivery, &kafka.brokers);
        home.set("KAFKA__DELIVERY", delivery);
        home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "2");
        let (bridge, ledger) = pause_under_load(&home, &kafka);
        let mut slow = bridge.connect();
        slow.half_send(&format!("/tencent?SdkAppid={APP}&CallbackCommand=A"), 1000, b"{");
        let asked = Instant::now();
        let status = bridge.terminate();
        let took = asked.elapsed();
        assert!(status.success(), "{delivery}: {status}");
        assert!(took < Duration::from_secs(2 + 5), "{delivery}: {took:?}");

        kafka.node("resume", 1);
        let bridge = home.start();
        bridge.settle();
        let verdict = ledger.judge(&kafka.brokers, &home);
        verdict.assert_kept();
    }
}

#[test]
fn a_second_sigterm_ends_the_process_at_once() {
    let kafka = Kafka::start("twice");
    let mut home = Home::with_brokers("twice", &kafka.brokers);
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "600");
    let (bridge, _) = pause_under_load(&home, &kafka);
    bridge.signal("TERM");
    eventually("the first signal to be handled", || {
        bridge.log().contains("shutting down").then_some(())
    });
    let asked = Instant::now();
    let status = bridge.terminate();
    assert_eq!(status.code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}
