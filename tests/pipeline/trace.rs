//! The caller's W3C trace context, from the request to the headers in Kafka, as an independent reader sees them.

use crate::support::bridge::{APP, Home};
use crate::support::kafka;
use crate::support::reader::consume;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The group, the target, the body, the headers.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

#[test]
fn a_trace_context_goes_through_the_spool_and_a_kill_into_the_headers() {
    let mut home = Home::with_brokers("trace", "127.0.0.1:1");
    let bridge = home.start();
    let known = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let unknown = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackNobodyKnows");
    let two_states = [("traceparent", PARENT), ("tracestate", "a=b"), ("tracestate", "c=d")];
    let long = format!("a={}", "b".repeat(511));
    let cases: [Case; 7] = [
        ("plain", &known, r#"{"GroupId":"plain"}"#, &[]),
        ("both", &known, r#"{"GroupId":"both"}"#, &two_states),
        (
            "unknown",
            &unknown,
            r#"{"GroupId":"unknown"}"#,
            &[("traceparent", PARENT)],
        ),
        (
            "openim",
            "/openim/callbackAfterTransferGroupOwnerCommand",
            r#"{"groupID":"openim"}"#,
            &[("Traceparent", PARENT)],
        ),
        (
            "broken",
            &known,
            r#"{"GroupId":"broken"}"#,
            &[("traceparent", "00-00-00-00"), ("tracestate", "a=b")],
        ),
        (
            "twice",
            &known,
            r#"{"GroupId":"twice"}"#,
            &[("traceparent", PARENT), ("traceparent", PARENT)],
        ),
        (
            "long",
            &known,
            r#"{"GroupId":"long"}"#,
            &[("traceparent", PARENT), ("tracestate", &long)],
        ),
    ];
    for (name, target, body, headers) in cases {
        let answer = bridge.connect().request("POST", target, headers, body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200, "{name}");
    }
    // A dead letter has it too.
    let answer = bridge
        .connect()
        .request("POST", &known, &[("traceparent", PARENT)], b"[1]");
    assert_eq!(answer.expect("an answer").status, 200);
    bridge.kill();

    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    bridge.settle();
    let messages = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(messages.len(), cases.len() + 1);
    for message in &messages {
        let key = message.key.as_deref().unwrap_or("dead letter");
        let found = ["traceparent", "tracestate"].map(|name| message.headers.get(name).map(String::as_str));
        let expected = match key {
            "both" => [Some(PARENT), Some("a=b,c=d")],
            "unknown" | "openim" | "long" | "dead letter" => [Some(PARENT), None],
            _ => [None, None],
        };
        assert_eq!(found, expected, "{key} in {}", message.topic);
    }
}
