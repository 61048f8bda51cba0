//! The sentence for each error. `tests/pipeline/ability.rs` tests them with a real broker's errors.

use super::*;
use crate::publish::Properties;

fn config() -> Config {
    Config {
        brokers: "kafka:9092".into(),
        properties: Properties::of(&[("security.protocol", "SASL_SSL"), ("sasl.username", "bridge")]),
        ..Config::default()
    }
}

fn assert_parts(doing: &Doing<'_>, code: RDKafkaErrorCode, message: &str, parts: &[&str]) {
    let text = diagnosis(&config(), doing, &KafkaError::AdminOp(code), Some(message));
    for part in parts.iter().chain([&message]) {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_missing_right_is_named_with_the_command_that_grants_it() {
    use RDKafkaErrorCode as Code;
    let grant = "kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:bridge";
    for (doing, operation) in [
        (Doing::Create("im.a.B"), "Create"),
        (Doing::Write("im.a.B"), "Write"),
        (Doing::ReadBack("im.a.B"), "Read"),
    ] {
        let lacks = format!("User:bridge lacks {operation} on the topic im.a.B");
        let command = format!("{grant} --operation {operation} --topic im.a.B");
        assert_parts(&doing, Code::TopicAuthorizationFailed, "no", &[&lacks, &command]);
    }
    let cluster = [
        "lacks IdempotentWrite on the cluster",
        "--operation IdempotentWrite --cluster",
    ];
    assert_parts(
        &Doing::Write("im.a.B"),
        Code::ClusterAuthorizationFailed,
        "no",
        &cluster,
    );
    let id = Doing::InitTransactions("imbridge.im.a");
    let transactions = ["--operation Write --operation Describe --transactional-id imbridge.im.a"];
    assert_parts(&id, Code::TransactionalIdAuthorizationFailed, "no", &transactions);
    let any = ["--transactional-id imbridge.im. --resource-pattern-type prefixed"];
    assert_parts(
        &Doing::Write("im.a.B"),
        Code::TransactionalIdAuthorizationFailed,
        "no",
        &any,
    );
}

#[test]
fn one_command_grants_a_right_on_many_topics() {
    let topics = vec!["im.a.A", "im.a.B", "im.a.C", "im.a.D"];
    let text = lack(
        &config(),
        &[Operation::Write],
        &Resource::Topics(topics),
        purpose(Operation::Write),
    );
    assert!(
        text.contains("on 4 topics (im.a.A, im.a.B, im.a.C and 1 more)"),
        "{text}"
    );
    assert!(
        text.ends_with("--operation Write --topic im. --resource-pattern-type prefixed"),
        "{text}"
    );
}

#[test]
fn a_rejected_setting_is_named_by_its_key() {
    use RDKafkaErrorCode as Code;
    let create = Doing::Create("im.a.B");
    let largest = ["does not accept kafka.max_message_bytes = "];
    assert_parts(
        &create,
        Code::PolicyViolation,
        "max.message.bytes must be in 1..8388608",
        &largest,
    );
    assert_parts(
        &create,
        Code::PolicyViolation,
        "too many partitions",
        &["kafka.partitions = 12"],
    );
    assert_parts(
        &create,
        Code::PolicyViolation,
        "no",
        &["one of kafka.max_message_bytes", "kafka.replication_factor = 3"],
    );
    assert_parts(
        &create,
        Code::InvalidReplicationFactor,
        "1 broker",
        &["fewer brokers than kafka.replication_factor = 3"],
    );
    assert_parts(
        &Doing::Write("im.a.B"),
        Code::MessageSizeTooLarge,
        "no",
        &["--add-config max.message.bytes="],
    );
}

#[test]
fn an_error_without_explanation_keeps_kafkas_error_message() {
    let text = diagnosis(
        &config(),
        &Doing::Write("im.a.B"),
        &KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas),
        None,
    );
    assert!(
        text.starts_with("cannot publish to the topic im.a.B at kafka:9092: "),
        "{text}"
    );
    let refused = KafkaError::Global(RDKafkaErrorCode::Authentication);
    let text = diagnosis(&config(), &Doing::Connect, &refused, Some("wrong password"));
    assert!(
        text.contains("sasl.password") && text.contains("(wrong password)"),
        "{text}"
    );
}

#[test]
fn the_sentence_for_a_missing_topic_depends_on_create_topics() {
    let mut config = config();
    let error = KafkaError::MessageProduction(RDKafkaErrorCode::UnknownTopicOrPartition);
    let text = |config: &Config| diagnosis(config, &Doing::Write("im.a.B"), &error, None);
    assert!(text(&config).contains("its first event creates it"));
    config.create_topics = CreateTopics::Never;
    assert!(text(&config).contains("--create --topic im.a.B --partitions 12 --replication-factor 3"));
}

#[test]
fn the_principal_comes_from_the_properties() {
    let principal = |pairs: &[(&str, &str)]| {
        super::principal(&Config {
            properties: Properties::of(pairs),
            ..Config::default()
        })
    };
    assert_eq!(principal(&[]), "User:ANONYMOUS");
    assert_eq!(
        principal(&[("security.protocol", "ssl")]),
        "'User:<subject of ssl.certificate.location>'"
    );
    assert_eq!(
        principal(&[("security.protocol", "sasl_ssl")]),
        "'User:<name in the credentials>'"
    );
    let spaced = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.username", "a b")];
    assert_eq!(principal(&spaced), "'User:a b'");
}
