//! `imbridge replay`: posts callbacks again, in order, to a running bridge. Without `--go` it is a dry run.

mod letters;
mod progress;
mod source;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::filter::{Filter, safe};
use super::post::{Outcome, Pace, Poster, own_url, rate, request};
use crate::app::Config;
use crate::callback::Callback;
use crate::lifecycle::unix_ms;
use progress::ProgressBar;
use source::{Item, Source};

#[derive(Args)]
pub(super) struct Options {
    /// The configuration: Kafka, the senders and their secrets, the bridge's port.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Read the output of `imbridge spool export` instead of the dead letters in Kafka.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Only dead letters with this reason; may be given several times.
    #[arg(long = "reason", value_name = "NAME", conflicts_with = "from")]
    reasons: Vec<String>,
    /// Continue after the callback of this position, which an earlier run printed.
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Send. Without it, only print what would be sent.
    #[arg(long)]
    go: bool,
    /// The bridge to post to, instead of server.listen on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Callbacks per second.
    #[arg(long, value_name = "COUNT", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
}

pub(super) fn run(config: &Config, options: &Options) -> Result<bool> {
    let _logging = super::logging::Logging::start(&config.log);
    let source = match &options.from {
        Some(path) => Source::File(path.clone()),
        None => Source::Letters(letters::collect(&config.kafka, &options.filter, &options.reasons)?),
    };
    let url = options.url.clone().map_or_else(|| own_url(config), Ok)?;
    let gate = Gate {
        config,
        known_since_ms: unix_ms() - config.history.window_s as i64 * 1000,
    };
    let (total, left_out) = announce(&source, options, &gate)?;
    let mut out = std::io::stdout();
    if !options.go {
        let rate = options.rate;
        writeln!(
            out,
            "nothing was sent; --go sends to {url}, in this order, {rate} a second"
        )?;
        return Ok(true);
    }
    let sent = send(&source, options, &gate, &Poster::new(&url, config)?, total)?;
    let last = sent.last.as_deref().unwrap_or_default();
    writeln!(out, "{} accepted, {left_out} left out", sent.accepted)?;
    if let Some(problem) = sent.problem {
        let next = if last.is_empty() {
            "run the same command again".to_owned()
        } else {
            format!("continue with --after {last}")
        };
        bail!("{problem}; {next}");
    }
    if !last.is_empty() {
        writeln!(out, "later callbacks begin with --after {last}")?;
    }
    Ok(true)
}

/// Calls `visit` for the selected items in order, also for those that cannot be sent, until it returns false.
fn each(source: &Source, options: &Options, mut visit: impl FnMut(Item) -> Result<bool>) -> Result<()> {
    let mut passed = options.after.is_none();
    let mut left = options.filter.limit;
    for item in source.items()? {
        let item = item?;
        if !passed {
            passed = options.after.as_ref() == Some(&item.id);
            continue;
        }
        if left == 0 {
            break;
        }
        let filter = &options.filter;
        if filter.admits(item.command.as_deref(), item.at_ms, || item.group()) {
            left -= 1;
            if !visit(item)? {
                break;
            }
        }
    }
    match &options.after {
        Some(after) if !passed => bail!("--after {after}: no callback that matches the filters has this position"),
        _ => Ok(()),
    }
}

/// Prints what would be sent and what cannot be sent; gives the number of each.
fn announce(source: &Source, options: &Options, gate: &Gate<'_>) -> Result<(u64, u64)> {
    let mut by_command_and_reason = BTreeMap::<_, u64>::new();
    let (mut total, mut left_out) = (0, 0);
    let mut out = std::io::stdout().lock();
    each(source, options, |item| {
        match gate.sendable(&item) {
            Ok(_) => {
                let command = item.command.clone().unwrap_or_default();
                *by_command_and_reason.entry((command, item.reason)).or_default() += 1;
                total += 1;
            }
            Err(problem) => {
                left_out += 1;
                let (id, reason) = (&item.id, safe(&item.reason));
                writeln!(out, "left out  {id} ({reason}): {}", safe(&problem))?;
            }
        }
        Ok(true)
    })?;
    for ((command, reason), count) in &by_command_and_reason {
        let line = format!("{count:>8}  {}  {}", safe(command), safe(reason));
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out, "{total} to send, {left_out} cannot be sent")?;
    Ok((total, left_out))
}

/// Which callbacks a bridge of this configuration accepts.
struct Gate<'a> {
    config: &'a Config,
    /// The bridge remembers no callback that arrived before this time, so it takes none for a copy. In Unix
    /// milliseconds.
    known_since_ms: i64,
}

impl Gate<'_> {
    /// The callback, if the bridge would accept it and make an event of it.
    fn sendable<'a>(&self, item: &'a Item) -> Result<&'a Callback, String> {
        let callback = item.callback.as_ref().map_err(Clone::clone)?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&callback.body).is_err() {
            return Err("its body is not JSON: the bridge would refuse it again".into());
        }
        // With other reasons, the bridge failed before it computed the identity that marks copies.
        if item.reason == "too_large" && item.at_ms >= self.known_since_ms {
            return Err(
                "it arrived within history.window_s: the bridge would drop it as a copy; replay it after that time"
                    .into(),
            );
        }
        request(self.config, &callback.head, 0)?;
        Ok(callback)
    }
}

/// The result of sending.
struct Sent {
    accepted: u64,
    /// The position of the last accepted callback; before the first one, `--after`.
    last: Option<String>,
    /// Why sending ended early.
    problem: Option<String>,
}

/// Posts the callbacks one after another.
fn send(source: &Source, options: &Options, gate: &Gate<'_>, poster: &Poster<'_>, total: u64) -> Result<Sent> {
    let stop = super::stop_at_signal()?;
    let mut progress = ProgressBar::new(total);
    let mut pace = Pace::new(Duration::ZERO, Duration::from_secs_f64(1.0 / options.rate));
    let mut sent = Sent {
        accepted: 0,
        last: options.after.clone(),
        problem: None,
    };
    let outcome = each(source, options, |item| {
        let Ok(callback) = gate.sendable(&item) else {
            return Ok(true);
        };
        stop.pause(pace.left());
        if stop.is_raised() {
            sent.problem = Some("stopped".into());
            return Ok(false);
        }
        pace.step();
        let (id, outcome) = (item.id.clone(), poster.post(callback));
        sent.problem = Some(match outcome {
            Outcome::Accepted => {
                sent.accepted += 1;
                progress.tick(sent.accepted);
                sent.last = Some(id);
                return Ok(true);
            }
            Outcome::Refused(0, problem) => format!("stopped at {id}: {problem}"),
            Outcome::Refused(status, text) => {
                format!("stopped at {id}: answered with status {status}: {}", safe(&text))
            }
            Outcome::Unknown(error) => format!(
                "stopped at {id}: no answer ({error}), so it may have been accepted; to skip it, use --after {id}"
            ),
        });
        Ok(false)
    });
    progress.end(sent.accepted);
    outcome.map(|()| sent)
}
