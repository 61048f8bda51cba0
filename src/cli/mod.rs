//! The command line. It may import every part; no part imports it.

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

/// `EX_USAGE` of sysexits: the configuration is invalid, so a restart does not help.
const BAD_CONFIG: i32 = 64;

/// Publish the webhooks of IM servers (Tencent Cloud Chat, OpenIM) to Kafka: durable before the acknowledgement, in
/// order within each group, each event once.
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
    /// Kafka may be unavailable at the start and at any time later: callbacks are still acknowledged and stay in the
    /// spool. On SIGTERM the bridge stops accepting, answers requests in progress, delivers what is in the spool and
    /// exits with 0. On SIGHUP it reads senders, secrets, schemas and log levels again. If one of them is invalid, all
    /// stay as they were.
    Serve {
        /// The configuration; config/imbridge.example.toml documents every key. IMBRIDGE_<TABLE>__<KEY> overrides one.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Try the bridge with a Kafka broker in the same process, and print each event when it arrives in Kafka.
    ///
    /// Needs no other service and keeps no data. The broker is librdkafka's mock cluster: ordinary clients such as kcat
    /// can connect to it, but it is not meant for data that matters.
    Dev(dev::Options),
    /// Check everything that `serve` needs: the configuration, the spool folder and its disk, the schemas, Kafka and
    /// each topic.
    ///
    /// Measures how long the disk takes to sync, because callers wait for it. Prints a line for each finding. Exits
    /// with 0 if nothing failed, 1 if something failed, 64 if the configuration is invalid.
    Check(ConfigFile),
    /// Show decoded events from Kafka, from now on or from a given time, until Ctrl-C.
    ///
    /// Reads without a consumer group, and only committed messages. Dead letters are shown with their reason. Events of
    /// all topics are shown in the order in which the bridge accepted them: by sequence number within a spool, by
    /// arrival time between spools. For this purpose, each new event is held back for half a second.
    Tail(tail::Options),
    /// Send callbacks through the bridge again: dead letters from Kafka, or the output of `imbridge spool export`.
    ///
    /// Without --go, it only prints what would be sent, by command and reason. With --go, it posts the callbacks one
    /// after another to a running bridge, signed with the configured secrets, and stops at the first that is refused.
    /// Each accepted callback becomes a new event. A callback that is replayed twice becomes two events, so note the
    /// position that each run prints at its end.
    ///
    /// The options --since and --until use the arrival time that the bridge recorded, not Kafka's timestamps. With
    /// --since, dead letters are read from the beginning of the topic. If the broker timestamps messages
    /// (message.timestamp.type=LogAppendTime), they are read from one day before the given time.
    Replay(replay::Options),
    /// Post callbacks as both IM servers do, signed, at a fixed rate, and report the answers every second.
    ///
    /// The bodies are the samples of the schemas folder with new groups, users, sequence numbers and times; each is one
    /// event. Exits with 1 if any callback was not accepted. Do not use it on a bridge whose events are in use:
    /// simulated events look real.
    Simulate(simulate::Options),
    /// Inspect the spool, with or without a running bridge; changes nothing.
    #[command(subcommand)]
    Spool(spool::Verb),
    /// Compare the topics in Kafka with those that the bridge needs, and create missing ones.
    #[command(subcommand)]
    Topics(topics::Verb),
    /// Inspect and check a schemas folder, generate documents and tables from it, and register it with a schema
    /// registry.
    Schemas(schemas::Options),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Options of the commands that inspect something.
#[derive(Args)]
struct Common {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command line and gives the exit code.
pub fn run() -> ExitCode {
    // `Ok(false)`: the command has failed and has printed why.
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => serve::run(&config, &load(&config)),
        Command::Dev(options) => dev::run(&options),
        Command::Check(file) => Ok(check::run(&file.load())),
        Command::Spool(verb) => spool::run(&verb.file().load(), &verb),
        Command::Simulate(options) => simulate::run(&options),
        Command::Replay(options) => replay::run(&load(&options.config), &options),
        Command::Tail(options) => tail::run(&options.file.load(), &options),
        Command::Topics(verb) => topics::run(&verb.options().common.file.load(), &verb),
        Command::Schemas(options) => schemas::run(options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader has closed the pipe on purpose, as in `imbridge spool list | head`.
        Err(cause) if is_closed_pipe(&cause) => ExitCode::SUCCESS,
        Err(cause) => {
            logging::print_error(format!("{cause:#}"));
            ExitCode::FAILURE
        }
    }
}

impl ConfigFile {
    fn load(&self) -> Config {
        load(&self.config)
    }
}

fn is_closed_pipe(cause: &anyhow::Error) -> bool {
    let io = cause.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The configuration. Exits the process with [`BAD_CONFIG`] if it is invalid.
fn load(path: &Path) -> Config {
    read(path).unwrap_or_else(|cause| {
        logging::print_error(cause.to_string());
        std::process::exit(BAD_CONFIG)
    })
}

/// A flag that Ctrl-C or SIGTERM raises, for commands that print a summary at their end.
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

/// Reads the file and the environment.
fn read(path: &Path) -> Result<Config, ConfigError> {
    // A variable that is not UTF-8 cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(path, environment)
}
