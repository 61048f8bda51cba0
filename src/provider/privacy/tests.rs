//! A rule changes the fields that it names, and nothing else.

use super::{Action, Privacy, PrivacyConfig};
use crate::callback::{Head, Provider};
use crate::secret::Secret;

fn rule(action: Action, paths: &[&str]) -> PrivacyConfig {
    PrivacyConfig {
        commands: vec!["C".into()],
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        action,
        key: (action == Action::Hash).then(|| Secret::of("k")),
    }
}

fn check(rules: &[PrivacyConfig], body: &str, expected: &str) {
    let found = Privacy::new(rules)
        .body("C", body.as_bytes())
        .expect("JSON")
        .into_owned();
    assert_eq!(String::from_utf8(found).expect("text"), expected, "{body}");
}

#[test]
fn fields_are_dropped_masked_and_hashed_at_any_depth() {
    let body = r#"{"a": 1, "Text":"secret", "list":[{"Text":"x","n":1e400},{"Text":"y"}], "a":2}"#;
    check(
        &[rule(Action::Drop, &["Text", "list/*/Text"])],
        body,
        r#"{"a":1,"list":[{"n":1e400},{}],"a":2}"#,
    );
    check(
        &[rule(Action::Mask, &["*/*/Text", "a"])],
        body,
        r#"{"a":null,"Text":"secret","list":[{"Text":"***","n":1e400},{"Text":"***"}],"a":null}"#,
    );
    // Python: hmac.new(b"k", b"secret", "sha256").hexdigest()[:32], and of b"1".
    check(
        &[rule(Action::Hash, &["Text", "a"])],
        r#"{"a":1,"Text":"secret"}"#,
        r#"{"a":"0aa2054d88556d7e5df6e54b00683dae","Text":"cc7eb5fa4bdffbf43700c5657391feff"}"#,
    );
}

#[test]
fn an_element_of_a_list_keeps_its_index_and_null_stays_null() {
    check(
        &[rule(Action::Drop, &["l/1"])],
        r#"{"l":[1,2,3]}"#,
        r#"{"l":[1,null,3]}"#,
    );
    check(&[rule(Action::Hash, &["n"])], r#"{"n":null}"#, r#"{"n":null}"#);
}

#[test]
fn a_rule_that_drops_has_priority_over_one_that_hashes() {
    let rules = [rule(Action::Hash, &["a"]), rule(Action::Drop, &["a"])];
    check(&rules, r#"{"a":1,"b":2}"#, r#"{"b":2}"#);
}

#[test]
fn an_escaped_name_matches_its_rule() {
    check(
        &[rule(Action::Drop, &["Text"])],
        r#"{"\u0054ext":"secret","b":1}"#,
        r#"{"b":1}"#,
    );
}

#[test]
fn bodies_of_other_commands_are_unchanged_and_a_body_that_is_not_json_is_withheld() {
    let privacy = Privacy::new(&[rule(Action::Drop, &["a"])]);
    let body = b"{ \"a\" : 1 } ";
    assert_eq!(privacy.body("D", body).expect("untouched").as_ref(), body);
    for broken in [&b"not JSON"[..], b"[1]", b"7", b"{\"a\":1", b"{\"a\":1}}", b"\xff"] {
        assert_eq!(privacy.body("C", broken), None);
    }
    assert!(privacy.concerns(None) && privacy.concerns(Some("C")) && !privacy.concerns(Some("D")));
}

#[test]
fn rules_apply_to_the_head_too() {
    let mut head = Head {
        provider: Provider::Tencent,
        app: "1".into(),
        command: Some("C".into()),
        received_at_ms: 0,
        client_ip: Some("192.0.2.1".into()),
        platform: Some("iOS".into()),
        request_id: None,
        trace: None,
        unreadable: false,
    };
    let rules = [
        rule(Action::Drop, &["meta/client_ip"]),
        rule(Action::Mask, &["meta/platform"]),
    ];
    Privacy::new(&rules).head("C", &mut head);
    assert_eq!((head.client_ip, head.platform.as_deref()), (None, Some("***")));
}

#[test]
fn wrong_rules_are_refused_with_the_key() {
    let [mut no_key, mut needless_key, mut no_command] = [(); 3].map(|()| rule(Action::Hash, &["a"]));
    no_key.key = None;
    needless_key.action = Action::Mask;
    no_command.commands.clear();
    for (rule, key) in [
        (rule(Action::Hash, &["a/b", "meta/client_ip"]), None),
        (rule(Action::Drop, &["a//b"]), Some("paths")),
        (rule(Action::Drop, &["meta/other"]), Some("paths")),
        (rule(Action::Drop, &[]), Some("paths")),
        (no_key, Some("key")),
        (needless_key, Some("key")),
        (no_command, Some("commands")),
    ] {
        assert_eq!(rule.problem().map(|(key, _)| key), key, "{rule:?}");
    }
}

#[test]
fn openims_own_secret_is_removed_without_a_configured_rule() {
    for command in ["callbackBeforeUserRegisterCommand", "callbackAfterUserRegisterCommand"] {
        for privacy in [Privacy::default(), Privacy::new(&[rule(Action::Hash, &["secret"])])] {
            let body = br#"{"callbackCommand":"x","secret":"openIM123","users":[{"userID":"u"}]}"#;
            let left = privacy.body(command, body).expect("JSON").into_owned();
            assert_eq!(left, br#"{"callbackCommand":"x","users":[{"userID":"u"}]}"#);
            assert!(privacy.concerns(Some(command)) && privacy.body(command, b"[\"openIM123\"]").is_none());
        }
    }
    // Dead letters of an unknown command keep their bytes if no rule is configured.
    assert!(!Privacy::default().concerns(None));
}
