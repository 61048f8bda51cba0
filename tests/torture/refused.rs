//! Permanent refusals under load: records that Kafka does not accept, and rights that are revoked and granted again.
//! Every event is in its topic in order, or in exactly one dead letter.

use std::time::Duration;

use crate::campaign::{Campaign, TOPICS, pass, rate};
use crate::size::size;
use crate::support::admin::Admin;
use crate::support::bridge::Home;
use crate::support::kafka::{Kafka, PASSWORD};
use crate::support::within;

const GRACE_S: u64 = 2;
/// A topic that was left out is tried again once a minute.
const TRIED_AGAIN: Duration = Duration::from_secs(90);
const SASL: &str = "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"imbridge\"\n\"sasl.password\" = \"env:KAFKA_PASSWORD\"\n";

#[test]
fn refused_events_are_dead_letters_once_and_the_others_go_on_in_order() {
    refusals("idempotent");
}

#[test]
fn the_same_with_transactions() {
    refusals("transactional");
}

fn refusals(delivery: &str) {
    let (kafka, doors) = Kafka::strict(&format!("refused-{delivery}"));
    let mut home = Home::with_brokers(&format!("refused-{delivery}"), &doors.sasl);
    home.set("KAFKA__DELIVERY", delivery);
    home.set("KAFKA__MAX_MESSAGE_BYTES", "2097152");
    home.set("KAFKA__REFUSAL_GRACE_S", GRACE_S.to_string());
    home.environment("KAFKA_PASSWORD", PASSWORD);
    let ca = doors.certificates.join("ca.crt");
    home.configure(&format!("{SASL}\"ssl.ca.location\" = \"{}\"", ca.display()));
    let prefix = home.prefix.clone();
    let ids = format!("imbridge.{prefix}");
    let [kept, refused] = TOPICS.map(|topic| format!("{prefix}.{topic}"));
    let letters = format!("{prefix}.dead-letter");
    let timeline = format!("{prefix}.timeline");
    let checkpoints = format!("{prefix}.checkpoints");
    let common = [
        ("IDEMPOTENT_WRITE", "BROKER", "kafka-cluster"),
        ("CREATE", "TOPIC", prefix.as_str()),
        ("READ", "TOPIC", &prefix),
        ("DESCRIBE_CONFIGS", "TOPIC", &prefix),
        ("WRITE", "TRANSACTIONAL_ID", &ids),
        ("DESCRIBE", "TRANSACTIONAL_ID", &ids),
        ("WRITE", "TOPIC", &kept),
        ("WRITE", "TOPIC", &letters),
        ("WRITE", "TOPIC", &timeline),
        ("WRITE", "TOPIC", &checkpoints),
    ];
    let all: Vec<_> = common
        .into_iter()
        .chain([("WRITE", "TOPIC", refused.as_str())])
        .collect();
    kafka.allow(&all);

    let mut campaign = Campaign::begin_with(&format!("refused {delivery}"), &kafka.brokers, home, rate());
    campaign.accept_refused();
    let admin = Admin::of(&kafka.brokers);
    for round in 1..=size("REFUSED", 1, 20) {
        let before = left_out(&campaign);
        campaign.fault(&format!("no right to write to a topic ({round})"), |campaign| {
            kafka.allow(&common);
            within(Duration::from_secs(60), "its events to become dead letters", || {
                (left_out(campaign) > before).then_some(())
            });
            // The missing right and the command that grants it, as `check` prints them.
            campaign.bridge.logged(&format!("lacks Write on the topic {refused}"));
            campaign.bridge.logged("--operation Write");
            pass(Duration::from_secs(3));
            let published = || campaign.bridge.metric(&["imbridge_messages_published_total", &kept]);
            let kept_before = published();
            within(Duration::from_secs(10), "the other topic to go on", || {
                (published() > kept_before + 50.0).then_some(())
            });
            kafka.allow(&all);
            let published = || campaign.bridge.metric(&["imbridge_messages_published_total", &refused]);
            let refused_before = published();
            within(TRIED_AGAIN, "the topic to be used again", || {
                (published() > refused_before + 50.0).then_some(())
            });
        });
        campaign.fault(&format!("records that are too old for a topic ({round})"), |campaign| {
            // If there are several in one batch, librdkafka reports InvalidRecord.
            let count = || {
                ["InvalidTimestamp", "InvalidRecord"]
                    .map(|error| campaign.bridge.metric(&["imbridge_refused_total", error]))
                    .iter()
                    .sum::<f64>()
            };
            let (before, logged) = (count(), logged_refusals(campaign));
            // On a quiet machine messages reach the broker within a few milliseconds. Transactions' markers must be younger
            // than the limit: the broker writes them and does not retry a refused one.
            let oldest_ms = if delivery == "idempotent" { "1" } else { "10" };
            let strict = [
                ("message.timestamp.type", "CreateTime"),
                ("message.timestamp.before.max.ms", oldest_ms),
                ("max.message.bytes", "2097152"),
            ];
            admin.configure(&refused, &strict);
            within(Duration::from_secs(60), "records to be refused", || {
                (logged_refusals(campaign) > logged).then_some(())
            });
            pass(Duration::from_secs(2));
            let easy = [
                ("message.timestamp.type", "LogAppendTime"),
                ("max.message.bytes", "2097152"),
            ];
            admin.configure(&refused, &easy);
            // With transactions this is checked only now, since Kafka applies the topic's limit to their markers too.
            within(Duration::from_secs(60), "dead letters of them", || {
                (count() > before).then_some(())
            });
        });
    }
    campaign.end();
}

/// How often the bridge has logged a refused record.
fn logged_refusals(campaign: &Campaign) -> usize {
    campaign.bridge.log().matches("Kafka refuses a record").count()
}

/// Events that became dead letters because their topic refused them.
fn left_out(campaign: &Campaign) -> f64 {
    campaign
        .bridge
        .metric(&["imbridge_dead_letters_total", "topic_refused"])
}
