//! Where log lines go and how they look.

use std::io::IsTerminal;

use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::app::{Log, LogFormat};
use crate::lifecycle::Levels;

/// From here on, what is logged goes to standard error; the levels can be changed later.
pub(super) fn start(log: &Log) -> Levels {
    let (levels, filter) = Levels::new(&log.level).expect("the configuration was checked");
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Pretty => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    levels
}
