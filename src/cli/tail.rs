//! `imbridge tail`: shows decoded events from Kafka in the order in which their callbacks arrived. It reads as any
//! consumer does.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
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

/// How often new topics are looked for.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: super::ConfigFile,
    /// Only events and dead letters of this command; may be given several times.
    #[arg(long = "command", value_name = "NAME")]
    commands: Vec<String>,
    /// Only this topic, with its prefix; may be given several times.
    #[arg(long = "topic", value_name = "NAME")]
    topics: Vec<String>,
    /// Only events with this key: the group, or the key of an event without a group.
    #[arg(long, value_name = "KEY")]
    group: Option<String>,
    /// Only events of this IM server.
    #[arg(long, value_name = "NAME", value_parser = Provider::ALL.map(Provider::as_str))]
    provider: Option<String>,
    /// Begin with the oldest event instead of the next one.
    #[arg(long, conflicts_with = "since")]
    from_beginning: bool,
    /// Only events that arrived at this time or later: 10m for ten minutes ago, or 2026-01-31T12:00:00Z.
    ///
    /// The arrival time is the header imbridge-received-at, which has the bridge's clock. So topics are read from their
    /// beginning, and earlier events are skipped. If the broker timestamps messages
    /// (message.timestamp.type=LogAppendTime), topics are read from one day before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Exit after this number of events.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// Print one JSON object per line. The default if the output is not a terminal.
    #[arg(long, conflicts_with = "pretty")]
    json: bool,
    /// Print several lines per event. The default on a terminal.
    #[arg(long)]
    pretty: bool,
}

pub(super) fn run(config: &Config, options: &Options) -> Result<bool> {
    let _logging = super::logging::Logging::start(&config.log);
    let (catalogue, _) = load_schemas(config)?;
    let registry = config.schemas.registry().as_ref().map(Client::new).transpose()?;
    let mut decoder = Decoder::new(catalogue, registry);
    let prefix = &config.kafka.topic_prefix;
    // Each of its events is in its command's topic too, so it is read only if it is named.
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
    let mut last_error = String::new();
    while left > 0 {
        match merged.next(|message| options.wants(message)) {
            Some(Ok(message)) => {
                let shown = Shown::new(&message, &mut decoder);
                let text = if json { shown.json() } else { shown.pretty() + "\n" };
                // Without buffering: each event must be visible at once.
                let mut out = std::io::stdout().lock();
                writeln!(out, "{text}")?;
                out.flush()?;
                left -= 1;
            }
            Some(Err(cause)) if cause.to_string() != last_error => {
                last_error = cause.to_string();
                eprintln!("imbridge: {last_error}; retrying");
            }
            None | Some(Err(_)) => {}
        }
        if refreshed.elapsed() > REFRESH {
            // If the broker is unavailable, the next refresh tries again.
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
        eprintln!("imbridge: no such topic with the prefix {prefix}. yet; waiting for one");
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
            // Copies in another format, such as the timeline.
            None => is_named,
        }
    }

    fn wants(&self, message: &BorrowedMessage<'_>) -> bool {
        // `<provider>.<command>`, in every topic.
        let kind = header(message, "ce_type").unwrap_or_default();
        let (provider, command) = kind.split_once('.').unwrap_or((&kind, ""));
        let is_new = |since| arrived_at_ms(message).is_none_or(|at_ms| at_ms >= since);
        self.since.is_none_or(is_new)
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
    fn only_topics_that_can_hold_wanted_events_are_read() {
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
