//! The oracle of the campaigns. `oracle load` posts numbered events in many groups, as IM servers do. It keeps a ledger of
//! what was acknowledged, outside the bridge. `tests/readers/judge.py` compares Kafka with the ledger. The oracle knows only
//! the bridges' ports and the providers' protocols.

mod bridges;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/support/client.rs"]
mod client;
mod event;
mod ledger;
mod load;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Posts numbered events and records what was acknowledged.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Post until SIGTERM or SIGINT, or until the time or the count is reached. Then print the totals as JSON.
    ///
    /// Half of the groups use Tencent's protocol, half OpenIM's. The events of a group are posted one after the other;
    /// groups run in parallel. An event that is refused or gets no answer is not posted again.
    ///
    /// With several bridges, each event goes to one of them at random, as through a load balancer. If that bridge refuses
    /// the connection, nothing was sent, and the event goes to another bridge. A bridge that refused a connection or gave no
    /// answer is avoided for one second, or for twice the time of the wait if that is longer, unless all are avoided.
    Load(Options),
}

/// What to post, and where to write what was answered.
#[derive(clap::Args)]
struct Options {
    /// The bridge's public port on this machine. The bridge may be down at any time. Repeat it for each further bridge.
    #[arg(long, required = true)]
    port: Vec<u16>,
    /// How long to wait for an answer, as an IM server does. Then the event is given up and its connection closed.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// The ledger: a JSON line for each event with group, number, provider, port, acknowledged and answered_at_ns.
    /// The last is the time in CLOCK_MONOTONIC nanoseconds at which the answer came or the event was given up.
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// The report: how long answers took, a JSON line for each interval.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The report's interval, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    interval_ms: u64,
    /// The prefix of the groups' names. Use a different one for each load of the same topics.
    #[arg(long, default_value = "g")]
    name: String,
    /// How many groups.
    #[arg(long, default_value_t = 64)]
    groups: usize,
    /// How many connections. Each has its own groups.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Events per second of all groups together. Without it, as fast as possible.
    #[arg(long)]
    rate: Option<f64>,
    /// How many events each group has.
    #[arg(long, default_value_t = u64::MAX)]
    each: u64,
    /// How many seconds to post.
    #[arg(long)]
    seconds: Option<f64>,
    /// How many bytes to add to each body.
    #[arg(long, default_value_t = 0)]
    pad_bytes: usize,
    /// If 2, every other event of a Tencent group has a second command.
    #[arg(long, default_value_t = 1)]
    commands: u64,
    /// The Tencent app that the bridge accepts.
    #[arg(long, default_value_t = 1400000000)]
    app: u64,
    /// The OpenIM server's secret, if it has one.
    #[arg(long)]
    secret: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let Command::Load(options) = Arguments::parse().command;
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_a_signal(Arc::clone(&stop))?;
    let totals = load::run(&options, &stop)?;
    println!("{}", serde_json::to_string(&totals)?);
    Ok(())
}

/// Sets the flag at SIGTERM or SIGINT. The clients then end after their current event.
fn stop_at_a_signal(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The handlers are installed before anything is posted, so that an early signal does not kill the process.
    let (mut terminate, mut interrupt) = runtime.block_on(async {
        std::io::Result::Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    })?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}
