//! Both protocols from the outside: request lines and bodies in, callbacks and answers out.

mod refusals;

use std::sync::Arc;

use super::*;
use crate::callback::{Answer, Phase};
use crate::secret::Secrets;

const NOW_MS: i64 = 1_669_872_120_000;

fn providers() -> Providers {
    let mut commands = CommandTable::default();
    let rule = |phase, answer, expand: Option<&str>| CommandRule {
        phase,
        answer,
        expand: expand.map(str::to_owned),
    };
    commands.insert(
        Provider::Tencent,
        "Group.After",
        rule(Phase::After, Answer::Neutral, None),
    );
    commands.insert(
        Provider::Tencent,
        "Sns.Prev",
        rule(Phase::Before, Answer::ResultItem("FriendItem".into()), None),
    );
    commands.insert(
        Provider::Tencent,
        "Push.Batch",
        rule(Phase::After, Answer::Neutral, Some("Events")),
    );
    let echo = Answer::Echo(vec!["groupID".into(), "ex".into()]);
    commands.insert(Provider::OpenIm, "callbackBeforeSet", rule(Phase::Before, echo, None));
    let app = |sdk_app_id, token: Option<&str>| TencentConfig {
        sdk_app_id,
        token: token.map(|token| Secrets::of(&[token, "another"])),
        max_clock_skew_s: 60,
        allow: None,
        rate_per_s: None,
        burst: None,
    };
    let instance = |name: &str, secret: Option<&str>, basic: Option<&str>| OpenImConfig {
        name: name.into(),
        secret: secret.map(|secret| Secrets::of(&[secret])),
        basic_auth: basic.map(|basic| Secrets::of(&["old:one", basic])),
        signature: None,
        allow: (name == "near").then(|| Networks::try_from(vec!["10.0.0.0/8".to_owned()]).unwrap()),
        rate_per_s: None,
        burst: None,
    };
    Providers::new(
        &[app(1400000000, None), app(1400000001, Some("xxxxyyyy"))],
        &[
            instance("open", None, None),
            instance("hidden", Some("s3cret"), None),
            instance("basic", Some("b"), Some("user:pass")),
            instance("near", Some("n"), None),
        ],
        Arc::new(commands),
    )
}

fn verify(path: &str, query: &str) -> Result<Verified, Refusal> {
    verify_with(path, query, None)
}

fn verify_with(path: &str, query: &str, authorization: Option<&'static str>) -> Result<Verified, Refusal> {
    let header = |name: &str| match name {
        "authorization" => authorization,
        "operationid" => Some("op1"),
        _ => None,
    };
    let line = RequestLine {
        method: "POST",
        path,
        query,
        client: None,
        header: &header,
    };
    providers().verify(&line, NOW_MS)
}

fn read(path: &str, query: &str, body: &str) -> Result<Callback, Box<Unreadable>> {
    providers().read(
        verify(path, query).unwrap(),
        Bytes::copy_from_slice(body.as_bytes()),
        NOW_MS,
    )
}

fn refused(outcome: Result<Verified, Refusal>) -> (u16, &'static str) {
    outcome.map_err(|refusal| (refusal.status, refusal.reason)).unwrap_err()
}

#[test]
fn tencents_query_is_a_map_in_any_order() {
    let query = "ClientIP=127.0.0.1&CallbackCommand=Group.After&OptPlatform=iOS&RequestID=r%2D1&SdkAppid=1400000000&contenttype=json";
    let head = read("/tencent", query, "{}").unwrap().head;
    let expected = (
        "1400000000",
        Some("Group.After"),
        Some("127.0.0.1"),
        Some("iOS"),
        Some("r-1"),
    );
    let found = (
        head.app.as_str(),
        head.command.as_deref(),
        head.client_ip.as_deref(),
        head.platform.as_deref(),
        head.request_id.as_deref(),
    );
    assert_eq!(found, expected);
}

#[test]
fn an_app_that_is_not_ours_is_refused() {
    assert_eq!(
        refused(verify("/tencent", "SdkAppid=1&CallbackCommand=a")),
        (403, "app")
    );
    assert_eq!(refused(verify("/tencent", "CallbackCommand=a")), (403, "app"));
    assert_eq!(refused(verify("/tencent", "")), (403, "app"));
}

