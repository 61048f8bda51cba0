//! The oracle of the campaigns: `oracle load` posts numbered events in many groups as IM servers do, and keeps a ledger
//! outside the bridge of what was acknowledged; `tests/readers/judge.py` holds Kafka against it. It knows nothing of the
//! bridges but their ports and the providers' protocols.

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/support/client.rs"]
mod client;
mod doors;
mod event;
mod ledger;
mod load;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Posts numbered events and remembers what was acknowledged.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Post until SIGTERM or SIGINT, or until the time or the count is reached; then print the totals as JSON.
    ///
    /// Half of the groups speak Tencent's protocol, half OpenIM's. A group's events are posted one after the other, groups
    /// run beside one another. An event that is refused or gets no answer is not posted again.
    ///
    /// With several bridges each event goes to one of them at random, as through a load balancer: where the connection is
    /// refused, and so nothing was sent, it goes to another one. A bridge that refused a connection or gave no answer is left
    /// out for a second, or for twice the time that was waited in vain, unless all are.
    Load(Options),
}

/// What to post, and where to write what was answered.
#[derive(clap::Args)]
struct Options {
    /// The bridge's public port on this machine; it may be away at any time. Given again for each further bridge.
    #[arg(long, required = true)]
    port: Vec<u16>,
    /// For an answer, as an IM server waits; then the event is given up, and its connection.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// The ledger: a JSON line for each event - group, number, provider, port, acknowledged, and answered_at_ns, the
    /// CLOCK_MONOTONIC nanoseconds at which the answer came or the event was given up.
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// How long answers took: a JSON line for each interval.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The report's interval, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    interval_ms: u64,
    /// Begins the groups' names; another one for each load of the same topics.
    #[arg(long, default_value = "g")]
    name: String,
    /// How many groups.
    #[arg(long, default_value_t = 64)]
    groups: usize,
    /// How many connections; each has its own groups.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Events a second of all groups together; as fast as it goes when left out.
    #[arg(long)]
    rate: Option<f64>,
    /// Events of each group.
    #[arg(long, default_value_t = u64::MAX)]
    each: u64,
    /// Seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Bytes that make each body longer.
    #[arg(long, default_value_t = 0)]
    pad_bytes: usize,
    /// 2: every other event of a Tencent group is of a second command.
    #[arg(long, default_value_t = 1)]
    commands: u64,
    /// The Tencent app that the bridge accepts.
    #[arg(long, default_value_t = 1400000000)]
    app: u64,
    /// The OpenIM server's secret; none when left out.
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

/// Raises the flag at SIGTERM or SIGINT; whoever hears the flag ends in order.
fn stop_at_a_signal(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Installed before anything is posted: a signal that comes at once must not kill.
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
