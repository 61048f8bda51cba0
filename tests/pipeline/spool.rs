//! `imbridge spool`: its output matches the posted callbacks, also beside a running bridge, which is not disturbed.

use std::process::Command;

use serde_json::Value;

use crate::support::bridge::{APP, Bridge, Home, PROGRAM};
use crate::support::oracle::Plan;
use crate::support::reader::consume;
use crate::support::{eventually, kafka, run};

/// A bridge without a Kafka.
fn alone(name: &str) -> (Home, Bridge) {
    let home = Home::with_brokers(name, "127.0.0.1:1");
    let bridge = home.start();
    (home, bridge)
}

fn json_lines(home: &Home, verb: &str) -> Vec<Value> {
    let (code, text, error) = run(&mut home.command(verb));
    assert_eq!(code, Some(0), "{verb}: {error}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}")))
        .collect()
}

fn stat(home: &Home) -> Value {
    let (code, text, error) = run(&mut home.command("spool stat --json --verify"));
    assert_eq!(code, Some(0), "{text}{error}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn undelivered_records_are_listed_and_exported_with_and_without_a_running_bridge() {
    let (home, bridge) = alone("spool");
    let mut connection = bridge.connect();
    let created = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup&ClientIP=10.0.0.7");
    for group in ["a", "b", "a"] {
        let body = format!("{{\"GroupId\":\"{group}\",\n\"Name\":\"n\"}}");
        assert_eq!(connection.post(&created, body).expect("an answer").status, 200);
    }
    assert_eq!(
        connection
            .post("/openim/callbackX", "{\"groupID\":\"a\"}")
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(connection.post(&created, b"\xff").expect("an answer").status, 400);
    for running in [true, false] {
        let found = stat(&home);
        assert_eq!(
            (&found["appended"], &found["delivered"], &found["undelivered"]),
            (&5.into(), &0.into(), &5.into()),
            "{found:#}"
        );
        assert_eq!(found["verified"]["intact"], 5, "{found:#}");
        assert!(
            found["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("imbridge-0."))
        );
        let seqs = |arguments: &str| -> Vec<u64> {
            let listed = json_lines(&home, &format!("spool list --json {arguments}"));
            listed
                .iter()
                .map(|line| line["seq"].as_u64().expect("a number"))
                .collect()
        };
        assert_eq!(seqs(""), [1, 2, 3, 4, 5], "running: {running}");
        assert_eq!(seqs("--group a"), [1, 3, 4]);
        assert_eq!(seqs("--command callbackX"), [4]);
        assert_eq!(seqs("--undelivered --limit 2"), [1, 2]);
        assert_eq!(seqs("--since 1h"), [1, 2, 3, 4, 5]);
        assert_eq!(seqs("--until 1h"), Vec::<u64>::new());
        let exported = json_lines(&home, "spool export");
        assert_eq!(exported[0]["body"], "{\"GroupId\":\"a\",\n\"Name\":\"n\"}");
        assert_eq!(exported[0]["head"]["client_ip"], "10.0.0.7");
        assert_eq!(
            (&exported[4]["body_base64"], &exported[4]["head"]["unreadable"]),
            (&"/w==".into(), &true.into())
        );
        let (_, text, _) = run(&mut home.command("spool list"));
        let second: Vec<_> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(
            (second[0], &second[2..]),
            (
                "2",
                &[
                    "waits",
                    "166",
                    "tencent/1400000000",
                    "Group.CallbackAfterCreateGroup",
                    "b"
                ][..]
            ),
            "{text}"
        );
        let (_, text, _) = run(&mut home.command("spool stat"));
        assert!(text.contains("waiting    5 records, the oldest for"), "{text}");
        if running {
            bridge.signal("KILL");
            eventually("the bridge to be gone", || {
                bridge.admin("/livez").is_none().then_some(())
            });
        }
    }
}

#[test]
fn a_spool_that_is_moved_with_its_wal_continues_where_it_was() {
    let (mut home, bridge) = alone("move");
    let mut connection = bridge.connect();
    for number in 0..50 {
        let answer = connection.post("/openim/callbackX", format!("{{\"groupID\":\"g\",\"n\":{number}}}"));
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let name = stat(&home)["name"].clone();
    bridge.kill();
    let moved = home.path().join("moved");
    std::fs::create_dir(&moved).expect("a temporary folder is writable");
    for file in ["spool.db", "spool.db-wal"] {
        std::fs::rename(home.path().join("spool").join(file), moved.join(file)).expect("it is there after a kill");
    }
    home.set("SPOOL__DIR", moved.display().to_string());
    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    bridge.settle();
    let found = stat(&home);
    assert_eq!((&found["name"], &found["undelivered"]), (&name, &0.into()), "{found:#}");
    let numbers: Vec<u64> = consume(&kafka::shared(), &home.prefix, &home.schemas())
        .iter()
        .map(|message| {
            serde_json::from_slice::<Value>(&message.raw()).expect("JSON")["n"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "all of it, in order, once");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let (home, bridge) = alone("pipe");
    let mut connection = bridge.connect();
    for number in 0..1000 {
        let answer = connection.post("/openim/callbackX", format!("{{\"groupID\":\"g{number}\"}}"));
        assert_eq!(answer.expect("an answer").status, 200);
    }
    drop(bridge);
    let config = home.config().display().to_string();
    // check gives the same result whether or not its output is read to the end. Kafka is not running.
    for (verb, verdict) in [
        (format!("spool list --config {config}"), 0),
        (format!("check --config {config}"), 1),
        ("schemas --dir schemas docs".to_owned(), 0),
    ] {
        let line = format!("set -o pipefail; {PROGRAM} {verb} | head -n 1");
        let mut shell = Command::new("bash");
        shell.args(["-c", &line]).env("IMBRIDGE_KAFKA__BROKERS", "127.0.0.1:1");
        shell.env("IMBRIDGE_SPOOL__DIR", home.path().join("spool"));
        let (code, text, error) = run(&mut shell);
        assert_eq!(
            (code, error.as_str(), text.lines().count()),
            (Some(verdict), "", 1),
            "{verb}: {text}"
        );
    }
}

#[test]
fn looking_into_the_spool_again_and_again_does_not_disturb_a_bridge_under_load() {
    let home = Home::new("look");
    let bridge = home.start();
    let load = Plan::new(&home).with("connections", 8).start();
    let mut looks = 0;
    let mut most_wal = 0;
    // Until the WAL has been copied and restarted several times.
    while bridge.metric(&["imbridge_messages_published_total"]) < 20_000.0 {
        let found = stat(&home);
        most_wal = most_wal.max(found["wal_bytes"].as_u64().expect("a number"));
        let appended = found["appended"].as_u64().expect("a number");
        let delivered = found["delivered"].as_u64().expect("a number");
        assert!(appended >= delivered, "{found:#}");
        let (code, _, error) = run(&mut home.command("spool export --undelivered --limit 500"));
        assert_eq!(code, Some(0), "{error}");
        looks += 1;
    }
    let ledger = load.stop();
    bridge.settle();
    println!(
        "{looks} looks, {} acknowledged, WAL at most {most_wal} bytes",
        ledger.acknowledged
    );
    assert!(looks >= 3, "there was time to look");
    assert!(
        most_wal < 80 << 20,
        "the WAL is copied and begun again: {most_wal} bytes"
    );
    assert_eq!(bridge.metric(&["imbridge_spool_commit_errors_total"]), 0.0);
    assert_eq!(bridge.metric(&["imbridge_requests_refused_total"]), 0.0);
    assert!(!bridge.log().contains("WAL checkpoint failed"), "{}", bridge.log());
    ledger.judge(&kafka::shared(), &home).assert_kept();
}

#[test]
fn permanent_faults_end_a_start_with_a_remedy() {
    let mut home = Home::new("unmendable");
    let bridge = home.start();
    let post = |bridge: &Bridge| {
        assert_eq!(
            bridge
                .post("Group.CallbackAfterCreateGroup", r#"{"GroupId":"g"}"#)
                .status,
            200
        )
    };
    post(&bridge);
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    let bridge = home.start();
    post(&bridge);
    bridge.kill();
    let refused = |home: &Home, parts: &[&str]| {
        let (code, _, error) = run(&mut home.command("serve"));
        assert_eq!(code, Some(1), "{error}");
        assert!(parts.iter().all(|word| error.contains(word)), "{parts:?}: {error}");
    };
    home.set("KAFKA__DELIVERY", "transactional");
    refused(
        &home,
        &[
            "holds 1 undelivered records",
            "start with kafka.delivery = \"idempotent\"",
        ],
    );
    home.set("SPOOL__ID", "another");
    refused(
        &home,
        &["belongs to the spool `imbridge-0`", "set spool.id = \"imbridge-0\""],
    );
    home.set("SPOOL__ID", "imbridge-0");
    let file = home.path().join("spool/spool.db");
    for wal in ["spool.db-wal", "spool.db-shm"] {
        std::fs::remove_file(home.path().join("spool").join(wal)).ok();
    }
    let mut bytes = std::fs::read(&file).expect("it is there");
    bytes[..100].fill(0xee);
    std::fs::write(&file, &bytes).expect("it is writable");
    refused(&home, &["cannot be repaired", "keep the folder"]);
    assert!(
        std::fs::read(&file).expect("it is there") == bytes,
        "it is left as it is"
    );
}

#[test]
fn a_reader_that_keeps_the_wal_from_restarting_is_named_and_the_file_shrinks_afterwards() {
    let (home, bridge) = alone("pinned");
    let wal_bytes = || bridge.metric(&["imbridge_spool_wal_bytes "]);
    let mut connection = bridge.connect();
    let body = format!("{{\"groupID\":\"g\",\"text\":\"{}\"}}", "x".repeat(1 << 20));
    let mut post = || {
        let answer = connection.post("/openim/callbackX", &body).expect("an answer");
        assert_eq!(answer.status, 200);
    };
    post();
    let reader = rusqlite::Connection::open(home.path().join("spool/spool.db")).expect("it is there");
    reader.execute_batch("BEGIN").expect("a transaction");
    let read = "SELECT count(*) FROM record";
    reader.query_row(read, [], |_| Ok(())).expect("it reads");
    // Without the reader, a WAL has at most 80 MiB plus one commit.
    while wal_bytes() < f64::from(120 << 20) {
        post();
    }
    let pinned = || bridge.metric(&["imbridge_spool_wal_pinned_seconds"]);
    bridge.logged("another process keeps a read of the spool's file open");
    assert!(pinned() >= 10.0, "{}", pinned());
    assert_eq!(
        bridge.log().matches("another process keeps a read").count(),
        1,
        "{}",
        bridge.log()
    );

    drop(reader);
    eventually("the WAL to shrink", || {
        post();
        (wal_bytes() <= f64::from(90 << 20) && pinned() == 0.0).then_some(())
    });
    bridge.logged("no other read keeps the spool's WAL");
    assert!(bridge.terminate().success());
}

#[test]
fn a_reader_of_the_file_holds_up_a_start_and_does_not_end_it() {
    let (home, bridge) = alone("held");
    let post = |bridge: &Bridge| {
        bridge
            .post("Group.CallbackAfterCreateGroup", r#"{"GroupId":"g"}"#)
            .status
    };
    assert_eq!(post(&bridge), 200);
    let reader = rusqlite::Connection::open(home.path().join("spool/spool.db")).expect("it is there");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM record")
        .expect("it reads");
    assert_eq!(post(&bridge), 200);
    bridge.kill();
    let bridge = home.start_unready();
    eventually("the reader to be named", || {
        let (status, body) = bridge.admin("/readyz")?;
        (status == 503 && body.contains("another process reads the file")).then_some(())
    });
    assert_eq!(post(&bridge), 503);
    drop(reader);
    eventually("readiness", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    assert_eq!(stat(&home)["undelivered"], 2);
    assert_eq!(post(&bridge), 200);
}
