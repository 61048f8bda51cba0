//! What a privacy rule names does not leave the bridge: not to Kafka, not as a dead letter, not in a log line, a metric
//! or the status page.

use crate::support::bridge::{APP, Home};
use crate::support::kafka;
use crate::support::reader::{Consumed, consume};

/// Stands in every place that a rule covers.
const PLANTED: &str = "Wilhelmina";

const RULES: &str = r#"
[[privacy]]
commands = ["Group.CallbackAfterCreateGroup"]
paths = ["Name", "MemberList/*/Member_Account", "meta/client_ip"]
action = "drop"

[[privacy]]
commands = ["Group.CallbackAfterCreateGroup"]
paths = ["Owner_Account"]
action = "hash"
key = "env:PRIVACY_KEY"

[[privacy]]
commands = ["*"]
paths = ["Operator_Account", "Undeclared/*"]
action = "mask"
"#;

fn home(name: &str) -> Home {
    let mut home = Home::new(name);
    home.configure(RULES);
    home.environment("PRIVACY_KEY", "planted-privacy-key");
    home.set("LOG__LEVEL", "imbridge=trace,librdkafka=info");
    home
}

fn target(command: &str) -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json&ClientIP={PLANTED}")
}

#[test]
fn what_a_privacy_rule_names_never_leaves_the_bridge() {
    let home = home("privacy");
    let bridge = home.start();
    let mut connection = bridge.connect();
    let known = target("Group.CallbackAfterCreateGroup");
    let body = format!(
        r#"{{"GroupId":"g","Name":"{PLANTED}","Owner_Account":"{PLANTED}","Operator_Account":"{PLANTED}","Type":"Public","MemberList":[{{"Member_Account":"{PLANTED}"}}],"Undeclared":{{"x":"{PLANTED}"}}}}"#
    );
    let unknown = target("Group.CallbackNobodyKnows");
    let bodies = [
        (&known, body.as_str(), 200),
        (&unknown, body.as_str(), 200),
        // Not an object, and not JSON: dead letters.
        (&known, &format!(r#"["{PLANTED}"]"#), 200),
        (&known, &format!("{PLANTED} is no JSON"), 400),
        (&unknown, &format!("{{\"Operator_Account\":\"{PLANTED}"), 400),
    ];
    for (target, body, status) in bodies {
        let answer = connection.post(target, body).expect("an answer");
        assert_eq!(answer.status, status, "{body}");
        assert!(!answer.body.contains(PLANTED), "{}", answer.body);
        connection = bridge.connect();
    }
    bridge.settle();
    for path in ["/metrics", "/status.json"] {
        let (_, text) = bridge.admin(path).expect("the admin port answers");
        assert!(
            !text.contains(PLANTED) && !text.contains("planted-privacy-key"),
            "{path}: {text}"
        );
    }
    let log = bridge.log();
    assert!(!log.contains(PLANTED) && !log.contains("planted-privacy-key"), "{log}");
    assert!(bridge.terminate().success());

    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(consumed.len(), bodies.len());
    for message in &consumed {
        let raw = message.raw_base64.as_ref().map(|_| message.raw());
        let text = format!("{message:?} {}", String::from_utf8_lossy(&raw.unwrap_or_default()));
        // No rule covers the unknown command's name, owner and member.
        let left = text.matches(PLANTED).count();
        let expected = if message.topic.ends_with("unknown") { 3 } else { 0 };
        assert_eq!(left, expected, "{text}");
    }
    let event = topic(&consumed, "Group.CallbackAfterCreateGroup")
        .value
        .as_ref()
        .expect("a record");
    assert_eq!(event["Operator_Account"], "***");
    // Python: hmac.new(b"planted-privacy-key", b"Wilhelmina", "sha256").hexdigest()[:32]
    assert_eq!(event["Owner_Account"], "ad2735d7bcf70acb162ba869e47c118a");
    let withheld = consumed
        .iter()
        .filter(|message| message.headers.contains_key("imbridge-withheld"));
    assert_eq!(withheld.count(), 3);
}

fn topic<'a>(consumed: &'a [Consumed], end: &str) -> &'a Consumed {
    let found = consumed.iter().find(|message| message.topic.ends_with(end));
    found.unwrap_or_else(|| panic!("nothing in {end}"))
}
