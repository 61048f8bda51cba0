//! Input: a configuration file and, behind a line `%%`, environment variables. It is refused with an error that names the
//! file or the variable. Otherwise every part accepts it, and the clock can add every duration in it.

use std::time::{Duration, Instant};

use imbridge::app::Config;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The file of a secret may be any path. Reading a device may never end; only an operator could configure that.
    if text.contains("file:") && text.contains("dev") {
        return;
    }
    let (file, environment) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::parse("fuzzed.toml", file, variables) {
        Err(cause) => {
            let error = cause.to_string();
            assert!(
                error.starts_with("fuzzed.toml") || error.contains("IMBRIDGE_"),
                "{error}"
            );
            assert!(
                error.len() <= 16 * text.len() + 1024,
                "{} bytes of error for {}",
                error.len(),
                text.len()
            );
        }
        Ok(config) => usable(&config),
    }
}

fn usable(config: &Config) {
    assert!(config.server.problem().is_none() && config.admin.problem().is_none());
    assert!(config.spool.problem().is_none() && config.kafka.problem().is_none());
    let seconds = [
        config.server.keep_alive_s,
        config.server.head_timeout_s,
        config.server.body_timeout_s,
        config.server.retry_after_s,
        config.server.shutdown_timeout_s,
        config.shutdown.drain_timeout_s,
        config.shutdown.leave_s,
        config.kafka.stall_timeout_s,
    ];
    let milliseconds = [
        config.server.before_deadline_ms,
        config.spool.commit_timeout_ms,
        config.kafka.settle_ms.unwrap_or_default(),
        config.schemas.registry_timeout_ms,
    ];
    let durations = seconds
        .map(Duration::from_secs)
        .into_iter()
        .chain(milliseconds.map(Duration::from_millis));
    for duration in durations {
        assert!(
            Instant::now().checked_add(duration).is_some(),
            "{duration:?} is too long for a clock"
        );
    }
    let _ = format!("{config:?}");
}
