//! Commands whose answer OpenIM copies over its user's request, whatever the status is: each answer has the request's
//! fields, if they are known.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::Answer;
use crate::support::{eventually, kafka, reader, schemas};

const OLDER: &str = "callbackBeforeSetGroupInfoCommand";
const NEWER: &str = "callbackBeforeSetGroupInfoExCommand";
const AFTER: &str = "callbackAfterTransferGroupOwnerCommand";
const FIELDS: [&str; 4] = ["groupID", "groupName", "faceURL", "introduction"];

/// A callback as OpenIM posts it, with an introduction of this many bytes.
fn body(command: &str, introduction: usize) -> String {
    let introduction = "i".repeat(introduction);
    format!(
        r#"{{"callbackCommand":"{command}","operationID":"","groupID":"g1","groupName":"n","notification":"","introduction":"{introduction}","faceURL":"http://f/?a=1\u0026b=2","ex":"e","needVerification":2,"lookMemberInfo":0,"applyMemberFriend":null}}"#
    )
}

/// Fails unless the answer has the fields that OpenIM takes from it, as they were sent.
#[track_caller]
fn assert_echoed(answer: &Answer, status: u16, sent: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let [answer, sent] = [&answer.body, sent].map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    for field in FIELDS {
        assert_eq!(answer[field], sent[field], "{field}: {answer}");
    }
}

fn home(name: &str) -> Home {
    let mut home = Home::with_brokers(name, "127.0.0.1:1");
    schemas::copy(
        &[OLDER, NEWER].map(|command| format!("openim/{command}")),
        &home.schemas(),
    );
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    home
}

fn post(bridge: &Bridge, target: &str, body: &str) -> Answer {
    bridge.connect().post(target, body).expect("an answer")
}

#[test]
fn a_refusal_of_every_kind_has_the_fields_and_an_error_message() {
    let mut home = home("refused");
    home.set("SERVER__MAX_HEAD_BYTES", "2048");
    home.environment("TEST_SECRET", "planted-secret");
    home.environment("TEST_PATH", "planted-path");
    home.environment("TEST_BASIC", "user:pass");
    let config = std::fs::read_to_string(home.config()).expect("it was written");
    let instance = |name: &str, more: &str| format!("[[openim]]\nname = \"{name}\"\n{more}\n\n");
    let instances = [
        instance("main", "secret = \"env:TEST_SECRET\""),
        instance("basic", "secret = \"env:TEST_PATH\"\nbasic_auth = \"env:TEST_BASIC\""),
        instance("far", "secret = \"file:far\"\nallow = [\"192.0.2.1\"]"),
    ];
    let far = home.path().join("far");
    std::fs::write(&far, "far").expect("a temporary folder is writable");
    let instances = instances
        .concat()
        .replace("file:far", &format!("file:{}", far.display()));
    std::fs::write(
        home.config(),
        config.replace("[[openim]]\nname = \"main\"\n", &instances),
    )
    .expect("writable");
    let bridge = home.start();
    for command in [OLDER, NEWER] {
        let sent = body(command, 10);
        let long = format!("/openim/planted-secret/{command}?x={}", "x".repeat(3000));
        for (target, status, reason) in [
            (format!("/openim/wrong/{command}"), 404, "secret"),
            (format!("/openim/{command}"), 404, "secret"),
            (format!("/openim/a/b/c/{command}"), 404, "secret"),
            (format!("/elsewhere/{command}"), 404, "path"),
            (format!("/openim/planted-path/{command}"), 401, "authorization"),
            (format!("/openim/far/{command}"), 403, "address"),
            (long, 431, "head_too_large"),
        ] {
            let before = bridge.metric(&["imbridge_requests_refused_total", reason]);
            let answer = post(&bridge, &target, &sent);
            assert_echoed(&answer, status, &sent);
            let body: Value = serde_json::from_str(&answer.body).expect("JSON");
            let sentence = body["errDlt"].as_str().or(body["message"].as_str());
            assert!(sentence.is_some_and(|sentence| sentence.len() > 20), "{body}");
            assert_eq!(
                bridge.metric(&["imbridge_requests_refused_total", reason]),
                before + 1.0
            );
        }
    }
    let other = post(&bridge, "/openim/wrong/callbackX", &body(OLDER, 10));
    assert!(
        !other.body.contains("groupID"),
        "no other refusal reads a body: {}",
        other.body
    );
}

