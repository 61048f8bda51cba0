//! kill -9 at chosen moments that random kills seldom hit: before a sync and right after it, between a delivery and the
//! sync of the delivery update, while the WAL is copied, and repeatedly while the spool is opened.

use crate::disk::{Disk, Moment, Word};
use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::oracle::{Plan, judge};
use crate::support::{eventually, kafka, run};

/// Starts bridges one after the other under load, and kills each one at its moment. Then everything is delivered and
/// judged.
fn killed_under_load(name: &str, moments: &[Moment], kills: u64, skip: std::ops::Range<i64>, pad_bytes: u64) {
    let mut home = Home::new("moments");
    let disk = Disk::under(&mut home, false);
    let mut random = fastrand::Rng::with_seed(21);
    let mut bridge = home.start();
    let load = Plan::new(&home).with("pad-bytes", pad_bytes).start();
    for kill in 0..kills {
        disk.kill_at(moments[kill as usize % moments.len()], random.i64(skip.clone()));
        wait_for_end(&disk, bridge);
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report("moments", &format!("{kills} kills {name}, {}", verdict.summary()));
    verdict.assert_kept();
    assert!(
        ledger.acknowledged > 100,
        "only {} were acknowledged",
        ledger.acknowledged
    );
}

/// Waits until the shim has killed the bridge, and stops the shim from killing the next one.
fn wait_for_end(disk: &Disk, bridge: Bridge) {
    eventually("the bridge to be killed at its moment", || {
        bridge.admin("/livez").is_none().then_some(())
    });
    disk.behave();
    bridge.kill();
}

#[test]
fn kills_before_and_after_a_sync_lose_nothing_and_repeat_nothing() {
    let kills = size("SYNC_KILLS", 10, 300);
    killed_under_load("at a sync", &[Moment::BeforeSync, Moment::AfterSync], kills, 0..60, 0);
}

#[test]
fn kills_while_the_wal_is_copied_lose_nothing_and_repeat_nothing() {
    let kills = size("COPY_KILLS", 8, 300);
    let moments = [Moment::BeforeDbWrite, Moment::AfterDbWrite];
    killed_under_load("while the WAL is copied", &moments, kills, 0..100, 4000);
}

#[test]
fn kills_between_delivery_and_its_note_repeat_nothing() {
    let rounds = size("PROGRESS_KILLS", 4, 60);
    let mut home = Home::with_brokers("progress", "127.0.0.1:1");
    let disk = Disk::under(&mut home, false);
    let (mut ledgers, mut random) = (Vec::new(), fastrand::Rng::with_seed(22));
    let mut kills = 0;
    for round in 0..rounds {
        if nothing_waits(&home) {
            home.set("KAFKA__BROKERS", "127.0.0.1:1");
            let bridge = home.start();
            ledgers.push(Plan::new(&home).with("groups", 200).with("each", 100).start().finish());
            bridge.kill();
            home.set("KAFKA__BROKERS", kafka::shared());
        }
        let bridge = home.start();
        // There is no load any more, and the read-back waits half a second. So every further sync is one of a delivery
        // update.
        let moment = [Moment::BeforeSync, Moment::AfterSync][round as usize % 2];
        disk.kill_at(moment, random.i64(0..4));
        let killed = eventually("the bridge to be killed, or to have nothing left", || {
            match bridge.admin("/livez") {
                None => Some(true),
                Some(_) => (disk.get(Word::KillMask) != 0 && is_delivered(&bridge)).then_some(false),
            }
        });
        disk.behave();
        bridge.kill();
        kills += u64::from(killed);
    }
    let bridge = home.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    let paths: Vec<_> = ledgers.iter().map(|ledger| &*ledger.path).collect();
    let verdict = judge(&kafka::shared(), &home, &paths, "read_committed");
    report(
        "moments",
        &format!("{kills} kills between a delivery and its note, {}", verdict.summary()),
    );
    verdict.assert_kept();
    assert!(
        kills > 0 && verdict.acknowledged == 20_000 * ledgers.len() as u64,
        "{kills} kills, {ledgers:?}"
    );
}

/// Whether the spool of a stopped bridge holds nothing to deliver.
fn nothing_waits(home: &Home) -> bool {
    let (code, text, error) = run(&mut home.command("spool stat --json"));
    // Before the first start there is no spool.
    let stat = || serde_json::from_str::<serde_json::Value>(&text).expect(&error);
    code != Some(0) || stat()["appended"] == stat()["delivered"]
}

/// The gauge is set at each tick. Before the first tick it is 0, so something must also have been published.
fn is_delivered(bridge: &Bridge) -> bool {
    let Some((_, text)) = bridge.admin("/metrics") else {
        return false;
    };
    let published = text.contains("imbridge_messages_published_total{");
    published && text.lines().any(|line| line == "imbridge_spool_records 0")
}

#[test]
fn kills_again_and_again_while_the_spool_is_opened_lose_nothing() {
    let rounds = size("OPENING_KILLS", 1, 20);
    let mut home = Home::new("opening");
    let disk = Disk::under(&mut home, false);
    let (mut kills, mut ledgers) = (0, Vec::new());
    for _ in 0..rounds {
        let bridge = home.start();
        let load = Plan::new(&home).with("pad-bytes", 2000).start();
        eventually("the WAL to hold something", || {
            (disk.get(Word::Writes) > 500).then_some(())
        });
        bridge.kill();
        ledgers.push(load.stop());
        for skip in 0..40 {
            disk.behave();
            disk.set(Word::Writes, 0);
            disk.kill_at(Moment::BeforeAny, skip);
            let bridge = home.spawn();
            let lives = eventually("the bridge to be killed or ready", || {
                if is_gone(&bridge) {
                    return Some(false);
                }
                bridge
                    .admin("/readyz")
                    .filter(|(status, _)| *status == 200)
                    .map(|_| true)
            });
            disk.behave();
            bridge.kill();
            if lives {
                break;
            }
            kills += 1;
        }
        disk.set(Word::Writes, 0);
    }
    let bridge = home.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    let paths: Vec<_> = ledgers.iter().map(|ledger| ledger.path.as_path()).collect();
    let verdict = crate::support::oracle::judge(&kafka::shared(), &home, &paths, "read_committed");
    report(
        "moments",
        &format!("{kills} kills while the spool is opened, {}", verdict.summary()),
    );
    verdict.assert_kept();
    assert!(kills > 3, "{kills} kills");
}

/// Whether a bridge has ended: it is a zombie until this test waits for it.
fn is_gone(bridge: &Bridge) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", bridge.pid())).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
}
