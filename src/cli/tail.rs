//! `imbridge tail`: events as they are in Kafka, decoded, in the order in which their callbacks arrived. It reads like any
//! consumer, by other means than the bridge writes.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use rdkafka::message::{BorrowedMessage, Message};

use super::consume::{Merged, Reading, Start, arrived_at_ms, header, text};
use super::filter::time;
use super::show::Shown;
use crate::app::{Config, load_schemas};
use crate::callback::Provider;
use crate::publish::{checkpoint_topic, dead_letter_topic};
use crate::schema::Decoder;
use crate::schema::registry::Client;

/// How often topics that are new are looked for.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only events of this command, and its dead letters; may be given several times.
    #[arg(long = "command", value_name = "NAME")]
    commands: Vec<String>,
    /// Only this topic, by its full name; may be given several times.
    #[arg(long = "topic", value_name = "NAME")]
    topics: Vec<String>,
    /// Only events with this key: the group, or what takes its place.
    #[arg(long, value_name = "KEY")]
    group: Option<String>,
    /// Only events of this IM server.
    #[arg(long, value_name = "NAME", value_parser = Provider::ALL.map(Provider::as_str))]
    provider: Option<String>,
    /// Begin with the oldest event there is, instead of the next one.
    #[arg(long, conflicts_with = "since")]
    from_beginning: bool,
    /// Only events that arrived at this time or later: 10m for ten minutes ago, or 2026-01-31T12:00:00Z.
    ///
    /// An event's time of arrival is that of its header imbridge-received-at, by the bridge's clock. So the topics are read from
    /// their beginning and earlier events left out; where the broker stamps messages (message.timestamp.type=LogAppendTime),
    /// from what was appended a day before that time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// One JSON object a line; the default where the output is no terminal.
    #[arg(long, conflicts_with = "pretty")]
    json: bool,
    /// For people; the default on a terminal.
    #[arg(long)]
    pretty: bool,
}

pub(super) fn run(config: &Config, options: &Options) -> Result<bool> {
    let _logging = super::logging::Logging::start(&config.log);
    let (catalogue, _) = load_schemas(config)?;
    let registry = config.schemas.registry().as_ref().map(Client::new).transpose()?;
    let mut decoder = Decoder::new(catalogue, registry);
    let prefix = &config.kafka.topic_prefix;
    // Every event of it is in a topic of its own: it is read where it is asked for.
    let timeline = config.kafka.timeline.as_ref().map(|timeline| timeline.topic(prefix));
    let is_timeline = |topic: &str| timeline.as_deref() == Some(topic);
    let wanted = |topic: &str| match is_timeline(topic) {
        true => options.topics.iter().any(|name| name == topic),
        false => options.wants_topic(prefix, topic),
    };
    let start = match (options.from_beginning, options.since) {
        (true, _) => Start::Beginning,
        (false, Some(since_ms)) => Start::Since(since_ms),
        (false, None) => Start::Now,
    };
    let mut merged = Merged::start(&config.kafka, wanted, start)?;
    greet(&merged.reading, prefix);
    let json = options.json || !(options.pretty || std::io::stdout().is_terminal());
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut refreshed = Instant::now();
    let mut trouble = String::new();
    while left > 0 {
        match merged.next(|message| options.wants(message)) {
            Some(Ok(message)) => {
                let shown = Shown::new(&message, &mut decoder);
                let text = if json { shown.json() } else { shown.pretty() + "\n" };
                // Each at once: who tails waits for it.
                let mut out = std::io::stdout().lock();
                writeln!(out, "{text}")?;
                out.flush()?;
                left -= 1;
            }
            None => {}
            Some(Err(cause)) if cause.to_string() != trouble => {
                trouble = cause.to_string();
                eprintln!("imbridge: {trouble}; going on");
            }
            Some(Err(_)) => {}
        }
        if refreshed.elapsed() > REFRESH {
            // A broker that is away for a while is asked again later.
            merged.refresh(wanted).ok();
            refreshed = Instant::now();
        }
    }
    Ok(true)
}

fn greet(reading: &Reading, prefix: &str) {
    let partitions = &reading.assigned;
    let topics: BTreeSet<_> = partitions.iter().map(|(topic, _)| topic).collect();
    if topics.is_empty() {
        eprintln!("imbridge: no such topic under {prefix}. yet; waiting for one");
    } else {
        eprintln!(
            "imbridge: reading {} topics, {} partitions",
            topics.len(),
            partitions.len()
        );
    }
}

impl Options {
    fn wants_topic(&self, prefix: &str, topic: &str) -> bool {
        let Some(rest) = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
            return false;
        };
        let is_named = self.topics.iter().any(|name| name == topic);
        if !self.topics.is_empty() && !is_named || topic == checkpoint_topic(prefix) {
            return false;
        }
        match rest.split_once('.') {
            _ if topic == dead_letter_topic(prefix) => true,
            Some((provider, command)) => {
                self.wants_provider(provider) && (command == "unknown" || self.wants_command(command))
            }
            // What is there a second time, in another shape.
            None => is_named,
        }
    }

    fn wants(&self, message: &BorrowedMessage<'_>) -> bool {
        // `<provider>.<command>`, whichever topic it is in.
        let kind = header(message, "ce_type").unwrap_or_default();
        let (provider, command) = kind.split_once('.').unwrap_or((&kind, ""));
        let is_late = |since| arrived_at_ms(message).is_none_or(|at_ms| at_ms >= since);
        self.since.is_none_or(is_late)
            && (self.group.is_none() || self.group == message.key().map(text))
            && self.wants_provider(provider)
            && self.wants_command(command)
    }

    fn wants_provider(&self, provider: &str) -> bool {
        self.provider.as_ref().is_none_or(|wanted| wanted == provider)
    }

    fn wants_command(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.iter().any(|name| name == command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn options(more: &[&str]) -> Options {
        let line = ["imbridge", "tail", "--config", "c"].iter().chain(more);
        match Arguments::parse_from(line).command {
            Command::Tail(options) => options,
            _ => unreachable!("it is tail"),
        }
    }

    #[test]
    fn only_topics_that_can_hold_what_is_wanted_are_read() {
        let topics = [
            "im.tencent.Group.A",
            "im.openim.callbackB",
            "im.tencent.unknown",
            "im.dead-letter",
            "im.checkpoints",
            "im.another",
            "imp.tencent.Group.A",
            "im",
        ];
        let read = |more: &[&str]| -> Vec<&str> {
            let options = options(more);
            topics
                .into_iter()
                .filter(|topic| options.wants_topic("im", topic))
                .collect()
        };
        assert_eq!(read(&[]), &topics[..4]);
        assert_eq!(read(&["--provider", "tencent"]), [topics[0], topics[2], topics[3]]);
        assert_eq!(read(&["--command", "Group.A"]), [topics[0], topics[2], topics[3]]);
        assert_eq!(read(&["--topic", "im.openim.callbackB"]), [topics[1]]);
        assert_eq!(read(&["--topic", "im.another"]), ["im.another"]);
    }
}
