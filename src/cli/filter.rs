//! The filter of all commands that read callbacks: by command, group and time.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use crate::lifecycle::unix_ms;

/// Which callbacks are selected; by default, all.
#[derive(Args, Debug, Default)]
pub(super) struct Filter {
    /// Only this command; may be given several times.
    #[arg(long = "command", value_name = "NAME")]
    pub commands: Vec<String>,
    /// Only this group.
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Only callbacks that arrived at this time or later: 10m for ten minutes ago, or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<i64>,
    /// Only callbacks that arrived before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<i64>,
    /// At most this number of callbacks.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
}

impl Filter {
    /// Whether a callback is selected. `group` is called only if the filter names a group.
    pub fn admits(&self, command: Option<&str>, at_ms: i64, group: impl FnOnce() -> Option<String>) -> bool {
        self.since.is_none_or(|since| at_ms >= since)
            && self.until.is_none_or(|until| at_ms < until)
            && (self.commands.is_empty() || self.commands.iter().any(|name| Some(name.as_str()) == command))
            && (self.group.is_none() || self.group == group())
    }
}

/// Parses a time on the command line; gives Unix milliseconds.
pub(super) fn time(text: &str) -> Result<i64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(unix_ms() - ago.as_millis() as i64);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| "10m, 2h30m or 2026-01-31T12:00:00Z is allowed")?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_millis() as i64)
}

/// A time in RFC 3339.
pub(super) fn rfc3339(unix_ms: i64) -> String {
    const LAST_MS: i64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(unix_ms.clamp(0, LAST_MS) as u64);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Text of unknown origin for one line of a terminal. Control characters are escaped, so that they cannot control the
/// terminal.
pub(super) fn safe(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_or_absolute() {
        assert_eq!(time("1970-01-01T00:00:07Z"), Ok(7000));
        let then = time("10m").unwrap();
        let ago = unix_ms() - then;
        assert!((600_000..601_000).contains(&ago), "{ago}");
        assert!(time("yesterday").unwrap_err().contains("is allowed"));
        assert_eq!(rfc3339(1_670_574_414_123), "2022-12-09T08:26:54.123Z");
    }

    #[test]
    fn each_condition_must_hold() {
        let filter = Filter {
            commands: vec!["A".into(), "B".into()],
            group: Some("g".into()),
            since: Some(10),
            until: Some(20),
            ..Filter::default()
        };
        let admits = |command, at, group: &str| filter.admits(command, at, || Some(group.to_owned()));
        assert!(admits(Some("A"), 10, "g") && admits(Some("B"), 19, "g"));
        assert!(!admits(Some("C"), 10, "g") && !admits(None, 10, "g"));
        assert!(!admits(Some("A"), 9, "g") && !admits(Some("A"), 20, "g") && !admits(Some("A"), 10, "h"));
        assert!(Filter::default().admits(None, 0, || None));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(safe("a\x1b[2J\u{9b}b\n世"), "a\\u{1b}[2J\\u{9b}b\\n世");
    }
}
