//! `imbridge topics plan|apply`: the topics that the bridge publishes to, beside what Kafka has. Thin: what is wanted and
//! what a difference means is `publish`'s.

use std::io::Write;

use anyhow::{Error, Result, bail};
use clap::{Args, Subcommand};
use prometheus::Registry;
use serde_json::{Value, json};

use super::Common;
use crate::app::{Config, load_schemas};
use crate::forward::{self, Composer};
use crate::publish::{self, Drift, Finding, TopicPlan};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Say what is missing and what differs, with the command that mends it. Changes nothing.
    ///
    /// Exits with 1 when something is missing or differs.
    Plan(Options),
    /// Create the topics that are missing, whatever kafka.create_topics says. Topics that are there stay as they are.
    ///
    /// Exits with 1 when a topic is of no use to the bridge afterwards.
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

/// How many commands have a schema, and every topic that the senders of this configuration can fill.
pub(super) fn wanted(config: &Config) -> Result<(usize, Vec<String>)> {
    let (catalogue, commands) = load_schemas(config)?;
    let count = catalogue.commands().len();
    let metrics = forward::Metrics::new(&Registry::new())?;
    let composer = Composer::new(catalogue, commands, &config.kafka, "plan", metrics);
    Ok((count, composer.topics_of(&config.providers())))
}

/// Those of the topics that are of these commands; all where none is named.
fn chosen(config: &Config, topics: Vec<String>, commands: &[String]) -> Result<Vec<String>> {
    let mut chosen = Vec::new();
    for command in commands {
        let of_command = |topic: &&String| {
            let names = config
                .providers()
                .into_iter()
                .map(|provider| publish::command_topic(&config.kafka.topic_prefix, provider.as_str(), command));
            names.into_iter().any(|name| name == **topic)
        };
        let found: Vec<&String> = topics.iter().filter(of_command).collect();
        if found.is_empty() {
            bail!(
                "--command {command}: no schema of the configured senders has this command; imbridge schemas list has all"
            );
        }
        chosen.extend(found.into_iter().cloned());
    }
    Ok(if commands.is_empty() { topics } else { chosen })
}

/// Whether the topics are as the verb wants them.
pub(super) fn run(config: &Config, verb: &Verb) -> Result<bool> {
    let options = verb.options();
    let json = options.common.json;
    let topics = chosen(config, wanted(config)?.1, &options.commands)?;
    let plans = plan(config, &topics)?;
    let well = match verb {
        Verb::Plan(_) => {
            print(config, &plans, json)?;
            plans
                .iter()
                .all(|plan| plan.drift.is_empty() && plan.is_usable() && plan.finding != Finding::Missing)
        }
        Verb::Apply(_) => {
            let missing = missing(&plans);
            publish::create(&config.kafka, &missing)?;
            let plans = plan(config, &topics)?;
            print(config, &plans, json)?;
            if !json {
                writeln!(std::io::stdout(), "{} topics created", missing.len())?;
            }
            plans.iter().all(TopicPlan::is_usable)
        }
    };
    Ok(well)
}

fn plan(config: &Config, topics: &[String]) -> Result<Vec<TopicPlan>> {
    let metadata = publish::connect(&config.kafka).map_err(Error::msg)?;
    if let [cause, ..] = publish::unreachable_brokers(&metadata).as_slice() {
        bail!("{cause}");
    }
    Ok(publish::plan(&config.kafka, topics)?)
}

/// The topics that are not there.
pub(super) fn missing(plans: &[TopicPlan]) -> Vec<String> {
    let missing = plans.iter().filter(|plan| plan.finding == Finding::Missing);
    missing.map(|plan| plan.topic.clone()).collect()
}

/// A difference in one line.
pub(super) fn words(drift: &Drift) -> String {
    let (found, wanted) = (&drift.found, &drift.wanted);
    format!("{} is {found}, {wanted} is wanted: {}", drift.name, drift.effect)
}

/// The command of Kafka's own tools that ends a difference.
pub(super) fn alter_setting(brokers: &str, topic: &str, drift: &Drift) -> String {
    let Drift { name, wanted, .. } = drift;
    format!("kafka-configs.sh --bootstrap-server {brokers} --alter --topic {topic} --add-config {name}={wanted}")
}

/// The command of Kafka's own tools that gives a topic so many partitions.
pub(super) fn alter_partitions(brokers: &str, topic: &str, partitions: i32) -> String {
    format!("kafka-topics.sh --bootstrap-server {brokers} --alter --topic {topic} --partitions {partitions}")
}

fn print(config: &Config, plans: &[TopicPlan], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let topics: Vec<Value> = plans.iter().map(|plan| machine(config, plan)).collect();
        writeln!(out, "{:#}", json!({ "topics": topics }))?;
        return Ok(());
    }
    for plan in plans {
        write!(out, "{}", lines(config, plan))?;
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

/// What there is to say of a topic, and the command of Kafka's own tools that mends it.
fn lines(config: &Config, plan: &TopicPlan) -> String {
    let (topic, wanted, brokers) = (&plan.topic, config.kafka.partitions, &config.kafka.brokers);
    let replicas = plan.replicas;
    let mut text = match plan.finding {
        Finding::Fits => format!("ok      {topic}: {wanted} partitions, {replicas} replicas\n"),
        Finding::Missing => {
            let settings: Vec<_> = plan
                .config
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!(
                "create  {topic}: {wanted} partitions, {} replicas, {}\n",
                config.kafka.replication_factor,
                settings.join(", ")
            )
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
        text.push_str(&format!("{mark:<7} {topic}: {}\n        {command}\n", words(drift)));
    }
    text
}

fn machine(config: &Config, plan: &TopicPlan) -> Value {
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
