//! Stock readers read what the bridge wrote without a separate registry: by the schemas that the bridge serves, and
//! with the code in the documents.

use std::process::Command;

use serde_json::Value;

use crate::support::bridge::{Home, PROGRAM};
use crate::support::client::Connection;
use crate::support::registry::{Client, read};
use crate::support::schemas::FOUR;
use crate::support::{documents, eventually, kafka, run, samples};

const CREATED: &str = "tencent/Group.CallbackAfterCreateGroup";

/// What stock clients read of the four commands with the bridge's own registry only.
#[test]
fn without_any_registry_stock_clients_read_the_four_commands_from_the_first_event_on() {
    let mut home = Home::new("own");
    home.without_timeline();
    let check = home.command("check").output().expect("the program was built");
    let line = format!(
        "ok    registry: the bridge serves its schemas itself on 127.0.0.1:{}",
        home.registry_port
    );
    assert!(String::from_utf8_lossy(&check.stdout).contains(&line), "{check:?}");
    let bridge = home.start();
    samples::post(&bridge, &FOUR);
    bridge.settle();
    let seen = |client| {
        let read = read(client, &home.registry(), &kafka::shared(), &home.prefix, FOUR.len());
        samples::by_topic(&home.prefix, read)
    };
    let python = seen(Client::Python);
    for client in [Client::JavaScript, Client::Confluent, Client::ClickHouse] {
        assert_eq!(seen(client), python, "{client:?}");
    }
    assert_eq!(python.len(), 4);
    // The bridge's own client can use it like any registry.
    for (verb, expected, times) in [
        ("verify", "4 schemas, 0 differences", 1),
        ("register", "unchanged, id", 4),
    ] {
        let mut command = home.command(&format!("schemas {verb}"));
        let (code, lines, error) = run(command.env("IMBRIDGE_SCHEMAS__REGISTRY_URL", home.registry()));
        assert_eq!(
            (code, lines.matches(expected).count()),
            (Some(0), times),
            "{lines}{error}"
        );
    }
    let created = &python[&format!("im.{}", CREATED.replace('/', "."))][0];
    let sample: Value = serde_json::from_str(&samples::sample(CREATED).1).expect("JSON");
    assert_eq!(created["value"]["MemberList"], sample["MemberList"]);
}

