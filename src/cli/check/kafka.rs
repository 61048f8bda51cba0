//! What `serve` needs of Kafka: brokers that are reachable at the addresses that they advertise, topics that fit or can
//! be created, the rights to use them, and a transactional id. `publish` has the texts of faults and remedies.

use std::collections::HashSet;

use super::{Report, topics};
use crate::publish::{self, Config, Delivery, Finding, Lack, TopicPlan, Trial};

/// Prints a line for each finding. `spool` is the spool's name, if it could be opened.
pub(super) fn check(config: &Config, topics: &[String], spool: Option<&str>, report: &mut Report) {
    let Some(metadata) = report.found("kafka", publish::connect(config)) else {
        return;
    };
    let brokers = metadata.brokers().len();
    report.line("ok", "kafka", format!("{brokers} brokers answer at {}", config.brokers));
    let unreachable = publish::unreachable_brokers(&metadata);
    for cause in &unreachable {
        report.line("FAIL", "kafka", cause);
    }
    if unreachable.len() == brokers {
        // All further requests go to these brokers.
        return;
    }
    let lacks = lacks(config, topics, report);
    // This user may not see whether these topics exist.
    let unseen: HashSet<_> = lacks.iter().flatten().flat_map(|lack| &lack.unseen).collect();
    let seen: Vec<String> = topics.iter().filter(|topic| !unseen.contains(topic)).cloned().collect();
    let Some(plans) = report.found("kafka", publish::plan(config, &seen)) else {
        return;
    };
    plans.iter().for_each(|plan| topic(config, plan, report));
    let is_there = |plan: &&TopicPlan| plan.finding != Finding::Missing;
    let there: Vec<String> = plans.iter().filter(is_there).map(|plan| plan.topic.clone()).collect();
    match publish::message_limits(config, &there) {
        Ok(limits) => report.line("ok", "kafka", limits),
        Err(cause) => report.line("warn", "kafka", cause),
    }
    create(config, &plans, report);
    if config.delivery == Delivery::Transactional {
        let trial = match spool {
            None => Trial::Skipped("not tried: the spool could not be opened, a bridge may be running on it".into()),
            // Without the rights, the trial would wait for an answer that never comes.
            Some(_) if lacks.is_none_or(|lacks| lacks.iter().any(|lack| lack.fatal)) => {
                Trial::Skipped("not tried: rights are missing".into())
            }
            Some(spool) => publish::try_transaction(config, spool, |topic| there.iter().any(|name| name == topic)),
        };
        let (mark, text) = match trial {
            Trial::Works(text) => ("ok", text),
            Trial::Skipped(text) => ("warn", text),
            Trial::Refused(text) => ("FAIL", text),
        };
        report.line(mark, "transactions", text);
    }
}

/// Prints which rights are missing. Nothing if that is unknown.
fn lacks(config: &Config, topics: &[String], report: &mut Report) -> Option<Vec<Lack>> {
    let lacks = report.found("rights", publish::lacks(config, topics))?;
    if lacks.is_empty() {
        report.line("ok", "rights", "all that are needed on existing topics");
    }
    for lack in &lacks {
        report.line(if lack.fatal { "FAIL" } else { "warn" }, "rights", &lack.text);
    }
    Some(lacks)
}

fn topic(config: &Config, plan: &TopicPlan, report: &mut Report) {
    let wanted = config.partitions;
    match plan.finding {
        Finding::Fits => report.line("ok", &plan.topic, format!("{wanted} partitions")),
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
            format!(
                "{found} partitions, kafka.partitions is {wanted}: lower the key, or {}",
                topics::alter_partitions(&config.brokers, &plan.topic, wanted)
            ),
        ),
    }
    for drift in &plan.drift {
        let mark = if drift.fatal { "FAIL" } else { "warn" };
        let command = topics::alter_setting(&config.brokers, &plan.topic, drift);
        report.line(mark, &plan.topic, format!("{}: {command}", topics::describe(drift)));
    }
}

/// Asks Kafka whether it would create the missing topics; creates none.
fn create(config: &Config, plans: &[TopicPlan], report: &mut Report) {
    if !publish::creates_topics(config) {
        return;
    }
    let missing = topics::missing(plans);
    let Some(refusals) = report.found("topics", publish::refused_topics(config, &missing)) else {
        return;
    };
    for refusal in &refusals {
        report.line("FAIL", "topics", &refusal.text);
    }
    let refused: HashSet<_> = refusals.iter().flat_map(|refusal| &refusal.topics).collect();
    for topic in missing.iter().filter(|topic| !refused.contains(topic)) {
        report.line("ok", topic, "missing, serve creates it: the cluster accepts it");
    }
}
