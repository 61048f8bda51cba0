//! The answers to refused requests.

use super::*;

#[test]
fn refusals_have_the_providers_shape_and_never_block_a_user() {
    let text = |provider| {
        let refusal = Refusal {
            provider,
            status: 403,
            reason: "app",
            message: "say \"why\"".into(),
        };
        String::from_utf8(refusal.body()).unwrap()
    };
    assert_eq!(
        text(Some(Provider::Tencent)),
        r#"{"ActionStatus":"FAIL","ErrorCode":403,"ErrorInfo":"say \"why\""}"#
    );
    let openim = r#"{"actionCode":1,"errCode":403,"errDlt":"say \"why\"","errMsg":"app","nextCode":0}"#;
    assert_eq!(text(Some(Provider::OpenIm)), openim);
}

#[test]
fn a_refusal_carries_what_openim_would_take_from_a_success_wherever_the_path_leads() {
    let providers = providers();
    let request = br#"{"groupID":"g","groupName":"n","ex":"\ud83d"}"#;
    let echoed = |path, query| {
        let line = post(path, query);
        let refusal = providers.verify(&line, NOW_MS).unwrap_err();
        let rule = providers.echoed(&line);
        String::from_utf8(rule.map_or_else(|| refusal.body(), |rule| refusal.echo(rule, request))).unwrap()
    };
    for (path, query) in [
        ("/openim/wrong/callbackBeforeSet", ""),
        ("/openim/b/callbackBeforeSet", ""),
        ("/elsewhere/callbackBeforeSet", ""),
        ("/openim/a/b/c/callbackBeforeSet/", ""),
        ("/openim/wrong/x", "command=callbackBeforeSet"),
    ] {
        let body = echoed(path, query);
        assert!(body.ends_with(r#","groupID":"g","ex":"\ud83d"}"#), "{path}: {body}");
        assert!(body.contains("no such path") || body.contains("Basic"), "{body}");
    }
    assert!(!echoed("/openim/wrong/callbackX", "").contains("groupID"));
}
