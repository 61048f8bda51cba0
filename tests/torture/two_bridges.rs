//! Two bridges on one spool: the second does not start and reports why, and the first is not affected.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::size::{report, size};
use crate::support::bridge::{Home, free_ports};
use crate::support::client::Connection;
use crate::support::oracle::{Ledger, Plan};
use crate::support::{eventually, kafka};

/// Starts a second `serve` with a home's configuration but other ports, on the spool in `dir`. Returns its admin port
/// too.
fn second(home: &Home, dir: &Path) -> (Child, u16) {
    let [port, admin_port, registry_port] = free_ports();
    let child = home
        .command("serve")
        .env("IMBRIDGE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("IMBRIDGE_ADMIN__LISTEN", format!("127.0.0.1:{admin_port}"))
        .env("IMBRIDGE_SCHEMAS__LISTEN", format!("127.0.0.1:{registry_port}"))
        .env("IMBRIDGE_SPOOL__DIR", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    (child, admin_port)
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().expect("a child can be waited for").is_some()
}

/// Waits for the end of a bridge that must not start, and checks its error message and its exit code.
fn assert_refused(mut child: Child, dir: &Path) {
    eventually("the second bridge to end", || has_ended(&mut child).then_some(()));
    let output = child.wait_with_output().expect("it has ended");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = format!("the spool {} is in use by another process", dir.display());
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("stop the other one or set another spool.dir"), "{error}");
}

fn slowest_ms(ledger: &Ledger) -> f64 {
    ledger
        .intervals()
        .iter()
        .map(|interval| interval.max_ms)
        .fold(0.0, f64::max)
}

#[test]
fn a_second_bridge_on_one_spool_does_not_start_and_the_first_is_not_affected() {
    let attempts = size("SECONDS_ON_ONE_SPOOL", 6, 100);
    let home = Home::new("two");
    let bridge = home.start();
    let load = Plan::new(&home).with("rate", 1000).start();
    eventually("some load", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 100.0).then_some(())
    });
    let spool = home.path().join("spool");
    let detour = home.path().join("detour");
    std::os::unix::fs::symlink(&spool, &detour).expect("a temporary folder takes links");
    let began = Instant::now();
    for attempt in 0..attempts {
        // A symbolic link to the folder must not help.
        let dir = if attempt % 2 == 0 { &spool } else { &detour };
        assert_refused(second(&home, dir).0, dir);
    }
    let took = began.elapsed();
    let ledger = load.stop();
    bridge.settle();
    assert_eq!(bridge.metric(&["imbridge_producer_rebuilds_total"]), 0.0);
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report(
        "two bridges",
        &format!(
            "{attempts} second bridges refused in {:.1} s; first: {}, {} posts unanswered, slowest answer {:.0} ms",
            took.as_secs_f64(),
            verdict.summary(),
            ledger.unanswered,
            slowest_ms(&ledger)
        ),
    );
    verdict.assert_kept();
    assert_eq!(ledger.unanswered, 0, "the first bridge answered everything");
    assert!(ledger.acknowledged > 100, "the load did not run");
}

#[test]
fn when_two_bridges_start_at_once_on_one_spool_one_of_them_runs() {
    let races = size("RACES", 6, 100);
    let home = Home::new("race");
    let spool = home.path().join("spool");
    for _ in 0..races {
        let mut both = vec![second(&home, &spool), second(&home, &spool)];
        let loser = eventually("one of two bridges to end", || {
            both.iter_mut().position(|(child, _)| has_ended(child))
        });
        assert_refused(both.remove(loser).0, &spool);
        let (mut winner, admin_port) = both.remove(0);
        eventually("the other one to be ready", || {
            assert!(!has_ended(&mut winner), "both ended");
            let answer = Connection::open(admin_port)?.request("GET", "/readyz", &[], b"");
            answer.filter(|answer| answer.status == 200)
        });
        winner.kill().expect("it runs");
        winner.wait().expect("a child can be waited for");
    }
    report(
        "two bridges",
        &format!("{races} races of two starts, in each of them one was refused and the other ready"),
    );
}
