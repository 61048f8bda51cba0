//! `imbridge check` reports everything that Kafka would refuse or never answer, before anything is published, with the
//! cause and the remedy. Each row of the table in `docs/reference/kafka-errors.md` is provoked on a real Kafka, and the
//! table has no other rows.

use std::collections::BTreeSet;

use crate::support::admin::Admin;
use crate::support::bridge::Home;
use crate::support::kafka::{Doors, Kafka, PASSWORD};
use crate::support::reader::consume;
use crate::support::{eventually, run};

const SASL: &str = "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"imbridge\"\n\"sasl.password\" = \"env:KAFKA_PASSWORD\"\n";

/// The rows that were provoked so far.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    /// Notes that a line of `check`'s output has the message of this row, and returns the line.
    fn note(&mut self, output: &str, row: &'static str) -> String {
        let found = output.lines().find(|line| holds(line, row));
        let line = found.unwrap_or_else(|| panic!("no line has {row:?}:\n{output}"));
        self.0.insert(row);
        line.to_owned()
    }
}

/// Whether a line contains the pieces of a message in order. `<this>` stands for any text.
fn holds(line: &str, message: &str) -> bool {
    let pieces = message
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, rest)| rest));
    let mut rest = line;
    pieces.into_iter().all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// The messages of the table, from its first column.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string("docs/reference/kafka-errors.md").expect("it is there");
    let messages = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    messages.collect()
}

fn check(home: &Home) -> (bool, String) {
    let (code, output, errors) = run(&mut home.command("check"));
    let output = output + &errors;
    assert!(!output.contains(PASSWORD), "the password is printed: {output}");
    (code == Some(0), output)
}

fn fails(home: &Home) -> String {
    let (well, output) = check(home);
    assert!(!well, "nothing is wrong:\n{output}");
    output
}

fn works(home: &Home) -> String {
    let (well, output) = check(home);
    assert!(well, "{output}");
    output
}

fn home(name: &str, brokers: &str) -> Home {
    let mut home = Home::with_brokers(name, brokers);
    home.set("KAFKA__MAX_MESSAGE_BYTES", "2097152");
    home
}

fn user(name: &str, doors: &Doors) -> Home {
    let mut home = home(name, &doors.sasl);
    home.environment("KAFKA_PASSWORD", PASSWORD);
    let ca = doors.certificates.join("ca.crt");
    home.configure(&format!("{SASL}\"ssl.ca.location\" = \"{}\"", ca.display()));
    home
}

#[test]
fn check_reports_everything_that_kafka_refuses_with_cause_and_remedy() {
    let (kafka, doors) = Kafka::strict("strict");
    let mut seen = Seen::default();
    unreachable(&mut seen);
    not_let_in(&doors, &mut seen);
    rights(&kafka, &doors, &mut seen);
    transactions(&kafka, &doors, &mut seen);
    demands(&kafka, &mut seen);
    let documented = documented();
    let provoked: BTreeSet<String> = seen.0.iter().map(|row| (*row).to_owned()).collect();
    assert_eq!(
        documented, provoked,
        "the rows of the table, and those that were provoked"
    );
}

/// Covers a closed port, an unknown name, a server that is not Kafka, and a broker that advertises another address.
fn unreachable(seen: &mut Seen) {
    let refused = fails(&home("nobody", "127.0.0.1:1"));
    seen.note(&refused, "<address> of kafka.brokers cannot be reached (");
    let unnamed = fails(&home("unnamed", "no-such-host.invalid:9092"));
    seen.note(&unnamed, "the name in <address> of kafka.brokers is not resolved (");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = silent.local_addr().expect("it is bound").to_string();
    let silence = fails(&home("silent", &address));
    seen.note(
        &silence,
        "<address> of kafka.brokers accepts connections and does not answer",
    );

    let astray = Kafka::create("astray", 1, &["advertised.listeners=PLAINTEXT://127.0.0.1:1"]);
    let output = fails(&home("astray", &astray.brokers));
    let line = seen.note(
        &output,
        "broker <id> is advertised as <address> and cannot be reached from here (",
    );
    assert!(
        line.contains("broker 1 is advertised as 127.0.0.1:1 ") && line.contains("advertised.listeners"),
        "{line}"
    );
}

