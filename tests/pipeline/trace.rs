//! The caller's W3C trace context, from the request to the headers in Kafka, as an independent reader sees them. Also
//! the spans that a collector of the test receives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{APP, Home};
use crate::support::reader::consume;
use crate::support::{eventually, kafka};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The group, the target, the body and the headers of a request.
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
    // A dead letter has the context too.
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
        let is_letter = message.topic.ends_with("dead-letter");
        let key = message.key.as_deref().filter(|_| !is_letter).unwrap_or("dead letter");
        let found = ["traceparent", "tracestate"].map(|name| message.headers.get(name).map(String::as_str));
        let expected = match key {
            "both" => [Some(PARENT), Some("a=b,c=d")],
            "unknown" | "openim" | "long" | "dead letter" => [Some(PARENT), None],
            _ => [None, None],
        };
        assert_eq!(found, expected, "{key} in {}", message.topic);
    }
}

/// Accepts requests as a collector does, and passes on their bodies.
fn collector() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (bodies, taken) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bodies = bodies.clone();
            std::thread::spawn(move || collect(stream, &bodies));
        }
    });
    (address, taken)
}

fn collect(stream: TcpStream, bodies: &Sender<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (reader.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let head = head.to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1)?.lines().next()?;
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        bodies.send(serde_json::from_slice(&body).expect("JSON")).ok()?;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        reader.get_mut().write_all(answer).ok()?;
    }
}

fn ns(span: &Value, key: &str) -> u128 {
    span[key].as_str().expect("a text").parse().expect("a number")
}

#[test]
fn a_sampled_request_becomes_a_span_of_receiving_and_one_of_publishing() {
    let (address, bodies) = collector();
    let mut home = Home::new("spans");
    home.set("LOG__OTLP_ENDPOINT", address);
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let unsampled = PARENT.replace("-01", "-00");
    let cases: [&[(&str, &str)]; 3] = [
        &[],
        &[("traceparent", &unsampled)],
        &[("traceparent", PARENT), ("tracestate", "a=b")],
    ];
    for headers in cases {
        let answer = bridge
            .connect()
            .request("POST", &target, headers, br#"{"GroupId":"g"}"#);
        assert_eq!(answer.expect("an answer").status, 200);
    }
    bridge.settle();
    let mut spans: Vec<Value> = Vec::new();
    while spans.len() < 2 {
        let body = bodies.recv_timeout(Duration::from_secs(30)).expect("spans within 30 s");
        let scope = &body["resourceSpans"][0]["scopeSpans"][0];
        spans.extend(scope["spans"].as_array().expect("a list").clone());
    }
    spans.sort_by_key(|span| span["name"].to_string());
    let (publish, receive) = (&spans[0], &spans[1]);
    assert_eq!(
        (&publish["name"], &receive["name"]),
        (&"publish".into(), &"receive".into())
    );
    for span in &spans {
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(span["traceState"], "a=b");
        assert_eq!(span["spanId"].as_str().map(str::len), Some(16), "{span}");
        assert!(ns(span, "startTimeUnixNano") <= ns(span, "endTimeUnixNano"), "{span}");
    }
    assert_ne!(publish["spanId"], receive["spanId"]);
    assert!(ns(receive, "startTimeUnixNano") < ns(publish, "endTimeUnixNano"));
    assert!(publish["attributes"].to_string().contains(&home.prefix), "{publish}");
    assert!(bridge.terminate().success());
    assert!(bodies.try_recv().is_err(), "a request that is not sampled has no span");
}

#[test]
fn an_unavailable_collector_costs_spans_and_nothing_else() {
    let mut home = Home::new("no-collector");
    home.set("LOG__OTLP_ENDPOINT", "http://127.0.0.1:1");
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    for number in 0..100 {
        let body = format!(r#"{{"GroupId":"g","Name":"{number}"}}"#);
        let headers = [("traceparent", PARENT)];
        let answer = bridge.connect().request("POST", &target, &headers, body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    bridge.settle();
    eventually("every span to be given up", || {
        (bridge.metric(&["imbridge_spans_dropped_total", "export"]) == 200.0).then_some(())
    });
    assert_eq!(bridge.metric(&["imbridge_spans_exported_total "]), 0.0);
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), 100);
    assert!(bridge.terminate().success());
}
