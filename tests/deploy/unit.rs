//! The systemd unit, checked by systemd's own tools if they are installed.

use std::process::Command;

use crate::support::bridge::PROGRAM;
use crate::tools::{assert_command_line, run, text, well};

const UNIT: &str = "deploy/imbridge.service";

fn setting(key: &str) -> String {
    let unit = text(UNIT);
    let found = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{UNIT} has no {key}")).to_owned()
}

#[test]
fn the_unit_fits_the_program() {
    let line = setting("ExecStart");
    let mut words = line.split(' ').map(str::to_owned);
    assert!(
        words.next().is_some_and(|program| program.ends_with("/imbridge")),
        "{line}"
    );
    assert_command_line(&words.collect::<Vec<_>>());
    assert_eq!(setting("Type"), "notify");
    assert_eq!(setting("RestartPreventExitStatus"), "64");
    let example = text("config/imbridge.example.toml");
    assert!(example.contains(&format!("dir = \"/var/lib/{}\"", setting("StateDirectory"))));
    assert_eq!(setting("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(setting("WatchdogSec"), "30s");
    assert_eq!(setting("StartLimitIntervalSec"), "0", "it is not given up");
    let stop = setting("TimeoutStopSec");
    let stop: u32 = stop.trim_end_matches('s').parse().expect("seconds");
    assert!(stop > 15 + 20 + 5, "{stop} s are not enough to drain");
}

#[test]
fn systemd_accepts_the_unit_and_its_restrictions() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let unit = folder.path().join("imbridge.service");
    std::fs::write(&unit, text(UNIT).replace("/usr/local/bin/imbridge", PROGRAM)).expect("it is writable");
    let output = run(Command::new("systemd-analyze").arg("verify").arg(&unit));
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{}", output.out);
    // The exposure: 0 is fully restricted, 100 not at all.
    well(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20"])
            .arg(&unit),
    );
}