#[test]
fn a_signed_app_needs_the_documented_signature_within_the_window() {
    // The vector of Tencent's documents: token xxxxyyyy, time 1669872112.
    let sign = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";
    let query =
        |sign: &str, time: &str| format!("SdkAppid=1400000001&CallbackCommand=a&Sign={sign}&RequestTime={time}");
    assert!(verify("/tencent", &query(sign, "1669872112")).is_ok());
    assert!(verify("/tencent", &query(&sign.to_uppercase(), "1669872112")).is_ok());
    // The same over the second token, by `printf another1669872112 | sha256sum`.
    let other = "5fd64c0a979bdedafd64f1d4ae7a62d49f6d35b252304a523c7604fac1fff72a";
    assert!(verify("/tencent", &query(other, "1669872112")).is_ok());
    assert_eq!(
        refused(verify("/tencent", &query(&sign.replace('7', "8"), "1669872112"))),
        (403, "signature")
    );
    assert_eq!(
        refused(verify("/tencent", &query(sign, "1669872113"))),
        (403, "signature")
    );
    assert_eq!(refused(verify("/tencent", &query(sign, "1669872000"))), (403, "stale"));
    assert_eq!(refused(verify("/tencent", &query(sign, "later"))), (403, "signature"));
    assert_eq!(
        refused(verify("/tencent", "SdkAppid=1400000001&CallbackCommand=a")),
        (403, "signature")
    );
}

#[test]
fn openims_command_is_the_last_segment_behind_the_secret() {
    let instance = |path, query| {
        let head = read(path, query, "{}").unwrap().head;
        (head.app, head.command.unwrap(), head.request_id.unwrap())
    };
    let expected = |app: &str, command: &str| (app.to_owned(), command.to_owned(), "op1".to_owned());
    assert_eq!(instance("/openim/callbackX", ""), expected("open", "callbackX"));
    assert_eq!(
        instance("/openim//callbackX", "contenttype=json&key=abc"),
        expected("open", "callbackX")
    );
    assert_eq!(
        instance("/openim/s3cret/callbackX", ""),
        expected("hidden", "callbackX")
    );
    assert_eq!(
        instance("//openim//s3cret//callbackX/", ""),
        expected("hidden", "callbackX")
    );
    assert_eq!(
        instance("/openim/s3cret", "command=callbackX"),
        expected("hidden", "callbackX")
    );
    assert_eq!(refused(verify("/openim/wrong/callbackX", "")), (404, "secret"));
}

#[test]
fn basic_authentication_is_checked_where_it_is_configured() {
    // user:pass, then user:other.
    assert!(verify_with("/openim/b/c", "", Some("Basic dXNlcjpwYXNz")).is_ok());
    // old:one, which is accepted beside it.
    assert!(verify_with("/openim/b/c", "", Some("Basic b2xkOm9uZQ==")).is_ok());
    // A scheme has no case.
    assert!(verify_with("/openim/b/c", "", Some("basic b2xkOm9uZQ==")).is_ok());
    assert_eq!(
        refused(verify_with("/openim/b/c", "", Some("Basic dXNlcjpvdGhlcg=="))),
        (401, "authorization")
    );
    assert_eq!(refused(verify("/openim/b/c", "")), (401, "authorization"));
}

