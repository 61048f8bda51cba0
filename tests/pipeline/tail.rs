//! `imbridge tail` shows what an independent reader reads, live and from the beginning, in both framings.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::admin::{Admin, produce};
use crate::support::bridge::{APP, Bridge, Home};
use crate::support::reader::consume;
use crate::support::{eventually, kafka, registry, run, schemas};

fn tail(home: &Home, arguments: &str) -> Child {
    home.command(&format!("tail {arguments}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built")
}

/// The JSON lines that `tail` prints until it exits.
fn lines(home: &Home, arguments: &str) -> Vec<Value> {
    let mut tail = tail(home, arguments);
    let status = eventually(&format!("tail {arguments} to end"), || {
        tail.try_wait().expect("a child can be waited for")
    });
    let output = tail.wait_with_output().expect("it has ended");
    assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}")))
        .collect()
}

/// The four samples, a command without a schema, and a body that becomes a dead letter.
fn post_six(bridge: &Bridge) {
    let mut connection = bridge.connect();
    let mut post = |target: &str, body: &str| {
        let answer = connection.post(target, body).expect("an answer");
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    };
    for folder in schemas::FOUR {
        let body = std::fs::read_to_string(format!("schemas/{folder}/sample.json")).expect("every command has one");
        let (provider, command) = folder.split_once('/').expect("provider/command");
        match provider {
            "tencent" => post(&format!("/tencent?SdkAppid={APP}&CallbackCommand={command}"), &body),
            _ => post(&format!("/openim/{command}"), &body),
        }
    }
    let new = "{\"GroupId\":\"g7\",\n\"Big\":123456789012345678901234567890}";
    post(&format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.New"), new);
    let created = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup");
    post(&created, "[\"\u{9b}2J\"]");
}

#[test]
fn tail_shows_what_an_independent_reader_sees() {
    let home = Home::new("tail");
    let bridge = home.start();
    post_six(&bridge);
    bridge.settle();
    let seen = lines(&home, "--from-beginning --count 6 --json");
    let place = |topic: &str, partition: &Value, headers: &BTreeMap<String, String>| {
        (topic.to_owned(), partition.as_i64(), headers["imbridge-seq"].clone())
    };
    let headers =
        |line: &Value| serde_json::from_value::<BTreeMap<String, String>>(line["headers"].clone()).expect("texts");
    let by_place: BTreeMap<_, _> = seen
        .iter()
        .map(|line| {
            let topic = line["topic"].as_str().expect("text");
            (place(topic, &line["partition"], &headers(line)), line)
        })
        .collect();
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!((consumed.len(), by_place.len()), (6, 6), "{seen:#?}");
    for message in consumed {
        let line = by_place[&place(&message.topic, &message.partition.into(), &message.headers)];
        assert_eq!(line["key"].as_str(), message.key.as_deref());
        assert_eq!(line["timestamp"].as_i64(), Some(message.timestamp));
        assert_eq!(headers(line), message.headers);
        match &message.value {
            Some(record) => assert_eq!(&line["event"], record),
            None if message.topic.ends_with(".unknown") => {
                assert_eq!(
                    line["event"],
                    serde_json::from_slice::<Value>(&message.raw()).expect("JSON")
                );
            }
            None => assert_eq!(line["raw_base64"].as_str(), message.raw_base64.as_deref()),
        }
    }

    let only = |arguments: &str, count: usize| {
        let found = lines(&home, &format!("--from-beginning --json --count {count} {arguments}"));
        found
            .iter()
            .map(|line| {
                line["topic"]
                    .as_str()
                    .expect("text")
                    .rsplit_once('.')
                    .expect("a dot")
                    .1
                    .to_owned()
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(only("--group g7", 1).into_iter().collect::<Vec<_>>(), ["unknown"]);
    assert_eq!(only("--provider openim", 1).len(), 1);
    assert_eq!(
        only("--command Group.CallbackAfterCreateGroup", 2)
            .into_iter()
            .collect::<Vec<_>>(),
        ["CallbackAfterCreateGroup", "dead-letter"],
        "its events and its dead letters"
    );
    assert_eq!(lines(&home, "--since 10m --count 6 --json").len(), 6);

    let topic = format!("{}.dead-letter", home.prefix);
    let (code, text, error) =
        run(&mut home.command(&format!("tail --pretty --from-beginning --count 1 --topic {topic}")));
    assert_eq!(code, Some(0), "{error}");
    assert!(
        text.contains("imbridge-reason: not_an_object") && text.contains(r#"["\u{9b}2J"]"#),
        "the reason, and nothing that steers a terminal: {text}"
    );
}

#[test]
fn tail_reads_earlier_framings_with_nothing_configured() {
    let mut home = Home::new("framings");
    let follow = |home: &Home, count: usize| {
        let seen = lines(home, &format!("--from-beginning --json --count {count}"));
        assert!(seen.iter().all(|line| line["event"]["GroupId"] == "g"), "{seen:#?}");
    };
    for (count, framing) in (1..).zip(["single-object", "confluent"]) {
        home.set("SCHEMAS__FRAMING", framing);
        let bridge = home.start();
        let body = format!(r#"{{"GroupId":"g","Name":"{count}"}}"#);
        assert_eq!(bridge.post("Group.CallbackAfterCreateGroup", &body).status, 200);
        bridge.settle();
        assert!(bridge.terminate().success());
        follow(&home, count);
    }
    let raw = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert!(raw.iter().all(|message| message.value.is_some()), "{raw:#?}");
    // The registry knows neither schema, but the folder still does.
    home.set("SCHEMAS__FRAMING", "confluent");
    home.set("SCHEMAS__REGISTRY_URL", registry::shared());
    follow(&home, 2);
}

#[test]
fn tail_shows_new_events_and_reads_ids_of_a_registry() {
    let mut home = Home::new("follow");
    home.set("SCHEMAS__REGISTRY_URL", registry::shared());
    home.set("SCHEMAS__AUTO_REGISTER", "true");
    // The same six again are not copies.
    home.set("HISTORY__WINDOW_S", "0");
    home.set("KAFKA__CREATE_TOPICS", "all");
    let bridge = home.start();
    post_six(&bridge);
    bridge.settle();
    let mut tail = tail(&home, "--count 4");
    let mut stderr = BufReader::new(tail.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("text");
    assert!(line.contains("reading 7 topics, 28 partitions"), "{line}");
    post_six(&bridge);
    let status = eventually("tail to have seen four events", || {
        tail.try_wait().expect("a child can be waited for")
    });
    assert!(status.success());
    let output = tail.wait_with_output().expect("it has ended");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 4, "no terminal, so JSON lines: {text}");
    let new: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        new.iter().all(|line| line["offset"].as_i64() >= Some(1)),
        "only what came after it began: {text}"
    );
    let created = &lines(
        &home,
        "--from-beginning --count 1 --group @TGS#2J4SZEAEL --command Group.CallbackAfterCreateGroup",
    )[0];
    assert_eq!(created["event"]["GroupId"], "@TGS#2J4SZEAEL", "{created}");
    assert_eq!(created["event"]["meta"]["app"], APP.to_string());
}

/// Spool and sequence number of each event that `tail` printed.
fn positions(lines: &[Value]) -> Vec<(String, u64)> {
    let position = |line: &Value| {
        let header = |name: &str| line["headers"][name].as_str().expect("every event has it").to_owned();
        let number = header("imbridge-seq");
        let (number, _) = number.split_once('.').expect("number and place");
        (header("imbridge-spool"), number.parse().expect("a number"))
    };
    lines.iter().map(position).collect()
}

/// Posts events of one group and as many of another, over several commands in turn.
fn post_events(bridge: &Bridge, count: usize) {
    let mut connection = bridge.connect();
    for number in 0..count {
        for group in ["g", "other"] {
            let command = [
                "Group.CallbackAfterCreateGroup",
                "Group.CallbackAfterChangeGroupOwner",
                "Group.New",
            ][number % 3];
            let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}");
            let body = format!(r#"{{"GroupId":"{group}","Name":"{number}"}}"#);
            assert_eq!(connection.post(&target, &body).expect("an answer").status, 200);
        }
    }
}

#[test]
fn tail_shows_a_groups_events_in_order_over_all_commands_and_spools() {
    let mut home = Home::new("order");
    for spool in ["first", "second"] {
        home.set("SPOOL__DIR", home.path().join(spool).display().to_string());
        let bridge = home.start();
        post_events(&bridge, 30);
        bridge.settle();
        assert!(bridge.terminate().success());
    }
    let in_order = |found: &[(String, u64)]| found.windows(2).all(|two| two[0].0 != two[1].0 || two[0].1 < two[1].1);
    for arguments in ["--from-beginning", "--since 1h"] {
        let shown = positions(&lines(&home, &format!("{arguments} --group g --count 60 --json")));
        assert!(in_order(&shown), "{shown:?}");
        let mut spools: Vec<_> = shown.into_iter().map(|(spool, _)| spool).collect();
        spools.dedup();
        assert_eq!(spools.len(), 2, "one spool after the other: {spools:?}");
    }

    // While the events arrive.
    let bridge = home.start();
    let mut tail = tail(&home, "--json --count 60");
    let mut line = String::new();
    let mut stderr = BufReader::new(tail.stderr.take().expect("piped"));
    stderr.read_line(&mut line).expect("text");
    assert!(line.contains("reading 3 topics"), "{line}");
    post_events(&bridge, 30);
    let output = tail.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let shown: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let shown = positions(&shown);
    assert!(shown.len() == 60 && in_order(&shown), "{shown:?}");
}

/// The Unix time this many seconds from now, in milliseconds.
fn at_ms(seconds: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as i64 + seconds * 1000
}

/// The header `imbridge-received-at` of a message that [`produce`] makes.
fn arrived(topic: &str, at: i64, stamped: i64, body: &str) {
    let at = at.to_string();
    produce(
        &kafka::shared(),
        topic,
        &[("imbridge-received-at", &at), ("content-type", "application/json")],
        stamped,
        body,
    );
}

#[test]
fn since_uses_the_arrival_time_and_not_kafkas_timestamps() {
    const DAY_S: i64 = 24 * 3600;
    let home = Home::new("since");
    assert_eq!(run(&mut home.command("topics apply")).0, Some(0));
    let bridge = home.start();
    post_six(&bridge);
    bridge.settle();
    let topic = format!("{}.tencent.unknown", home.prefix);
    let admin = Admin::of(&kafka::shared());
    let numbers = |arguments: &str| {
        let found = lines(&home, &format!("--topic {topic} --json {arguments}"));
        let found = found.iter().map(|line| line["event"]["n"].as_u64());
        found.flatten().collect::<Vec<_>>()
    };
    admin.configure(&topic, &[("message.timestamp.type", "CreateTime")]);
    arrived(&topic, at_ms(-2 * DAY_S), at_ms(0), r#"{"n":1}"#);
    arrived(&topic, at_ms(-300), at_ms(-2 * DAY_S), r#"{"n":2}"#);
    arrived(&topic, at_ms(-900), at_ms(0), r#"{"n":3}"#);
    arrived(&topic, at_ms(0), at_ms(0), r#"{"n":4}"#);
    assert_eq!(numbers("--since 10m --count 3"), [2, 4], "and the posted one");
    assert_eq!(numbers("--since 3d --count 5"), [1, 2, 3, 4]);

    // With the broker's timestamps, nothing is read that is more than one day older, and everything later is read.
    let topic = format!("{}.openim.unknown", home.prefix);
    admin.configure(&topic, &[("message.timestamp.type", "LogAppendTime")]);
    for number in [1, 2] {
        arrived(&topic, at_ms(4 * DAY_S), 0, &format!("{{\"n\":{number}}}"));
    }
    let since =
        humantime::format_rfc3339_seconds(std::time::SystemTime::now() + std::time::Duration::from_secs(3 * 86_400));
    let mut tail = tail(&home, &format!("--topic {topic} --json --since {since} --count 1"));
    let mut stderr = BufReader::new(tail.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("text");
    assert!(line.contains("reading 1 topics"), "{line}");
    arrived(&topic, at_ms(2 * DAY_S), 0, r#"{"n":3}"#);
    arrived(&topic, at_ms(4 * DAY_S), 0, r#"{"n":4}"#);
    let status = eventually("tail to have seen one event", || {
        tail.try_wait().expect("a child can be waited for")
    });
    let output = tail.wait_with_output().expect("it has ended");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(status.success() && text.contains(r#""event":{"n":4}"#), "{text}");
}