/// The subjects and ids that one bridge returns.
fn answers(home: &Home) -> Vec<(u16, String)> {
    let mut connection = Connection::open(home.registry_port).expect("it listens");
    let mut get = |path: &str| {
        let answer = connection.request("GET", path, &[], b"").expect("an answer");
        (answer.status, answer.body)
    };
    let (status, subjects) = get("/subjects");
    let names: Vec<String> = serde_json::from_str(&subjects).expect("a list");
    let latest = names
        .iter()
        .map(|name| get(&format!("/subjects/{name}/versions/latest")));
    [(status, subjects.clone())]
        .into_iter()
        .chain(latest.collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_replica_answers_the_same_without_kafka_and_a_reload_brings_new_versions() {
    let mut homes = [
        Home::with_brokers("one", "127.0.0.1:1"),
        Home::with_brokers("other", "127.0.0.1:1"),
    ];
    for home in &mut homes {
        home.set("KAFKA__TOPIC_PREFIX", "im");
    }
    let bridges = homes.each_ref().map(Home::start);
    let [one, other] = homes.each_ref().map(answers);
    assert_eq!(one, other);
    // The list of subjects, and each subject's versions: four commands and the timeline.
    assert_eq!(one.len(), 6);
    assert!(one.iter().all(|(status, _)| *status == 200), "{one:?}");

    let folder = homes[0].schemas().join(CREATED);
    let first = std::fs::read_to_string(folder.join("v1.avsc")).expect("it is there");
    let added = r#""fields": [{"name": "Added", "doc": "An addition.", "type": ["null", "string"], "default": null},"#;
    let second = first.replacen("\"fields\": [", added, 1);
    assert_ne!(first, second);
    std::fs::write(folder.join("v2.avsc"), second).expect("a temporary folder is writable");
    bridges[0].signal("HUP");
    let path = format!("/subjects/im.{}-value/versions", CREATED.replace('/', "."));
    let get = |path: &str| {
        let mut connection = Connection::open(homes[0].registry_port).expect("it listens");
        connection.request("GET", path, &[], b"").expect("an answer")
    };
    eventually("the second version", || (get(&path).body == "[1,2]").then_some(()));
    let refused = Connection::open(homes[0].registry_port)
        .expect("it listens")
        .request("POST", &path, &[], b"{}")
        .expect("an answer");
    assert_eq!(refused.status, 405);
    assert!(
        refused.body.contains("add a version to the schemas folder"),
        "{}",
        refused.body
    );
}

#[test]
fn the_pages_readers_print_the_event_in_every_language() {
    let mut home = Home::new("documents");
    home.without_timeline();
    let bridge = home.start();
    samples::post(&bridge, &[CREATED]);
    bridge.settle();
    let python = documents::python(&home.prefix, &kafka::shared(), &home.registry());
    for line in [python, documents::javascript(&home), documents::java(&home, 0)] {
        assert!(line.starts_with("@TGS#2J4SZEAEL MyFirstGroup "), "{line}");
    }
}

#[test]
fn the_pages_reader_of_single_objects_prints_the_event() {
    let mut home = Home::new("single");
    home.without_timeline();
    home.set("SCHEMAS__FRAMING", "single-object");
    let bridge = home.start();
    samples::post(&bridge, &[CREATED]);
    bridge.settle();
    // The reader uses the schemas folder beside it.
    let line = documents::java(&home, 1);
    assert!(line.starts_with("@TGS#2J4SZEAEL MyFirstGroup "), "{line}");
}

#[test]
fn the_pages_command_lines_for_a_terminal_show_the_event() {
    let home = Home::new("terminal");
    let bridge = home.start();
    samples::post(&bridge, &[CREATED]);
    bridge.settle();
    let lines = documents::blocks("kcat", "sh");
    for (line, expected) in lines
        .iter()
        .zip(["@TGS#2J4SZEAEL ce_specversion=1.0,", "\"kind\":\"group.created\""])
    {
        // `imbridge` in the command is the program under test. It exits after one event.
        let line = line
            .replace("localhost:9092", &kafka::shared())
            .replace("im.timeline", &format!("{}.timeline", home.prefix))
            .replace("imbridge tail", &format!("{PROGRAM} tail"))
            .replace("imbridge.toml", &home.config().display().to_string())
            .replace("--count 10", "--count 1");
        let (code, out, error) = run(Command::new("sh").args(["-c", &line]).envs(home.variables()));
        assert_eq!(code, Some(0), "{line}: {error}");
        assert!(out.contains(expected), "{line}: {out}");
    }
    assert_eq!(lines.len(), 2);
}

/// Each `imbridge schemas ddl` of the pages, without the redirection of its output.
#[test]
fn the_pages_lines_that_make_tables_print_statements() {
    let pages = std::fs::read_dir("docs/consumers").expect("it is there");
    let mut count = 0;
    for page in pages.map(|page| page.expect("it can be listed").path()) {
        let text = std::fs::read_to_string(&page).expect("text");
        for line in text.lines().filter(|line| line.starts_with("imbridge schemas ddl")) {
            let arguments = line
                .split([' ', '\n'])
                .skip(1)
                .take_while(|word| !["|", ">"].contains(word));
            let (code, printed, error) = run(Command::new(PROGRAM).args(arguments));
            assert_eq!(code, Some(0), "{page:?}: {line}: {error}");
            assert!(!printed.contains("<<"), "{printed}");
            count += 1;
        }
    }
    assert_eq!(count, 3);
}