#[test]
fn a_sender_with_an_allow_list_is_accepted_from_its_networks_only() {
    let from = |client: Option<&str>| {
        let line = RequestLine {
            method: "POST",
            path: "/openim/n/c",
            query: "",
            client: client.map(|client| client.parse().unwrap()),
            header: &|_| None,
        };
        providers()
            .verify(&line, NOW_MS)
            .map_err(|refusal| (refusal.status, refusal.reason, refusal.message))
    };
    assert!(from(Some("10.1.2.3")).is_ok());
    assert!(from(Some("::ffff:10.1.2.3")).is_ok());
    for (client, named) in [(Some("192.0.2.1"), "192.0.2.1"), (None, "unknown")] {
        let (status, reason, message) = from(client).unwrap_err();
        assert_eq!((status, reason), (403, "address"));
        assert!(message.contains(named) && message.contains("allow"), "{message}");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    assert_eq!(refused(verify("/", "")), (404, "path"));
    let line = RequestLine {
        method: "GET",
        path: "/tencent",
        query: "",
        client: None,
        header: &|_| None,
    };
    assert_eq!(refused(providers().verify(&line, NOW_MS)), (405, "method"));
}

#[test]
fn the_command_comes_from_the_body_where_the_request_line_has_none() {
    let query = "SdkAppid=1400000000&CallbackCommand=";
    let command = |body| read("/tencent", query, body).unwrap().head.command.unwrap();
    assert_eq!(command(r#"{"CallbackCommand":"Group.After"}"#), "Group.After");
    assert_eq!(
        command(r#"{"Events":[{"CallbackCommand":"Push.Batch","A":[1]},{"CallbackCommand":"Other"}]}"#),
        "Push.Batch"
    );
    let in_body = read("/openim", "", r#"{"callbackCommand":"c"}"#).unwrap();
    assert_eq!(in_body.head.command.as_deref(), Some("c"));
}

#[test]
fn a_body_that_is_not_json_or_names_no_command_is_refused_and_kept() {
    let unreadable = read("/tencent", "SdkAppid=1400000000&CallbackCommand=Group.After", "{\"a\":").unwrap_err();
    assert_eq!(
        (unreadable.refusal.status, unreadable.refusal.reason),
        (400, "not_json")
    );
    assert_eq!(
        (unreadable.callback.body.as_ref(), unreadable.callback.head.unreadable),
        (&b"{\"a\":"[..], true)
    );
    for body in [
        "{}",
        "[1]",
        "7",
        r#"{"CallbackCommand":7}"#,
        r#"{"Events":7}"#,
        r#"{"Events":[]}"#,
        r#"["Group.After"]"#,
        r#"["Group.After", ["x"]]"#,
        r#"{"Events":[["Group.After"]]}"#,
        r#"{"Events":[["Group.After", 1]]}"#,
    ] {
        let unreadable = read("/tencent", "SdkAppid=1400000000", body).unwrap_err();
        assert_eq!(
            (unreadable.refusal.status, unreadable.refusal.reason),
            (400, "no_command"),
            "{body}"
        );
    }
}

#[test]
fn answers_are_the_providers_own() {
    let answer = |callback: &Callback| String::from_utf8(providers().success(callback)).unwrap();
    let tencent = read("/tencent", "SdkAppid=1400000000&CallbackCommand=Group.After", "{}").unwrap();
    assert_eq!(
        answer(&tencent),
        r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#
    );
    let openim = read("/openim/other", "", "{}").unwrap();
    assert_eq!(
        answer(&openim),
        r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}"#
    );
    let echo = read(
        "/openim/callbackBeforeSet",
        "",
        r#"{"ex":null,"groupID":"g","groupName":"n"}"#,
    )
    .unwrap();
    assert_eq!(
        answer(&echo),
        r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0,"groupID":"g","ex":null}"#
    );
    let body = r#"{"FriendItem":[{"To_Account":"a","Remark":"x"},{"To_Account":"b"}]}"#;
    let items = read("/tencent", "SdkAppid=1400000000&CallbackCommand=Sns.Prev", body).unwrap();
    assert_eq!(
        answer(&items),
        concat!(
            r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ResultItem":[{"To_Account":"a","ResultCode":0,"ResultInfo":""},"#,
            r#"{"To_Account":"b","ResultCode":0,"ResultInfo":""}]}"#
        )
    );
}

#[test]
fn a_batch_becomes_one_event_for_each_element() {
    let body = r#"{"Events":[{"CallbackCommand":"Push.Batch","n":1},{"CallbackCommand":"Push.Other","n":2},{"n":3}]}"#;
    let callback = read("/tencent", "SdkAppid=1400000000", body).unwrap();
    let providers = providers();
    let events = expand(&callback, &providers.commands).unwrap();
    let found: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.index,
                event.command.as_ref(),
                std::str::from_utf8(&event.body).unwrap(),
            )
        })
        .collect();
    let first = r#"{"CallbackCommand":"Push.Batch","n":1}"#;
    assert_eq!(
        found,
        [
            (0, "Push.Batch", first),
            (1, "Push.Other", r#"{"CallbackCommand":"Push.Other","n":2}"#),
            (2, "Push.Batch", r#"{"n":3}"#)
        ]
    );
}

#[test]
fn what_stands_beside_a_batch_travels_with_its_first_event() {
    let body = |text: &str| {
        let callback = read("/tencent", "SdkAppid=1400000000&CallbackCommand=Push.Batch", text).unwrap();
        let providers = providers();
        let events = expand(&callback, &providers.commands).unwrap();
        events
            .iter()
            .map(|event| String::from_utf8(event.body.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        body(r#"{"Z":1,"Events":[{"n":1},{"n":2}],"A":"x"}"#),
        [r#"{"n":1,"A":"x","Z":1}"#, r#"{"n":2}"#]
    );
    assert_eq!(body(r#"{"Z":1,"Events":[{ }]}"#), [r#"{ "Z":1}"#]);
}

#[test]
fn a_body_without_a_schema_still_names_its_group() {
    assert_eq!(group_of(br#"{"a":{},"groupID":"g"}"#).as_deref(), Some("g"));
    assert_eq!(group_of(br#"{"GroupId":"","GroupID":17}"#).as_deref(), Some("17"));
    assert_eq!(group_of(br#"{"a":1}"#), None);
    assert_eq!(group_of(b"{\"a\":\"\xff\",\"GroupId\":\"g\"}").as_deref(), Some("g"));
    assert_eq!(
        group_of(b"{\"GroupId\":\"\xff\",\"groupID\":\"h\"}").as_deref(),
        Some("h")
    );
    assert_eq!(
        group_of("{\"GroupId\":\"\u{fffd}\"}".as_bytes()).as_deref(),
        Some("\u{fffd}")
    );
}
