//! The command line. It knows every part; no part knows it.

mod check;
mod dev;
mod embedded;
mod logging;
mod registry;
mod schemas;
mod serve;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{Config, ConfigError};

/// `EX_USAGE` of sysexits: the configuration is bad, and a restart does not help.
const BAD_CONFIG: u8 = 64;

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
    /// Look at everything that `serve` needs: the configuration, the schemas, the spool folder, Kafka and each topic.
    ///
    /// Prints a line for each finding; exits with 0 when all is well, 1 when something is not, 64 when the configuration is bad.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look into a schemas folder, check it, make things of it, and bring it to a schema registry.
    Schemas(schemas::Options),
}

/// Runs the command line and gives the exit code.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => match load(&config) {
            Ok(loaded) => serve::run(&config, &loaded),
            Err(code) => return code,
        },
        Command::Dev(options) => dev::run(&options),
        Command::Check { config } => match load(&config) {
            Ok(config) => return check::run(&config),
            Err(code) => return code,
        },
        Command::Schemas(options) => match schemas::run(options) {
            Ok(code) => return code,
            Err(cause) => Err(cause),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("imbridge: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    read(path).map_err(|cause| {
        eprintln!("imbridge: {cause}");
        ExitCode::from(BAD_CONFIG)
    })
}

/// The file and the environment, as they are now.
fn read(path: &Path) -> Result<Config, ConfigError> {
    // A variable that is no text cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(path, environment)
}
