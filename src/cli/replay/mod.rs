//! `imbridge replay`: callbacks once more through the whole path, posted in order to a running bridge. A dry run unless told
//! otherwise. Where they come from is `source`'s.

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
use progress::Progress;
use source::{Item, Source};

#[derive(Args)]
pub(super) struct Options {
    /// The configuration: Kafka, the senders and their secrets, the bridge's port.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What `imbridge spool export` wrote, instead of the dead letters in Kafka.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Only dead letters with this reason; may be given several times.
    #[arg(long = "reason", value_name = "NAME", conflicts_with = "from")]
    reasons: Vec<String>,
    /// Go on after the callback of this position, which an earlier run named.
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// So many at most.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Send. Without it, only say what would be sent.
    #[arg(long)]
    go: bool,
    /// The bridge, instead of server.listen on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Callbacks a second.
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
    if !options.go {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "nothing was sent; --go sends to {url}, in this order, {} a second",
            options.rate
        )?;
        return Ok(true);
    }
    let sent = send(&source, options, (&gate, &Poster::new(&url, config)?), total)?;
    let last = sent.last.as_deref().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} accepted, {left_out} left out", sent.accepted)?;
    if let Some(problem) = sent.problem {
        let again = if last.is_empty() {
            "the same command begins again".to_owned()
        } else {
            format!("go on with --after {last}")
        };
        bail!("{problem}; {again}");
    }
    if !last.is_empty() {
        writeln!(out, "what comes later begins with --after {last}")?;
    }
    Ok(true)
}

/// The items that are meant, in order; those that cannot be sent among them.
fn each(source: &Source, options: &Options, mut visit: impl FnMut(Item) -> Result<bool>) -> Result<()> {
    let mut passed = options.after.is_none();
    let mut left = options.limit;
    for item in source.items()? {
        let item = item?;
        if !passed {
            passed = options.after.as_ref() == Some(&item.id);
            continue;
        }
        if left == 0 {
            break;
        }
        if options
            .filter
            .admits(item.command.as_deref(), item.at_ms, || item.group())
        {
            left -= 1;
            if !visit(item)? {
                break;
            }
        }
    }
    match &options.after {
        Some(after) if !passed => bail!("--after {after}: no such position among what these filters let through"),
        _ => Ok(()),
    }
}

/// Says what would be sent and what cannot be, and gives how many are of each kind.
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
                writeln!(
                    out,
                    "left out  {} ({}): {}",
                    item.id,
                    safe(&item.reason),
                    safe(&problem)
                )?;
            }
        }
        Ok(true)
    })?;
    for ((command, reason), count) in &by_command_and_reason {
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!("  {reason}")
        };
        writeln!(out, "{count:>8}  {}{}", safe(command), safe(&reason))?;
    }
    writeln!(out, "{total} to send, {left_out} cannot be sent")?;
    Ok((total, left_out))
}

/// What a bridge of this configuration takes.
struct Gate<'a> {
    config: &'a Config,
    /// What arrived before is no copy of anything to the bridge, in Unix milliseconds.
    known_since_ms: i64,
}

impl Gate<'_> {
    /// The callback, if the bridge takes it and makes an event of it.
    fn sendable<'a>(&self, item: &'a Item) -> Result<&'a Callback, String> {
        let callback = item.callback.as_ref().map_err(Clone::clone)?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&callback.body).is_err() {
            return Err("its body is not JSON: the bridge would refuse it again".into());
        }
        // The others were never read as far as an identity.
        if item.reason == "too_large" && item.at_ms >= self.known_since_ms {
            return Err(
                "it arrived within history.window_s: the bridge would drop it as a copy; replay it when that is over"
                    .into(),
            );
        }
        request(self.config, &callback.head, 0)?;
        Ok(callback)
    }
}

/// What was sent.
struct Sent {
    accepted: u64,
    /// The position of the last that was accepted, or of where it began.
    last: Option<String>,
    /// What ended it early.
    problem: Option<String>,
}

/// Posts one after the other.
fn send(source: &Source, options: &Options, (gate, poster): (&Gate<'_>, &Poster<'_>), total: u64) -> Result<Sent> {
    let stop = super::stop_at_signal()?;
    let mut progress = Progress::new(total);
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
            Outcome::Refused(0, words) => format!("stopped at {id}: {words}"),
            Outcome::Refused(status, words) => {
                format!("stopped at {id}: answered with status {status}: {}", safe(&words))
            }
            Outcome::Unknown(words) => format!(
                "stopped at {id}: no answer ({words}), so it may have been accepted, and --after {id} would leave it out"
            ),
        });
        Ok(false)
    });
    progress.end(sent.accepted);
    outcome.map(|()| sent)
}
