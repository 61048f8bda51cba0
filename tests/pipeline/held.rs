//! Answers that wait until Kafka has the events of their callbacks, and those that do not wait, during an outage of
//! Kafka.

use std::time::{Duration, Instant};

use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, schemas};

const AFTER: &str = "Group.CallbackAfterCreateGroup";
/// The value in the configuration.
const HOLD: Duration = Duration::from_millis(600);

fn home(name: &str, brokers: &str) -> Home {
    let mut home = Home::with_brokers(name, brokers);
    home.set("SERVER__ANSWER_AFTER", "kafka");
    home.set("SERVER__ANSWER_HOLD_MS", HOLD.as_millis().to_string());
    home
}

/// Posts one numbered event; returns the time until its success answer.
fn post(bridge: &Bridge, number: usize) -> Duration {
    let began = Instant::now();
    let answer = bridge.post(AFTER, &format!(r#"{{"GroupId":"g","Name":"{number}"}}"#));
    assert_eq!(answer.status, 200, "{}", answer.body);
    began.elapsed()
}

fn consumed(home: &Home, brokers: &str) -> Vec<Consumed> {
    let mut messages = consume(brokers, &home.prefix, &home.schemas());
    messages.retain(|message| message.topic.ends_with(AFTER));
    messages.sort_by_key(number_of);
    messages
}

fn number_of(message: &Consumed) -> usize {
    let value = message.value.as_ref().expect("its schema is known");
    value["Name"].as_str().expect("a text").parse().expect("a number")
}

fn is_marked(message: &Consumed) -> bool {
    message.headers.contains_key("imbridge-late")
}

#[test]
fn an_answered_callback_is_in_kafka() {
    let brokers = crate::support::kafka::shared();
    let home = home("held", &brokers);
    let bridge = home.start();
    // Kafka creates the topic for the first event, which may take longer than an answer waits.
    post(&bridge, 0);
    bridge.settle();
    breaker(&bridge, 0.0);
    let held = bridge.metric(&["imbridge_answers_held_seconds_count"]);
    let early = bridge.metric(&["imbridge_answered_early_total"]);
    for number in 1..20 {
        post(&bridge, number);
        // The last event. On a busy machine the breaker may be open.
        if bridge.metric(&["imbridge_answered_early_total"]) == early && number % 5 == 0 {
            let last = consumed(&home, &brokers).pop().expect("something");
            assert_eq!((number_of(&last), is_marked(&last)), (number, false));
        }
    }
    assert_eq!(bridge.metric(&["imbridge_answers_held_seconds_count"]), held + 19.0);
    let all = consumed(&home, &brokers);
    assert_eq!(
        all.iter().map(number_of).collect::<Vec<_>>(),
        (0..20).collect::<Vec<_>>()
    );
    assert!(bridge.terminate().success());
}

fn breaker(bridge: &Bridge, wanted: f64) {
    eventually("the breaker", || {
        (bridge.metric(&["imbridge_answer_breaker_open "]) == wanted).then_some(())
    });
}

#[test]
fn during_an_outage_of_kafka_one_answer_waits_and_the_other_events_are_marked() {
    let _alone = one_cluster_at_a_time();
    for delivery in ["idempotent", "transactional"] {
        let mut kafka = Kafka::create(&format!("held-{delivery}"), 1, &[]);
        let mut home = home(delivery, &kafka.brokers);
        home.set("KAFKA__DELIVERY", delivery);
        let before = schemas::add_before_command(&home.schemas());
        let bridge = home.start();
        post(&bridge, 0);
        bridge.settle();
        breaker(&bridge, 0.0);
        let early = || bridge.metric(&["imbridge_answered_early_total", "tencent"]);
        let early_before = early();
        kafka.kill();

        let began = Instant::now();
        let allowed = bridge.post(before, r#"{"GroupId":"g","Name":"0"}"#);
        assert_eq!(allowed.status, 200);
        assert!(began.elapsed() < HOLD, "a before-callback waits for no Kafka");
        let first = post(&bridge, 1);
        assert!(first >= HOLD && first < HOLD * 4, "{delivery}: {first:?}");
        breaker(&bridge, 1.0);
        let mut times: Vec<_> = (2..50).map(|number| post(&bridge, number)).collect();
        times.sort();
        assert!(times[times.len() / 2] < HOLD / 6, "{delivery}: {times:?}");
        assert_eq!(early() - early_before, 49.0);
        assert_eq!(bridge.admin("/readyz").expect("the admin port answers").0, 200);
        let status = bridge.admin("/status.json").expect("the admin port answers").1;
        assert!(status.contains(r#""breaker_open":true"#), "{status}");
        bridge.logged("an answer was not confirmed in time");

        kafka.up();
        bridge.settle();
        breaker(&bridge, 0.0);
        bridge.logged("answers wait for them");
        assert!(post(&bridge, 50) < HOLD);
        let all = consumed(&home, &kafka.brokers);
        assert_eq!(
            all.iter().map(number_of).collect::<Vec<_>>(),
            (0..51).collect::<Vec<_>>()
        );
        for message in &all {
            let waited_ms = message.timestamp - message.header("imbridge-received-at").parse::<i64>().expect("a time");
            match number_of(message) {
                // Its topic was created for it, which takes time.
                0 => {}
                50 => assert!(!is_marked(message), "{message:?}"),
                // It may have been sent before the outage was noticed. Then Kafka's own timestamp tells.
                1 => assert!(
                    is_marked(message) || waited_ms >= HOLD.as_millis() as i64,
                    "{message:?}"
                ),
                _ => assert!(is_marked(message), "{message:?}"),
            }
        }
        assert!(bridge.terminate().success());
    }
}

#[test]
fn a_bridge_that_reads_back_in_flight_messages_is_not_ready_but_answers() {
    let _alone = one_cluster_at_a_time();
    let mut kafka = Kafka::create("recovering", 1, &[]);
    let mut home = home("recovering", &kafka.brokers);
    home.set("KAFKA__SETTLE_MS", "5000");
    let bridge = home.start();
    post(&bridge, 0);
    bridge.settle();
    kafka.kill();
    post(&bridge, 1);
    bridge.kill();

    // An outage of Kafka does not make the bridge unready.
    let bridge = home.start();
    post(&bridge, 2);
    assert_eq!(bridge.admin("/readyz").expect("the admin port answers").0, 200);
    kafka.up();
    let unready = eventually("the bridge to look for it", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 503)
    });
    assert!(unready.1.contains(r#""reason":"recovering""#), "{}", unready.1);
    let health = bridge.connect().request("GET", "/", &[], b"").expect("an answer");
    assert_eq!(health.status, 503, "load balancers ask the public port");
    post(&bridge, 3);
    eventually("the bridge to be ready again", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    bridge.settle();
    let all = consumed(&home, &kafka.brokers);
    assert_eq!(all.iter().map(number_of).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(bridge.terminate().success());
}
