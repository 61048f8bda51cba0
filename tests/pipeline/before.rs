//! A before-callback is allowed within its deadline, whatever is broken. An after-callback is then not acknowledged.

use std::time::{Duration, Instant};

use crate::support::bridge::{APP, Home};
use crate::support::schemas;

const ALLOW: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

fn target(command: &str) -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json")
}

#[test]
fn with_a_full_spool_before_callbacks_are_allowed_and_after_callbacks_refused_for_a_retry() {
    let mut home = Home::with_brokers("full", "127.0.0.1:1");
    home.set("SPOOL__MAX_BYTES", (1 << 20).to_string());
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    let mut connection = bridge.connect();
    let after = target("Group.CallbackAfterCreateGroup");
    let big = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "x".repeat(100_000));
    let refused = (0..40).find_map(|_| connection.post(&after, &big).filter(|answer| answer.status != 200));
    let refused = refused.expect("a spool of 1 MiB does not take 4 MB");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(
        refused.body.starts_with(r#"{"ActionStatus":"FAIL","ErrorCode":503,"#),
        "{}",
        refused.body
    );

    let started = Instant::now();
    let allowed = connection
        .post(&target(before), r#"{"GroupId":"g"}"#)
        .expect("an answer");
    assert_eq!((allowed.status, allowed.body.as_str()), (200, ALLOW));
    assert!(started.elapsed() < Duration::from_millis(500));
    assert_eq!(
        bridge.metric(&["imbridge_failed_open_total", "Group.CallbackBeforeTest", "spool_full"]),
        1.0
    );

    let (status, body) = bridge.admin("/readyz").expect("the admin port answers");
    assert_eq!(status, 503);
    assert!(body.contains("spool_full") && body.contains("1048576"), "{body}");
    let gauges = [
        "imbridge_ready ",
        "imbridge_spool_room_bytes ",
        "imbridge_spool_max_bytes ",
    ];
    assert_eq!(gauges.map(|name| bridge.metric(&[name])), [0.0, 0.0, 1_048_576.0]);
    assert_eq!(bridge.admin("/livez").expect("the admin port answers").0, 200);
    assert!(bridge.terminate().success());
}

#[test]
fn a_before_callback_is_spooled_like_any_other() {
    let home = Home::new("before");
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    let allowed = bridge
        .connect()
        .post(&target(before), r#"{"GroupId":"g","Name":"n"}"#)
        .expect("an answer");
    assert_eq!((allowed.status, allowed.body.as_str()), (200, ALLOW));
    bridge.settle();
    let consumed = crate::support::reader::consume(&crate::support::kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(consumed.len(), 1);
    assert_eq!(consumed[0].value.as_ref().expect("a record")["Name"], "n");
}

#[test]
fn a_before_callback_whose_body_does_not_arrive_is_allowed_within_its_deadline() {
    let home = Home::new("slow");
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    let mut connection = bridge.connect();
    let started = Instant::now();
    let answer = connection
        .half_request(&target(before), 1000, b"{\"GroupId\":")
        .expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, ALLOW));
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(bridge.metric(&["imbridge_failed_open_total", "body_too_slow"]), 1.0);
}
