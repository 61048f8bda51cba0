//! `imbridge simulate`: the accepted callbacks are those that arrive in Kafka, and refusals are reported.

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::reader::consume;
use crate::support::{kafka, run, schemas};

/// Commands about messages and members of both IM servers, beside the four.
const MORE: [&str; 3] = [
    "tencent/Group.CallbackAfterSendMsg",
    "tencent/Group.CallbackAfterNewMemberJoin",
    "openim/callbackAfterSendGroupMsgCommand",
];

fn signed_home(name: &str) -> Home {
    let mut home = Home::new(name);
    schemas::copy(&MORE, &home.schemas());
    let config = std::fs::read_to_string(home.config()).expect("it was written");
    let config = config
        .replace("[[openim]]", "token = \"env:TEST_TOKEN\"\n\n[[openim]]")
        .replace(
            "name = \"main\"",
            "name = \"main\"\nsecret = \"env:TEST_SECRET\"\nbasic_auth = \"env:TEST_AUTH\"",
        );
    std::fs::write(home.config(), config).expect("a temporary folder is writable");
    home.environment("TEST_TOKEN", "t0ken");
    home.environment("TEST_SECRET", "s3cret");
    home.environment("TEST_AUTH", "user:password");
    home
}

#[test]
fn all_accepted_callbacks_arrive_each_group_in_order() {
    let home = signed_home("simulate");
    let bridge = home.start();
    let (code, text, error) =
        run(&mut home.command("simulate --rate 400 --duration 3s --groups 20 --connections 4 --json"));
    assert_eq!(code, Some(0), "{text}{error}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let whole = lines.last().expect("a summary");
    assert!(lines.len() >= 3, "a line a second: {text}");
    let accepted = whole["accepted"].as_u64().expect("a number");
    assert_eq!(whole["posted"].as_u64(), Some(accepted), "{whole}");
    assert!(
        (400..=1300).contains(&accepted),
        "about 400 a second for three seconds: {whole}"
    );
    bridge.settle();
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(consumed.len() as u64, accepted, "each is one event");
    assert!(
        consumed.iter().all(|message| message.value.is_some()),
        "none is a dead letter"
    );
    let messages: Vec<_> = consumed
        .iter()
        .filter(|message| message.topic.ends_with(MORE[0].split('/').next_back().expect("a name")))
        .collect();
    let count = |part: &str| consumed.iter().filter(|message| message.topic.contains(part)).count();
    assert!(count(".tencent.") > 100 && count(".openim.") > 100, "both IM servers");
    assert!(
        messages.len() * 4 > consumed.len(),
        "messages are a large part: {}",
        messages.len()
    );
    let mut last = std::collections::HashMap::new();
    for message in messages {
        let seq = message.value.as_ref().expect("a record")["MsgSeq"]
            .as_u64()
            .expect("a number");
        let before = last.insert(message.key.clone(), seq).unwrap_or(0);
        assert_eq!(seq, before + 1, "MsgSeq rises by one in {:?}", message.key);
    }
    let irregular =
        bridge.metric(&["imbridge_sequence_gaps_total"]) + bridge.metric(&["imbridge_sequence_disorder_total"]);
    assert_eq!(irregular, 0.0);
}

#[test]
fn a_wrong_secret_is_refused_and_reported() {
    let mut home = signed_home("refused");
    let bridge = home.start();
    home.environment("TEST_TOKEN", "another");
    let (code, text, _) = run(&mut home.command("simulate --rate 100 --duration 1s --groups 4"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("403: ") && text.contains("Sign does not match"), "{text}");
    assert!(!text.contains("another"), "no secret: {text}");
    drop(bridge);
    let (code, text, _) = run(&mut home.command("simulate --rate 100 --duration 1s --groups 4"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no server listens at http://127.0.0.1:"), "{text}");
}
