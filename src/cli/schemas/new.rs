//! `imbridge schemas new`: reads the samples, and says what was drafted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::cli::load;
use crate::publish;
use crate::schema::{Draft, OrderedJson, draft};

/// The command, and what it is drafted from.
#[derive(Args)]
pub(super) struct Options {
    /// The provider's folder.
    #[arg(long)]
    provider: String,
    /// The command as on the wire.
    #[arg(long)]
    command: String,
    /// Bodies: files with one JSON value or several, such as the lines that a consumer of the unknown topic prints.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present_any = ["from_unmapped", "from_topic"])]
    from: Vec<PathBuf>,
    /// Maps `unmapped` of records, a line each: {"MemberList/0/Foo": "1"}.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from_unmapped: Vec<PathBuf>,
    /// A topic of raw bodies, read from its beginning: that of a provider's unknown commands.
    #[arg(long, value_name = "TOPIC", requires = "where")]
    from_topic: Option<String>,
    /// Where the topic is, when nothing but an address is needed: host:port of one or more brokers, separated by commas.
    #[arg(long, value_name = "BROKERS", group = "where")]
    brokers: Option<String>,
    /// Where the topic is: the bridge's configuration, with kafka.brokers and kafka.properties (passwords, certificates).
    #[arg(long, value_name = "FILE", group = "where")]
    config: Option<PathBuf>,
    /// How many bodies of the command are read from the topic at most.
    #[arg(long, default_value_t = 1000)]
    max: usize,
    /// The key expression of a new command.
    #[arg(long, value_name = "EXPR")]
    key: Option<String>,
    /// Whether the IM server waits for the answer, of a new command.
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
        let kafka = kafka.context("--from-topic wants --brokers or --config")?;
        bodies.extend(super::topic::bodies(&kafka, topic, &options.command, options.max)?);
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
    println!("write the docs in place of each TODO, then run `imbridge schemas lint`");
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

fn samples(values: &[Box<RawValue>]) -> Result<Vec<OrderedJson>> {
    let parsed = values.iter().map(|value| serde_json::from_str(value.get()));
    Ok(parsed.collect::<Result<_, _>>()?)
}
