//! What `serve` needs of Kafka: brokers that can be reached under the addresses that they tell, topics that fit or could be
//! created, the rights to use them, and a transactional id. What is wrong and what mends it is `publish`'s to say.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;

use super::{Report, topics};
use crate::publish::{self, Config, Delivery, Doing, Finding, TopicPlan, Trial};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A line for each finding; `spool` is the spool's name where it could be opened.
pub(super) fn check(config: &Config, topics: &[String], spool: Option<&str>, report: &mut Report) {
    let metadata = match metadata(config) {
        Ok(metadata) => metadata,
        Err(cause) => return report.line("FAIL", "kafka", cause),
    };
    let brokers = metadata.brokers().len();
    report.line("ok", "kafka", format!("{brokers} brokers answer at {}", config.brokers));
    let unreachable = publish::unreachable_brokers(&metadata);
    for cause in &unreachable {
        report.line("FAIL", "kafka", cause);
    }
    if unreachable.len() == brokers {
        // Whatever is asked next is asked there.
        return;
    }
    let unseen = rights(config, topics, report);
    let seen: Vec<String> = topics
        .iter()
        .filter(|topic| !unseen.contains(*topic))
        .cloned()
        .collect();
    let plans = match publish::plan(config, &seen) {
        Ok(plans) => plans,
        Err(cause) => return report.line("FAIL", "kafka", cause),
    };
    plans.iter().for_each(|plan| topic(config, plan, report));
    let is_there = |plan: &&TopicPlan| plan.finding != Finding::Missing;
    let there: Vec<String> = plans.iter().filter(is_there).map(|plan| plan.topic.clone()).collect();
    if !there.is_empty() {
        match publish::message_limits(config, &there) {
            Ok(limits) => report.line("ok", "kafka", limits),
            Err(cause) => report.line("warn", "kafka", cause),
        }
    }
    trials(config, &plans, spool, report);
}

fn metadata(config: &Config) -> Result<Metadata, String> {
    let reached = |cause: &KafkaError| publish::diagnosis(config, &Doing::Connect, cause, None);
    let client = publish::consumer(config, "imbridge-check", &[]).map_err(|cause| reached(&cause))?;
    client
        .fetch_metadata(None, TIMEOUT)
        .map_err(|cause| match publish::refusal(&client) {
            Some(advice) => format!(
                "{} refuses, or is refused: {advice} in kafka.properties",
                config.brokers
            ),
            None => reached(&cause),
        })
}

/// Says which rights are missing; gives the topics of which it cannot be seen whether they are there.
fn rights(config: &Config, topics: &[String], report: &mut Report) -> HashSet<String> {
    let lacks = match publish::lacks(config, topics) {
        Ok(lacks) => lacks,
        Err(cause) => {
            report.line("FAIL", "rights", cause);
            return HashSet::new();
        }
    };
    if lacks.is_empty() {
        report.line("ok", "rights", "all that is needed on the topics that are there");
    }
    for lack in &lacks {
        report.line(if lack.fatal { "FAIL" } else { "warn" }, "rights", &lack.text);
    }
    lacks.into_iter().flat_map(|lack| lack.unseen).collect()
}

fn topic(config: &Config, plan: &TopicPlan, report: &mut Report) {
    let wanted = config.partitions;
    match plan.finding {
        Finding::Fits => {
            report.line("ok", &plan.topic, format!("{wanted} partitions"));
        }
        Finding::Missing if publish::creates_topics(config) => {}
        Finding::Missing => report.line("FAIL", &plan.topic, publish::absent(config, &plan.topic)),
        Finding::MorePartitions(found) => report.line(
            "warn",
            &plan.topic,
            format!("{found} partitions, kafka.partitions is {wanted}: keys stay in the first {wanted}"),
        ),
        Finding::TooFewPartitions(found) => report.line(
            "FAIL",
            &plan.topic,
            format!("{found} partitions, kafka.partitions is {wanted}: add partitions or lower the key"),
        ),
    }
    for drift in &plan.drift {
        let mark = if drift.fatal { "FAIL" } else { "warn" };
        report.line(mark, &plan.topic, topics::words(drift));
    }
}

/// What would be created, and used, on trial.
fn trials(config: &Config, plans: &[TopicPlan], spool: Option<&str>, report: &mut Report) {
    let missing: Vec<String> = plans
        .iter()
        .filter(|plan| plan.finding == Finding::Missing)
        .map(|plan| plan.topic.clone())
        .collect();
    if publish::creates_topics(config) {
        match publish::refused_topics(config, &missing) {
            Ok(refused) => missing.iter().for_each(|topic| match refused.get(topic) {
                Some(cause) => report.line("FAIL", topic, cause),
                None => report.line(
                    "ok",
                    topic,
                    format!(
                        "missing, serve creates it; the cluster accepts max.message.bytes {}",
                        config.max_message_bytes
                    ),
                ),
            }),
            Err(cause) => report.line("FAIL", "topics", cause),
        }
    }
    if config.delivery != Delivery::Transactional {
        return;
    }
    let Some(spool) = spool else {
        return report.line(
            "warn",
            "transactions",
            "not tried, since the spool is not to be had: a bridge may run on it",
        );
    };
    let there = |topic: &str| {
        plans
            .iter()
            .any(|plan| plan.topic == topic && plan.finding != Finding::Missing)
    };
    match publish::try_transaction(config, spool, there) {
        Trial::Works(text) => report.line("ok", "transactions", text),
        Trial::Skipped(text) => report.line("warn", "transactions", text),
        Trial::Refused(text) => report.line("FAIL", "transactions", text),
    }
}
