//! The command line. It knows every part; no part knows it.

mod check;
mod consume;
mod dev;
mod disk;
mod embedded;
mod exported;
mod filter;
mod logging;
mod post;
mod registry;
mod replay;
mod schemas;
mod serve;
mod service;
mod show;
mod simulate;
mod spool;
mod tail;
mod topics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::app::{Config, ConfigError};
use crate::lifecycle::Stop;

/// `EX_USAGE` of sysexits: the configuration is bad, and a restart does not help.
const BAD_CONFIG: i32 = 64;

/// From the webhooks of an IM server (Tencent Cloud Chat, OpenIM) to Kafka: durable before it is acknowledged, in order
/// within each group, once.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Accept callbacks and publish them, until SIGTERM or Ctrl-C.
    ///
    /// Kafka may be absent at the start and at any time later: callbacks are acknowledged and kept in the spool. At SIGTERM
    /// the bridge stops accepting, answers what is in progress, delivers what is in the spool and exits with 0. At SIGHUP it
    /// reads senders, secrets, schemas and log levels again; where anything is wrong, everything stays as it was.
    Serve {
        /// The configuration; config/imbridge.example.toml documents every key. IMBRIDGE_<TABLE>__<KEY> overrides one.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Try it out: a bridge with a Kafka broker inside the process, printing each event as it arrives there.
    ///
    /// Nothing else is needed and nothing is kept. The broker is librdkafka's mock cluster: ordinary clients such as kcat can
    /// attach to it, but it is no place for data.
    Dev(dev::Options),
    /// Look at everything that `serve` needs: the configuration, the spool folder and its disk, the schemas, Kafka and each topic.
    ///
    /// Measures how long the disk takes to sync, since callers wait for it. Prints a line for each finding; exits with 0 when all is well, 1 when something is not, 64 when the configuration is bad.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show events as they are in Kafka, decoded, from now on or from a time on, until Ctrl-C.
    ///
    /// Reads without a consumer group and only what is committed; dead letters are shown with their reason. Events come in the order
    /// in which the bridge took them, over all topics: by number within a spool, by arrival between spools. For that, a new event
    /// is held for half a second.
    Tail(tail::Options),
    /// Send callbacks through the bridge once more: dead letters from Kafka, or what `imbridge spool export` wrote.
    ///
    /// Without --go it only says what would be sent, by command and reason. With it, callbacks are posted one after the other to
    /// a running bridge, signed with the configured secrets, and the first that is refused ends it. Each that is accepted is a
    /// new event: what is replayed twice is there twice, so mind the position that each run ends with.
    ///
    /// --since and --until go by the time of arrival that the bridge has noted, whatever Kafka's timestamps say. With --since,
    /// dead letters are read from the topic's beginning, or, where the broker stamps them
    /// (message.timestamp.type=LogAppendTime), from what was appended a day before.
    Replay(replay::Options),
    /// Post what both IM servers would, signed, at a set rate, and report each second what is answered.
    ///
    /// The bodies are the schemas folder's samples with fresh groups, users, numbers and times; each is one event. Exits with 1
    /// when anything was refused. Never point it at a bridge whose events somebody relies on: they look real.
    Simulate(simulate::Options),
    /// Look into the spool, beside a running bridge or without one; nothing is changed.
    #[command(subcommand)]
    Spool(spool::Verb),
    /// Compare the topics in Kafka with the wanted ones, and create those that are missing.
    #[command(subcommand)]
    Topics(topics::Verb),
    /// Look into a schemas folder, check it, make things of it, and bring it to a schema registry.
    Schemas(schemas::Options),
}

/// What commands take that look at something of a configuration.
#[derive(Args)]
struct Common {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// JSON, for machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command line and gives the exit code.
pub fn run() -> ExitCode {
    // Whether all is well; where not, the command has said why.
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => serve::run(&config, &load(&config)),
        Command::Dev(options) => dev::run(&options),
        Command::Check { config } => Ok(check::run(&load(&config))),
        Command::Spool(verb) => spool::run(&load(verb.config()), &verb),
        Command::Simulate(options) => simulate::run(&options),
        Command::Replay(options) => replay::run(&load(&options.config), &options),
        Command::Tail(options) => tail::run(&load(&options.config), &options),
        Command::Topics(verb) => topics::run(&load(&verb.options().common.config), &verb),
        Command::Schemas(options) => schemas::run(options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read our output has seen enough: `imbridge spool list | head`.
        Err(cause) if is_closed_pipe(&cause) => ExitCode::SUCCESS,
        Err(cause) => {
            logging::last_words(format!("{cause:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(cause: &anyhow::Error) -> bool {
    let io = cause.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The configuration; ends the process where it is bad.
fn load(path: &Path) -> Config {
    read(path).unwrap_or_else(|cause| {
        logging::last_words(cause.to_string());
        std::process::exit(BAD_CONFIG)
    })
}

/// A flag that Ctrl-C or SIGTERM raises, for commands that have something to say at their end.
fn stop_at_signal() -> Result<Stop> {
    let stop = Stop::default();
    let raised = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        if runtime.block_on(serve::until_signal()).is_ok() {
            raised.raise();
        }
    });
    Ok(stop)
}

/// The file and the environment, as they are now.
fn read(path: &Path) -> Result<Config, ConfigError> {
    // A variable that is no text cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(path, environment)
}
