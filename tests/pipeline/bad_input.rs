//! Bad input: each kind gets its status, an error message in the provider's shape, a metric, and a log line without
//! secrets.

use crate::support::bridge::{APP, Home};
use crate::support::kafka;
use crate::support::reader::consume;

const SIGN: &str = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";

#[test]
fn each_kind_of_bad_request_is_refused_with_its_own_error_message() {
    let mut home = Home::new("bad");
    home.configure("[[tencent]]\nsdk_app_id = 1400000001\ntoken = \"env:TEST_TOKEN\"\n\n[[openim]]\nname = \"hidden\"\nsecret = \"env:TEST_SECRET\"\n\n[server]\nmax_body_bytes = 2048\n");
    // Without an open instance, only the secret path leads to OpenIM.
    let text = std::fs::read_to_string(home.config())
        .unwrap()
        .replace("[[openim]]\nname = \"main\"\n", "");
    std::fs::write(home.config(), text).unwrap();
    home.environment("TEST_TOKEN", "planted-token");
    home.environment("TEST_SECRET", "planted-secret");
    let bridge = home.start();
    let app = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let signed = |sign: &str, time: &str| {
        format!("/tencent?SdkAppid=1400000001&CallbackCommand=A&Sign={sign}&RequestTime={time}")
    };
    let long = format!(r#"{{"GroupId":"{}"}}"#, "x".repeat(3000));
    let cases: [(&str, &str, &str, u16, &str); 11] = [
        ("POST", "/tencent?CallbackCommand=A", "{}", 403, "app"),
        ("POST", "/tencent?SdkAppid=7&CallbackCommand=A", "{}", 403, "app"),
        ("POST", &signed(SIGN, "9999999999"), "{}", 403, "stale"),
        (
            "POST",
            "/tencent?SdkAppid=1400000001&CallbackCommand=A",
            "{}",
            403,
            "signature",
        ),
        ("POST", "/openim/planted-wrong/callbackX", "{}", 404, "secret"),
        ("POST", "/openim/callbackX", "{}", 404, "secret"),
        (
            "POST",
            &app,
            "{\"GroupId\": // not JSON\n\"planted-body\"",
            400,
            "not_json",
        ),
        (
            "POST",
            &format!("/tencent?SdkAppid={APP}"),
            "{\"a\":1}",
            400,
            "no_command",
        ),
        ("POST", &app, &long, 413, "body_too_large"),
        ("GET", &app, "", 405, "method"),
        ("POST", "/elsewhere", "{}", 404, "path"),
    ];
    for (method, target, body, status, reason) in cases {
        let mut connection = bridge.connect();
        let answer = connection
            .request(method, target, &[], body.as_bytes())
            .unwrap_or_else(|| panic!("no answer for {reason}"));
        assert_eq!(answer.status, status, "{target}: {}", answer.body);
        let shape = match target.split(['/', '?']).nth(1) {
            Some("tencent") => r#"{"ActionStatus":"FAIL","ErrorCode":"#,
            Some("openim") => r#"{"actionCode":1,"errCode":"#,
            _ => r#"{"error":"#,
        };
        assert!(answer.body.starts_with(shape), "{}", answer.body);
        assert!(answer.body.len() > 80, "has an error message: {}", answer.body);
        let reason_label = format!("reason=\"{reason}\"");
        assert!(
            bridge.metric(&["imbridge_requests_refused_total", &reason_label]) >= 1.0,
            "{reason}"
        );
        bridge.logged(&reason_label);
    }
    let good = bridge
        .connect()
        .post("/openim/planted-secret/callbackX", "{}")
        .expect("an answer");
    assert_eq!(good.status, 200);
    bridge.settle();
    let (_, metrics) = bridge.admin("/metrics").expect("the admin port answers");
    for secret in ["planted-token", "planted-secret", "planted-wrong", "planted-body", SIGN] {
        assert!(!bridge.log().contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
    let dead: Vec<_> = consume(&kafka::shared(), &home.prefix, &home.schemas())
        .into_iter()
        .filter(|message| message.topic.ends_with(".dead-letter"))
        .collect();
    assert_eq!(
        dead.len(),
        2,
        "the two unreadable bodies of verified senders, and no other: {dead:#?}"
    );
    assert_eq!(
        dead[0].raw().len() + dead[1].raw().len(),
        "{\"GroupId\": // not JSON\n\"planted-body\"".len() + "{\"a\":1}".len()
    );
    assert!(
        dead.iter()
            .all(|message| message.header("imbridge-reason") == "not_json")
    );
}

#[test]
fn what_cannot_be_encoded_is_acknowledged_and_dead_lettered_with_its_bytes() {
    let home = Home::new("dead");
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let deep = format!("{{\"GroupId\":\"g\",\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let bodies = [
        b"[1,2]".to_vec(),
        deep.into_bytes(),
        b"{\"Name\":\"\xff\",\"GroupId\":\"g\"}".to_vec(),
        b"{\"Name\":\"n\",\"GroupId\":\"g\xff\"}".to_vec(),
    ];
    for body in &bodies {
        assert_eq!(bridge.connect().post(&target, body).expect("an answer").status, 200);
    }
    bridge.settle();
    let dead = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(dead.len(), bodies.len());
    let app = APP.to_string();
    for (body, key) in bodies.iter().zip([&app, "g", "g", &app]) {
        let message = dead
            .iter()
            .find(|message| message.raw() == *body)
            .expect("the raw bytes are kept");
        assert!(message.topic.ends_with(".dead-letter"));
        assert_eq!(message.key.as_deref(), Some(key), "the group's where it can be read");
        assert_eq!(message.header("imbridge-command"), "Group.CallbackAfterCreateGroup");
        assert!(!message.header("imbridge-error").is_empty());
    }
    let reasons: std::collections::BTreeSet<_> = dead.iter().map(|message| message.header("imbridge-reason")).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
fn half_of_a_surrogate_pair_is_an_event_in_its_group() {
    let home = Home::new("half");
    let bridge = home.start();
    let known = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let unknown = "/openim/callbackOfTomorrow".to_owned();
    let body = r#"{"GroupId":"g","groupID":"g","Name":"a\ud83d","Owner_Account":"o"}"#;
    let half_name = r#"{"GroupId":"h","\ud83d":1}"#;
    for target in [&known, &unknown] {
        assert_eq!(bridge.connect().post(target, body).expect("an answer").status, 200);
    }
    assert_eq!(bridge.connect().post(&known, half_name).expect("an answer").status, 200);
    bridge.settle();
    let mut consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let other = consumed.iter().position(|message| message.key.as_deref() == Some("h"));
    let other = consumed.remove(other.expect("an event too"));
    assert_eq!(other.value.expect("a record")["unmapped"]["\u{fffd}"], "1");
    let topic = |end: &str| {
        let found = consumed.iter().find(|message| message.topic.ends_with(end));
        let found = found.unwrap_or_else(|| panic!("{end}: {consumed:#?}"));
        assert_eq!(found.key.as_deref(), Some("g"));
        found
    };
    let event = topic(".Group.CallbackAfterCreateGroup")
        .value
        .as_ref()
        .expect("a record");
    assert_eq!(
        (&event["Owner_Account"], &event["Name"]),
        (&"o".into(), &serde_json::Value::Null)
    );
    assert_eq!(event["unmapped"]["Name"], r#""a\ud83d""#);
    assert_eq!(topic(".openim.unknown").raw(), body.as_bytes());
    assert_eq!(consumed.len(), 2);
}

#[test]
fn a_key_of_any_length_does_not_stop_what_comes_after_it() {
    let home = Home::new("longkey");
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    let long = format!(r#"{{"GroupId":"{}"}}"#, "g".repeat(7_000_000));
    assert_eq!(bridge.connect().post(&target, &long).expect("an answer").status, 200);
    assert_eq!(
        bridge
            .connect()
            .post(
                "/openim/",
                format!(r#"{{"callbackCommand":"{}"}}"#, "c".repeat(4_000_000))
            )
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(
        bridge
            .connect()
            .post(&target, r#"{"GroupId":"after"}"#)
            .expect("an answer")
            .status,
        200
    );
    bridge.settle();
    assert_eq!(bridge.metric(&["imbridge_producer_rebuilds_total"]), 0.0);
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let (dead, live): (Vec<_>, Vec<_>) = consumed
        .iter()
        .partition(|message| message.topic.ends_with(".dead-letter"));
    assert_eq!((live.len(), live[0].key.as_deref()), (1, Some("after")));
    let bytes: usize = dead.iter().map(|message| message.raw().len()).sum();
    assert_eq!(bytes, long.len() + r#"{"callbackCommand":""}"#.len() + 4_000_000);
}