fn not_let_in(doors: &Doors, seen: &mut Seen) {
    let mut wrong = user("wrong", doors);
    wrong.environment("KAFKA_PASSWORD", "Wr0ngPassw0rdOfTheTest");
    seen.note(
        &fails(&wrong),
        "Kafka refuses the bridge's credentials: check sasl.mechanism, sasl.username and sasl.password",
    );
    let mut distrusted = home("distrusted", &doors.sasl);
    distrusted.environment("KAFKA_PASSWORD", PASSWORD);
    let other = doors.certificates.join("other.crt");
    distrusted.configure(&format!("{SASL}\"ssl.ca.location\" = \"{}\"", other.display()));
    seen.note(
        &fails(&distrusted),
        "the TLS handshake with Kafka failed: check ssl.ca.location",
    );
}

/// One right after another is taken away. The command in each message gives it back.
fn rights(kafka: &Kafka, doors: &Doors, seen: &mut Seen) {
    let home = user("rights", doors);
    let allow = |operations: &[&str]| {
        let rights: Vec<_> = operations
            .iter()
            .map(|operation| (*operation, "TOPIC", home.prefix.as_str()))
            .collect();
        kafka.allow(&rights);
    };
    let give = format!(
        "kafka-acls.sh --bootstrap-server {} --add --allow-principal User:imbridge",
        doors.sasl
    );
    let mut lacks = |output: &str, row, command: &str| {
        let line = seen.note(output, row);
        assert!(line.contains(&give) && line.contains(command), "{line}");
    };
    let all = format!("--topic {}. --resource-pattern-type prefixed", home.prefix);
    allow(&[]);
    lacks(
        &fails(&home),
        "<user> lacks Describe on ",
        &format!("--operation Describe {all}"),
    );
    allow(&["DESCRIBE"]);
    let output = fails(&home);
    lacks(
        &output,
        "<user> lacks Create on ",
        &format!("--operation Create {all} (Kafka: "),
    );
    allow(&["DESCRIBE", "CREATE"]);
    let output = works(&home);
    assert!(output.contains(".dead-letter: missing, serve creates it"), "{output}");
    let (code, output, errors) = run(&mut home.command("topics apply"));
    assert_eq!(code, Some(0), "{output}{errors}");

    allow(&["READ", "DESCRIBE_CONFIGS"]);
    lacks(
        &fails(&home),
        "<user> lacks Write on ",
        &format!("--operation Write {all}"),
    );
    allow(&["WRITE", "DESCRIBE_CONFIGS"]);
    lacks(
        &fails(&home),
        "<user> lacks Read on ",
        &format!("--operation Read {all}"),
    );
    allow(&["READ", "WRITE"]);
    let output = works(&home);
    lacks(
        &output,
        "<user> lacks DescribeConfigs on ",
        &format!("--operation DescribeConfigs {all}"),
    );
    allow(&["READ", "WRITE", "DESCRIBE_CONFIGS"]);
    let output = works(&home);
    assert!(
        !output.contains("lacks") && output.contains("max.message.bytes is at least 2097152"),
        "{output}"
    );
}

