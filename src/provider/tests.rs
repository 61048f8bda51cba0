//! Both protocols: from request lines and bodies to callbacks and answers.

mod refusals;

use std::sync::Arc;

use super::*;
use crate::callback::{Answer, Phase};
use crate::secret::Secrets;

const NOW_MS: i64 = 1_669_872_120_000;

fn providers() -> Providers {
    let mut commands = CommandTable::default();
    let items = Answer::ResultItem("FriendItem".into());
    let echo = Answer::Echo(vec!["groupID".into(), "ex".into()]);
    for (provider, command, phase, answer) in [
        (Provider::Tencent, "Group.After", Phase::After, Answer::Neutral),
        (Provider::Tencent, "Sns.Prev", Phase::Before, items),
        (Provider::Tencent, "Push.Batch", Phase::After, Answer::Neutral),
        (Provider::OpenIm, "callbackBeforeSet", Phase::Before, echo),
    ] {
        let expand = (command == "Push.Batch").then(|| "Events".to_owned());
        let rule = CommandRule { phase, answer, expand };
        commands.insert(provider, command, rule);
    }
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

fn post<'a>(path: &'a str, query: &'a str) -> RequestLine<'a> {
    RequestLine {
        method: "POST",
        path,
        query,
        client: None,
        header: &|_| None,
    }
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
        header: &header,
        ..post(path, query)
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
fn the_parameters_of_tencents_query_may_come_in_any_order() {
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
    for query in ["SdkAppid=1&CallbackCommand=a", "CallbackCommand=a", ""] {
        assert_eq!(refused(verify("/tencent", query)), (403, "app"), "{query}");
    }
}

#[test]
fn a_signed_app_needs_the_documented_signature_within_the_window() {
    // The vector of Tencent's documents: token xxxxyyyy, time 1669872112.
    let sign = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";
    // The same over the second token, by `printf another1669872112 | sha256sum`.
    let other = "5fd64c0a979bdedafd64f1d4ae7a62d49f6d35b252304a523c7604fac1fff72a";
    let [upper, wrong] = [sign.to_uppercase(), sign.replace('7', "8")];
    for (sign, time, refusal) in [
        (sign, "1669872112", None),
        (&upper, "1669872112", None),
        (other, "1669872112", None),
        (&wrong, "1669872112", Some("signature")),
        (sign, "1669872113", Some("signature")),
        (sign, "1669872000", Some("stale")),
        (sign, "later", Some("signature")),
    ] {
        let query = format!("SdkAppid=1400000001&CallbackCommand=a&Sign={sign}&RequestTime={time}");
        let outcome = verify("/tencent", &query).map_err(|refusal| (refusal.status, refusal.reason));
        assert_eq!(outcome.err(), refusal.map(|reason| (403, reason)), "{query}");
    }
    assert_eq!(
        refused(verify("/tencent", "SdkAppid=1400000001&CallbackCommand=a")),
        (403, "signature")
    );
}

#[test]
fn openims_command_is_the_path_segment_after_the_secret() {
    for (path, query, app) in [
        ("/openim/callbackX", "", "open"),
        ("/openim//callbackX", "contenttype=json&key=abc", "open"),
        ("/openim/s3cret/callbackX", "", "hidden"),
        ("//openim//s3cret//callbackX/", "", "hidden"),
        ("/openim/s3cret", "command=callbackX", "hidden"),
    ] {
        let head = read(path, query, "{}").unwrap().head;
        let found = (&*head.app, head.command.as_deref(), head.request_id.as_deref());
        assert_eq!(found, (app, Some("callbackX"), Some("op1")), "{path} {query}");
    }
    assert_eq!(refused(verify("/openim/wrong/callbackX", "")), (404, "secret"));
}

#[test]
fn basic_authentication_is_checked_where_it_is_configured() {
    // user:pass; old:one, the second secret; and a scheme in lower case.
    for right in ["Basic dXNlcjpwYXNz", "Basic b2xkOm9uZQ==", "basic b2xkOm9uZQ=="] {
        assert!(verify_with("/openim/b/c", "", Some(right)).is_ok(), "{right}");
    }
    // user:other.
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
            client: client.map(|client| client.parse().unwrap()),
            ..post("/openim/n/c", "")
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
        ..post("/tencent", "")
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
fn answers_have_the_providers_format() {
    for (path, query, body, answer) in [
        (
            "/tencent",
            "SdkAppid=1400000000&CallbackCommand=Group.After",
            "{}",
            r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#,
        ),
        (
            "/openim/other",
            "",
            "{}",
            r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}"#,
        ),
        (
            "/openim/callbackBeforeSet",
            "",
            r#"{"ex":null,"groupID":"g","groupName":"n"}"#,
            r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0,"groupID":"g","ex":null}"#,
        ),
        (
            "/tencent",
            "SdkAppid=1400000000&CallbackCommand=Sns.Prev",
            r#"{"FriendItem":[{"To_Account":"a","Remark":"x"},{"To_Account":"b"}]}"#,
            concat!(
                r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ResultItem":[{"To_Account":"a","ResultCode":0,"ResultInfo":""},"#,
                r#"{"To_Account":"b","ResultCode":0,"ResultInfo":""}]}"#
            ),
        ),
    ] {
        let (callback, providers) = (read(path, query, body).unwrap(), providers());
        let given = providers.success(&callback, providers.rule(&callback.head));
        assert_eq!(str::from_utf8(&given).unwrap(), answer);
    }
}

#[test]
fn a_batch_becomes_one_event_for_each_element() {
    let body = r#"{"Events":[{"CallbackCommand":"Push.Batch","n":1},{"CallbackCommand":"Push.Other","n":2},{"n":3}]}"#;
    let callback = read("/tencent", "SdkAppid=1400000000", body).unwrap();
    let providers = providers();
    let events = expand(&callback, &providers.commands).unwrap();
    let expected = [
        (0, "Push.Batch", r#"{"CallbackCommand":"Push.Batch","n":1}"#),
        (1, "Push.Other", r#"{"CallbackCommand":"Push.Other","n":2}"#),
        (2, "Push.Batch", r#"{"n":3}"#),
    ];
    assert_eq!(events.len(), expected.len());
    for (event, expected) in events.iter().zip(expected) {
        let body = std::str::from_utf8(&event.body).unwrap();
        assert_eq!((event.index, event.command.as_ref(), body), expected);
    }
}

#[test]
fn fields_beside_a_batch_are_added_to_its_first_event() {
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
fn the_group_of_a_body_without_a_schema_is_found() {
    for (body, group) in [
        (&br#"{"a":{},"groupID":"g"}"#[..], Some("g")),
        (br#"{"GroupId":"","GroupID":17}"#, Some("17")),
        (br#"{"a":1}"#, None),
        (b"{\"a\":\"\xff\",\"GroupId\":\"g\"}", Some("g")),
        (b"{\"GroupId\":\"\xff\",\"groupID\":\"h\"}", Some("h")),
        ("{\"GroupId\":\"\u{fffd}\"}".as_bytes(), Some("\u{fffd}")),
    ] {
        assert_eq!(group_of(body).as_deref(), group, "{}", String::from_utf8_lossy(body));
    }
}
