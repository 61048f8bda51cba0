//! `imbridge topics plan|apply`: compares the topics that the bridge publishes to with those in Kafka. `publish` knows
//! what is wanted and what a difference means.

use std::io::Write;

use anyhow::{Error, Result, bail};
use clap::{Args, Subcommand};
use prometheus::Registry;
use serde_json::{Value, json};

use super::Common;
use crate::app::{Config, load_schemas};
use crate::callback::Provider;
use crate::forward::{self, Composer};
use crate::publish::{self, Drift, Finding, TopicPlan};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Print which topics are missing or differ, with the command that corrects each difference. Changes nothing.
    ///
    /// Exits with 1 if a topic is missing or differs.
    Plan(Options),
    /// Create missing topics, whatever kafka.create_topics is. Does not change existing topics.
    ///
    /// Exits with 1 if the bridge cannot use a topic afterwards.
    Apply(Options),
}

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub common: Common,
    /// Only the topic of this command; may be given several times.
    #[arg(long = "command", value_name = "NAME")]
    commands: Vec<String>,
}

impl Verb {
    pub fn options(&self) -> &Options {
        let (Verb::Plan(options) | Verb::Apply(options)) = self;
        options
    }
}

/// The number of commands with a schema, and every topic that events from the configured senders can go to.
pub(super) fn wanted(config: &Config) -> Result<(usize, Vec<String>)> {
    let (catalogue, commands) = load_schemas(config)?;
    let count = catalogue.commands().len();
    let metrics = forward::Metrics::new(&Registry::new())?;
    let composer = Composer::new(catalogue, commands, &config.kafka, "plan", metrics);
    Ok((count, composer.topics_of(&config.providers())))
}