#[test]
fn an_answer_has_the_fields_while_others_are_refused() {
    let mut home = home("hindered");
    home.set("SERVER__WORKERS", "1");
    home.set("SERVER__MAX_BODY_BYTES", "8192");
    home.set("SERVER__MAX_HELD_BYTES", "8192");
    home.set("SPOOL__MAX_BYTES", (1 << 20).to_string());
    let bridge = home.start();
    let target = format!("/openim/{OLDER}");
    let (small, large) = (body(OLDER, 10), body(OLDER, 60_000));

    // The memory for bodies is used up.
    let mut holder = bridge.connect();
    holder.half_send(&format!("/openim/{AFTER}"), 8192, &[b' '; 8100]);
    eventually("the memory to be taken", || {
        (bridge.metric(&["imbridge_held_bytes"]) >= 8100.0).then_some(())
    });
    assert_echoed(&post(&bridge, &target, &large), 200, &large);
    assert_eq!(post(&bridge, &format!("/openim/{AFTER}"), &small).status, 503);

    // Unknown senders use up their share, and no more.
    let mut strangers: Vec<_> = (0..40).map(|_| bridge.connect()).collect();
    for stranger in &mut strangers {
        stranger.half_send(
            &format!("/openim/wrong/x/{OLDER}"),
            large.len(),
            &large.as_bytes()[..50_000],
        );
    }
    assert_echoed(&post(&bridge, &target, &large), 200, &large);
    let held = bridge.metric(&["imbridge_held_bytes"]);
    assert!(held < f64::from(2 << 20), "{held}");
    assert!(
        strangers
            .iter_mut()
            .all(|stranger| stranger.send(b"").is_some_and(|answer| answer.status == 404))
    );
    drop(holder);

    // The spool is full.
    let refused = (0..400).any(|_| post(&bridge, &format!("/openim/{AFTER}"), &body(AFTER, 7000)).status == 503);
    assert!(refused, "1 MiB does not take 2.8 MB");
    assert_echoed(&post(&bridge, &target, &small), 200, &small);
    assert!(bridge.metric(&["imbridge_failed_open_total", OLDER, "spool_full"]) >= 1.0);
}

#[test]
fn a_sender_over_its_rate_gets_the_fields() {
    let home = home("rate");
    let config = std::fs::read_to_string(home.config()).expect("it was written");
    let config = config.replace("name = \"main\"", "name = \"main\"\nrate_per_s = 1");
    std::fs::write(home.config(), config).expect("a temporary folder is writable");
    let bridge = home.start();
    let sent = body(NEWER, 10);
    for _ in 0..5 {
        assert_echoed(&post(&bridge, &format!("/openim/{NEWER}"), &sent), 200, &sent);
    }
    assert!(bridge.metric(&["imbridge_failed_open_total", NEWER, "rate_limited"]) >= 1.0);
}

#[test]
fn a_slow_body_is_waited_for_as_long_as_openim_waits_and_kept() {
    let mut home = Home::new("slowecho");
    schemas::copy(&[OLDER].map(|command| format!("openim/{command}")), &home.schemas());
    home.set("SERVER__BEFORE_DEADLINE_MS", "300");
    let bridge = home.start();
    let (target, sent) = (format!("/openim/{OLDER}"), body(OLDER, 10));
    let [mut slow, mut refused] = [target.clone(), format!("/openim/wrong/x/{OLDER}")].map(|target| {
        let mut connection = bridge.connect();
        connection.half_send(&target, sent.len(), &sent.as_bytes()[..20]);
        connection
    });
    assert!(
        slow.is_silent_for(Duration::from_millis(1500)),
        "it is not answered without the fields"
    );
    assert_echoed(&slow.send(&sent.as_bytes()[20..]).expect("an answer"), 200, &sent);
    assert_echoed(&refused.send(&sent.as_bytes()[20..]).expect("an answer"), 404, &sent);

    let started = Instant::now();
    let answer = bridge
        .connect()
        .half_request(&target, sent.len(), b"{")
        .expect("an answer");
    let waited = started.elapsed();
    assert!(
        answer.status == 200 && answer.body.contains(r#""nextCode":0"#),
        "{}",
        answer.body
    );
    assert!(
        (Duration::from_millis(4400)..Duration::from_secs(5)).contains(&waited),
        "{waited:?}"
    );
    assert_eq!(
        bridge.metric(&["imbridge_failed_open_total", OLDER, "body_too_slow"]),
        1.0
    );
    bridge.settle();
    let kept = reader::consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(kept[0].value.as_ref().expect("a record")["groupName"], "n");
}