/// The transactional id is used for real, unless another bridge may be using it.
fn transactions(kafka: &Kafka, doors: &Doors, seen: &mut Seen) {
    let mut home = user("transactions", doors);
    home.set("KAFKA__DELIVERY", "transactional");
    let id = format!("imbridge.{}.", home.prefix);
    let topics: Vec<_> = ["READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS"]
        .map(|operation| (operation, "TOPIC", home.prefix.as_str()))
        .to_vec();
    kafka.allow(&topics);
    let (code, output, errors) = run(&mut home.command("topics apply"));
    assert_eq!(code, Some(0), "{output}{errors}");
    let line = seen.note(
        &fails(&home),
        "<user> lacks Write or Describe on the transactional id <id>",
    );
    assert!(
        line.contains(&format!(
            "--operation Write --operation Describe --transactional-id {id}"
        )),
        "{line}"
    );

    let ids = ["WRITE", "DESCRIBE"].map(|operation| (operation, "TRANSACTIONAL_ID", id.as_str()));
    kafka.allow(&[&topics[..], &ids].concat());
    let output = works(&home);
    assert!(
        output.contains("was taken over, a transaction begun and aborted"),
        "{output}"
    );
    let seen_by_others = consume(&kafka.brokers, &home.prefix, &home.schemas());
    assert!(
        seen_by_others.is_empty(),
        "check leaves nothing behind: {seen_by_others:?}"
    );
    // Without the right to read the checkpoint, the trial is skipped: it would never end.
    kafka.allow(&[&topics[1..], &ids].concat());
    let output = fails(&home);
    assert!(
        output.contains("lacks Read on the topic") && output.contains("not tried: rights are missing"),
        "{output}"
    );
    kafka.allow(&[&topics[..], &ids].concat());

    let bridge = home.start();
    let body = "{\"CallbackCommand\":\"Group.CallbackAfterCreateGroup\",\"GroupId\":\"g\",\"Name\":\"n\"}";
    assert_eq!(bridge.post("Group.CallbackAfterCreateGroup", body).status, 200);
    bridge.settle();
    let (_, output) = check(&home);
    assert!(
        output.contains("transactions: not tried"),
        "a bridge runs on the spool: {output}"
    );
    home.set("SPOOL__DIR", home.path().join("another").display().to_string());
    seen.note(&works(&home), "<id> is not tried: <spool> published last by it");
    let took_over = |log: &str| log.matches("took over publishing").count();
    let before = took_over(&bridge.log());
    assert_eq!(bridge.post("Group.CallbackAfterCreateGroup", body).status, 200);
    bridge.settle();
    assert_eq!(took_over(&bridge.log()), before, "the bridge was fenced off by check");
}

/// Topics that the cluster refuses to create, and existing topics that refuse messages.
fn demands(kafka: &Kafka, seen: &mut Seen) {
    let mut home = home("demands", &kafka.brokers);
    home.set("KAFKA__MAX_MESSAGE_BYTES", "5000000");
    let output = fails(&home);
    let line = seen.note(&output, "the cluster does not accept kafka.max_message_bytes = <bytes>");
    assert!(
        line.contains("= 5000000 exceeded the most of 4194304"),
        "the broker's own error message: {line}"
    );
    home.set("KAFKA__MAX_MESSAGE_BYTES", "2097152");
    home.set("KAFKA__REPLICATION_FACTOR", "3");
    seen.note(
        &fails(&home),
        "the cluster has fewer brokers than kafka.replication_factor = <number>",
    );
    home.set("KAFKA__REPLICATION_FACTOR", "1");
    home.set("KAFKA__CREATE_TOPICS", "never");
    let line = seen.note(
        &fails(&home),
        "the topic <topic> is missing, and kafka.create_topics does not let the bridge create it",
    );
    assert!(line.contains("kafka-topics.sh --bootstrap-server"), "{line}");

    let (code, output, errors) = run(&mut home.command("topics apply"));
    assert_eq!(code, Some(0), "{output}{errors}");
    let topic = format!("{}.dead-letter", home.prefix);
    let altered = [("cleanup.policy", "compact"), ("max.message.bytes", "1000000")];
    Admin::of(&kafka.brokers).configure(&topic, &altered);
    let is_reported = |output: &String| output.contains("cleanup.policy is compact");
    let output = eventually("the new settings", || Some(works(&home)).filter(is_reported));
    seen.note(
        &output,
        "max.message.bytes is <bytes>, <bytes> is wanted: a larger event becomes a dead letter",
    );
    seen.note(
        &output,
        "cleanup.policy is <policy>, delete is wanted: compaction keeps only the last event of each key",
    );
}
