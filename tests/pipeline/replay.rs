//! `imbridge replay`: dead letters become events after their cause is corrected, and an export is sent through another
//! bridge.

use std::collections::BTreeMap;

use crate::support::admin::{Admin, produce};
use crate::support::bridge::{APP, Home};
use crate::support::reader::consume;
use crate::support::{kafka, run};

const CREATED: &str = "Group.CallbackAfterCreateGroup";

fn replay(home: &Home, arguments: &str) -> (Option<i32>, String, String) {
    run(&mut home.command(&format!("replay {arguments}")))
}

#[test]
fn dead_letters_arrive_as_events_after_their_cause_is_corrected() {
    let mut home = Home::new("replay");
    home.set("KAFKA__MAX_MESSAGE_BYTES", "8388608");
    assert_eq!(run(&mut home.command("topics apply")).0, Some(0));
    // The size limit of an event is too small for these.
    home.set("KAFKA__MAX_MESSAGE_BYTES", "1100000");
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={CREATED}");
    let long = "x".repeat(2_500_000);
    let body = |group: &str, number: u32| format!(r#"{{"GroupId":"{group}","Name":"{number}{long}"}}"#);
    let mut connection = bridge.connect();
    for (group, number) in [("a", 0), ("b", 1), ("a", 2), ("a", 3)] {
        assert_eq!(
            connection.post(&target, body(group, number)).expect("an answer").status,
            200
        );
    }
    assert_eq!(
        connection
            .post(&target, r#"{"GroupId":"c","Name":"small"}"#)
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(connection.post(&target, "not JSON").expect("an answer").status, 400);
    bridge.settle();
    let before = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert!(
        before.len() > 4 * 3,
        "four letters in parts of a megabyte, one that is not JSON, one event: {}",
        before.len()
    );
    assert!(bridge.terminate().success());

    home.set("KAFKA__MAX_MESSAGE_BYTES", "8388608");
    let topic = format!("{}.tencent.{CREATED}", home.prefix);
    let bridge = home.start();

    let (code, text, error) = replay(&home, "");
    assert_eq!(code, Some(0), "{error}");
    assert!(
        text.contains("drop it as a copy") && text.contains("0 to send, 5 cannot be sent"),
        "as long as they are known: {text}"
    );
    home.set("HISTORY__WINDOW_S", "0");
    let (code, text, error) = replay(&home, "");
    assert_eq!(code, Some(0), "{error}");
    for part in [
        "left out  ",
        "the bridge would refuse it again",
        &format!("       4  {CREATED}  too_large"),
        "4 to send, 1 cannot be sent",
        "nothing was sent",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bridge.settle();
    assert_eq!(
        consume(&kafka::shared(), &home.prefix, &home.schemas()).len(),
        before.len(),
        "a dry run sends nothing"
    );

    // In two runs: the second begins at the position that the first one prints.
    let (code, text, error) = replay(&home, "--go --group a --limit 1");
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("1 accepted, 0 left out"), "{text}");
    let after = text
        .trim_end()
        .rsplit_once("--after ")
        .expect("a position")
        .1
        .to_owned();
    let (code, text, error) = replay(&home, &format!("--go --group a --after {after} --rate 1000"));
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("2 accepted, 0 left out"), "{text}");
    assert!(error.contains("2 of 2, 100 %"), "{error}");
    bridge.settle();
    let events = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let names: Vec<_> = events
        .iter()
        .filter(|message| message.key.as_deref() == Some("a") && message.topic == topic)
        .map(|message| {
            let name = message.value.as_ref().expect("a record")["Name"]
                .as_str()
                .expect("text")
                .to_owned();
            (name[..1].to_owned(), name.len())
        })
        .collect();
    assert_eq!(
        names,
        ["0", "2", "3"].map(|number| (number.to_owned(), long.len() + 1)),
        "in order, each byte, once"
    );
    let (code, _, error) = replay(&home, "--after nothing.1.0");
    assert_eq!(code, Some(1));
    assert!(
        error.contains("no callback that matches the filters has this position"),
        "{error}"
    );

    drop(bridge);
    let (code, text, error) = replay(&home, "--go --group b");
    assert_eq!(code, Some(1), "{text}{error}");
    assert!(
        text.contains("0 accepted") && error.contains("no server listens at"),
        "{text}{error}"
    );
}

#[test]
fn an_export_goes_through_another_bridge_in_order_and_can_be_continued() {
    let old = Home::with_brokers("export", "127.0.0.1:1");
    let bridge = old.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={CREATED}");
    let mut connection = bridge.connect();
    for number in 0..300 {
        let body = format!(r#"{{"GroupId":"g{}","Name":"{}"}}"#, number % 10, number / 10);
        assert_eq!(connection.post(&target, body).expect("an answer").status, 200);
    }
    bridge.kill();
    let (code, text, error) = run(&mut old.command("spool export --undelivered"));
    assert_eq!((code, text.lines().count()), (Some(0), 300), "{error}");
    let file = old.path().join("export.jsonl");
    std::fs::write(&file, &text).expect("a temporary folder is writable");

    let new = Home::new("import");
    let bridge = new.start();
    let from = format!("--from {}", file.display());
    let (code, text, error) = replay(&new, &from);
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(
        text.contains(&format!("     300  {CREATED}\n300 to send, 0 cannot be sent")),
        "{text}"
    );
    let (code, text, error) = replay(&new, &format!("{from} --go --rate 100000"));
    assert_eq!(code, Some(0), "{text}{error}");
    bridge.settle();
    let mut numbers: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for message in consume(&kafka::shared(), &new.prefix, &new.schemas()) {
        let name = message.value.expect("a record")["Name"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a number");
        numbers.entry(message.key.expect("a group")).or_default().push(name);
    }
    assert_eq!(numbers.len(), 10);
    for (group, found) in numbers {
        assert_eq!(found, (0..30).collect::<Vec<_>>(), "{group} in order and once");
    }
}

#[test]
fn since_uses_the_arrival_time_and_not_kafkas_timestamps() {
    let home = Home::new("letters-since");
    assert_eq!(run(&mut home.command("topics apply")).0, Some(0));
    let topic = format!("{}.dead-letter", home.prefix);
    Admin::of(&kafka::shared()).configure(&topic, &[("message.timestamp.type", "CreateTime")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.expect("it is after 1970").as_millis() as i64;
    let letter = |seq: &str, arrived_at: i64, stamped_at: i64, reason: &str| {
        let arrived_at = arrived_at.to_string();
        let headers = [
            ("imbridge-spool", "other.1"),
            ("imbridge-seq", seq),
            ("imbridge-received-at", &arrived_at),
            ("imbridge-command", CREATED),
            ("imbridge-reason", reason),
            ("ce_source", &format!("/tencent/{APP}")),
        ];
        produce(&kafka::shared(), &topic, &headers, stamped_at, "{}");
    };
    const DAY_MS: i64 = 24 * 3_600_000;
    letter("2.0.0", now_ms - 60_000, now_ms - 2 * DAY_MS, "late");
    letter("1.0.0", now_ms - 2 * DAY_MS, now_ms, "early");
    let (code, text, error) = replay(&home, "--since 10m");
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("late") && !text.contains("early"), "{text}");
    let (_, text, _) = replay(&home, "--since 3d --until 1d");
    assert!(text.contains("early") && !text.contains("late"), "{text}");
}