/// The topics of these commands; all topics if `commands` is empty.
fn chosen(config: &Config, topics: Vec<String>, commands: &[String]) -> Result<Vec<String>> {
    if commands.is_empty() {
        return Ok(topics);
    }
    let mut chosen = Vec::new();
    for command in commands {
        let topic = |provider: Provider| publish::command_topic(&config.kafka.topic_prefix, provider.as_str(), command);
        let names: Vec<String> = config.providers().into_iter().map(topic).collect();
        let found: Vec<_> = topics.iter().filter(|topic| names.contains(topic)).cloned().collect();
        if found.is_empty() {
            bail!(
                "--command {command}: no schema of the configured senders has this command; see imbridge schemas list"
            );
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

/// For `plan`, whether Kafka's topics are as wanted; for `apply`, whether the bridge can use them.
pub(super) fn run(config: &Config, verb: &Verb) -> Result<bool> {
    let options = verb.options();
    let json = options.common.json;
    let topics = chosen(config, wanted(config)?.1, &options.commands)?;
    let plans = plan(config, &topics)?;
    if let Verb::Plan(_) = verb {
        print(config, &plans, json)?;
        let is_as_wanted =
            |plan: &TopicPlan| plan.drift.is_empty() && plan.is_usable() && plan.finding != Finding::Missing;
        return Ok(plans.iter().all(is_as_wanted));
    }
    let missing = missing(&plans);
    publish::create(&config.kafka, &missing)?;
    let plans = plan(config, &topics)?;
    print(config, &plans, json)?;
    if !json {
        writeln!(std::io::stdout(), "{} topics created", missing.len())?;
    }
    Ok(plans.iter().all(TopicPlan::is_usable))
}

fn plan(config: &Config, topics: &[String]) -> Result<Vec<TopicPlan>> {
    let metadata = publish::connect(&config.kafka).map_err(Error::msg)?;
    if let [cause, ..] = publish::unreachable_brokers(&metadata).as_slice() {
        bail!("{cause}");
    }
    Ok(publish::plan(&config.kafka, topics)?)
}

/// The topics that Kafka does not have.
pub(super) fn missing(plans: &[TopicPlan]) -> Vec<String> {
    let missing = plans.iter().filter(|plan| plan.finding == Finding::Missing);
    missing.map(|plan| plan.topic.clone()).collect()
}

/// A difference in one line.
pub(super) fn describe(drift: &Drift) -> String {
    let (found, wanted) = (&drift.found, &drift.wanted);
    format!("{} is {found}, {wanted} is wanted: {}", drift.name, drift.effect)
}

/// The command of Kafka's own tools that corrects a difference.
pub(super) fn alter_setting(brokers: &str, topic: &str, drift: &Drift) -> String {
    let Drift { name, wanted, .. } = drift;
    format!("kafka-configs.sh --bootstrap-server {brokers} --alter --topic {topic} --add-config {name}={wanted}")
}

/// The command of Kafka's own tools that gives a topic this number of partitions.
pub(super) fn alter_partitions(brokers: &str, topic: &str, partitions: i32) -> String {
    format!("kafka-topics.sh --bootstrap-server {brokers} --alter --topic {topic} --partitions {partitions}")
}

fn print(config: &Config, plans: &[TopicPlan], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let topics: Vec<Value> = plans.iter().map(|plan| as_json(config, plan)).collect();
        writeln!(out, "{:#}", json!({ "topics": topics }))?;
        return Ok(());
    }
    for plan in plans {
        write!(out, "{}", as_text(config, plan))?;
    }
    let missing = missing(plans).len();
    let differ = plans.iter().filter(|plan| !plan.drift.is_empty()).count();
    writeln!(
        out,
        "{} topics: {missing} missing, {differ} with another configuration",
        plans.len()
    )?;
    Ok(())
}

/// A topic's state and differences, with the commands of Kafka's own tools that correct them.
fn as_text(config: &Config, plan: &TopicPlan) -> String {
    let (topic, wanted, brokers) = (&plan.topic, config.kafka.partitions, &config.kafka.brokers);
    let replicas = plan.replicas;
    let mut text = match plan.finding {
        Finding::Fits => format!("ok      {topic}: {wanted} partitions, {replicas} replicas\n"),
        Finding::Missing => {
            let settings = plan.config.iter().map(|(name, value)| format!("{name}={value}"));
            let settings = settings.collect::<Vec<_>>().join(", ");
            let replicas = config.kafka.replication_factor;
            format!("create  {topic}: {wanted} partitions, {replicas} replicas, {settings}\n")
        }
        Finding::MorePartitions(found) => format!(
            "note    {topic}: {found} partitions, kafka.partitions is {wanted}: keys stay in the first {wanted}\n"
        ),
        Finding::TooFewPartitions(found) => format!(
            "FAIL    {topic}: {found} partitions, kafka.partitions is {wanted}: nothing is published\n        {}\n",
            alter_partitions(brokers, topic, wanted)
        ),
    };
    for drift in &plan.drift {
        let mark = if drift.fatal { "FAIL" } else { "differs" };
        let command = alter_setting(brokers, topic, drift);
        text.push_str(&format!("{mark:<7} {topic}: {}\n        {command}\n", describe(drift)));
    }
    text
}

fn as_json(config: &Config, plan: &TopicPlan) -> Value {
    let (state, partitions) = match plan.finding {
        Finding::Fits => ("fits", config.kafka.partitions as usize),
        Finding::Missing => ("missing", 0),
        Finding::MorePartitions(found) => ("more_partitions", found),
        Finding::TooFewPartitions(found) => ("too_few_partitions", found),
    };
    let drift = |drift: &Drift| {
        json!({
            "name": drift.name, "found": drift.found, "wanted": drift.wanted, "effect": drift.effect, "fatal": drift.fatal
        })
    };
    json!({
        "topic": plan.topic,
        "state": state,
        "partitions": partitions,
        "replicas": plan.replicas,
        "wanted": {"partitions": config.kafka.partitions, "replicas": config.kafka.replication_factor, "config": plan.config},
        "drift": plan.drift.iter().map(drift).collect::<Vec<_>>(),
    })
}
