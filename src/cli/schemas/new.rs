//! `imbridge schemas new`: drafts a schema from samples.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::cli::consume::{Reading, Start, header};
use crate::cli::load;
use crate::publish;
use crate::schema::{Draft, OrderedJson, draft};

/// If nothing arrives from the topic for this time, reading ends.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct Options {
    /// The provider's folder.
    #[arg(long)]
    provider: String,
    /// The command as on the wire.
    #[arg(long)]
    command: String,
    /// Files with sample bodies: one or more JSON values each, such as a consumer of the unknown topic prints.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present_any = ["from_unmapped", "from_topic"])]
    from: Vec<PathBuf>,
    /// Files with the `unmapped` maps of records, one per line: {"MemberList/0/Foo": "1"}.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from_unmapped: Vec<PathBuf>,
    /// The topic of a provider's unknown commands, which holds raw bodies. It is read from its beginning.
    #[arg(long, value_name = "TOPIC", requires = "where")]
    from_topic: Option<String>,
    /// The brokers of --from-topic, if they need no password or certificate: host:port, separated by commas.
    #[arg(long, value_name = "BROKERS", group = "where")]
    brokers: Option<String>,
    /// The bridge's configuration, for --from-topic: it has kafka.brokers and kafka.properties (passwords,
    /// certificates).
    #[arg(long, value_name = "FILE", group = "where")]
    config: Option<PathBuf>,
    /// At most this number of bodies is read from the topic.
    #[arg(long, default_value_t = 1000)]
    max: usize,
    /// The key expression of a new command.
    #[arg(long, value_name = "EXPR")]
    key: Option<String>,
    /// The phase of a new command. With "before", the IM server waits for the answer.
    #[arg(long, value_parser = ["after", "before"], default_value = "after")]
    phase: String,
}

pub(super) fn run(dir: &Path, options: &Options) -> Result<()> {
    let kafka = options.config.as_deref().map(|path| load(path).kafka);
    let mut bodies = read(&options.from)?;
    if let Some(topic) = &options.from_topic {
        let at = |brokers: &String| publish::Config {
            brokers: brokers.clone(),
            ..publish::Config::default()
        };
        let kafka = kafka.or(options.brokers.as_ref().map(at));
        let kafka = kafka.context("--from-topic needs --brokers or --config")?;
        bodies.extend(read_topic(&kafka, topic, &options.command, options.max)?);
    }
    let first = bodies.first().map(|body| body.get().to_owned());
    let drafted = draft(
        dir,
        &Draft {
            provider: options.provider.clone(),
            command: options.command.clone(),
            key: options.key.clone(),
            phase: options.phase.clone(),
            bodies: samples(&bodies)?,
            sample: first.unwrap_or_default(),
            unmapped: samples(&read(&options.from_unmapped)?)?,
        },
    )?;
    for path in drafted.files {
        println!("wrote {}", path.display());
    }
    for note in drafted.notes {
        println!("note: {note}");
    }
    println!("replace each TODO by documentation, then run `imbridge schemas lint`");
    Ok(())
}

fn read(paths: &[PathBuf]) -> Result<Vec<Box<RawValue>>> {
    let mut values = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        for value in Deserializer::from_str(&text).into_iter() {
            values.push(value.with_context(|| format!("{} is not JSON", path.display()))?);
        }
    }
    Ok(values)
}

/// Reads at most `max` bodies from the beginning of the topic to its end. Skips messages of other commands and messages
/// that are not JSON.
fn read_topic(kafka: &publish::Config, topic: &str, command: &str, max: usize) -> Result<Vec<Box<RawValue>>> {
    let reading = Reading::start(kafka, |name| name == topic, Start::Beginning)?;
    let mut open = reading.open();
    if open.is_empty() {
        bail!("{topic}: no such topic at {}", kafka.brokers);
    }
    let body = |message: KafkaResult<BorrowedMessage<'_>>| match message {
        Ok(message) if header(&message, "imbridge-command").is_none_or(|named| named == command) => {
            serde_json::from_slice(message.payload()?).ok()
        }
        Ok(_) => None,
        Err(cause) => {
            tracing::debug!(%cause, topic, "reading bodies");
            None
        }
    };
    let messages = publish::read_to_ends(&mut open, TIMEOUT, || reading.next());
    Ok(messages.filter_map(body).take(max).collect())
}

fn samples(values: &[Box<RawValue>]) -> Result<Vec<OrderedJson>> {
    let parsed = values.iter().map(|value| serde_json::from_str(value.get()));
    Ok(parsed.collect::<Result<_, _>>()?)
}
