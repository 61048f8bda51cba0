//! Disks that fail while the bridge runs. Nothing is acknowledged meanwhile, readiness reports the reason, and no user
//! is blocked. When the disk works again, the bridge goes on without a restart and without a loss.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::disk::acks::target;
use crate::disk::image::{Folder, Luck};
use crate::disk::{Disk, EIO, ENOSPC, EROFS, Word, cut_power};
use crate::size::report;
use crate::support::bridge::{APP, Bridge, Home};
use crate::support::oracle::Plan;
use crate::support::{eventually, kafka, schemas};

/// One fault: how it begins and ends.
struct Fault<'a> {
    name: &'a str,
    begin: &'a dyn Fn(&Home, &Disk),
    end: &'a dyn Fn(&Home, &Disk),
    /// Readiness must report one of these reasons.
    reasons: &'a [&'a str],
    /// Whether no write can succeed during the fault. A full disk has room again when the bridge itself frees some.
    total: bool,
}

/// How long a fault lasts after it was noticed.
const LASTS: Duration = Duration::from_secs(2);

fn survive(home: Home, disk: &Disk, fault: &Fault<'_>) -> (Home, Bridge) {
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    // Without this rate, a small disk would be full before Kafka has its topics.
    let load = Plan::new(&home).with("rate", 2000).start();
    eventually("the load to run", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 500.0).then_some(())
    });
    (fault.begin)(&home, disk);
    let said = eventually("readiness to be red", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 503)
    })
    .1;
    assert!(
        fault.reasons.iter().any(|reason| said.contains(reason)),
        "{}: {said}",
        fault.name
    );
    let (until, mut refused, mut taken, mut allowed) = (Instant::now() + LASTS, 0, 0, 0);
    while Instant::now() < until {
        let after = bridge
            .connect()
            .post(&target(), r#"{"GroupId":"probe","Name":"-1"}"#)
            .expect("an answer");
        match after.status {
            503 => refused += 1,
            200 if !fault.total => taken += 1,
            _ => panic!("{}: acknowledged on a broken disk: {after:?}", fault.name),
        }
        let (asked, target) = (
            Instant::now(),
            format!("/tencent?SdkAppid={APP}&CallbackCommand={before}&contenttype=json"),
        );
        let answer = bridge
            .connect()
            .post(&target, r#"{"GroupId":"probe"}"#)
            .expect("an answer");
        assert!(
            answer.status == 200 && answer.body.contains(r#""ActionStatus":"OK""#),
            "{}: {answer:?}",
            fault.name
        );
        assert!(
            asked.elapsed() < Duration::from_millis(1500),
            "{}: {:?}",
            fault.name,
            asked.elapsed()
        );
        allowed += 1;
    }
    let lines = bridge
        .log()
        .lines()
        .filter(|line| line.contains("WAL could not be copied"))
        .count();
    assert!(lines <= 3, "{}: {lines} lines of one kind in {LASTS:?}", fault.name);
    (fault.end)(&home, disk);
    let cleared = Instant::now();
    eventually("readiness to be green again", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    let back = cleared.elapsed();
    let published = bridge.metric(&["imbridge_messages_published_total"]);
    eventually("the load to go on", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > published + 500.0).then_some(())
    });
    let ledger = load.stop();
    bridge.settle();
    let verdict = ledger.judge(&kafka::shared(), &home);
    report(
        "faults",
        &format!(
            "{}: {refused} refused, {taken} acknowledged and {allowed} allowed meanwhile, ready {:.1} s after, {}",
            fault.name,
            back.as_secs_f64(),
            verdict.summary()
        ),
    );
    verdict.assert_kept();
    assert!(refused > 0, "{}: nothing was refused", fault.name);
    assert!(
        verdict.foreign >= taken,
        "{}: {taken} acknowledged, {verdict:#?}",
        fault.name
    );
    (home, bridge)
}

/// A fault that the shim makes as long as a word is set.
fn by_shim(name: &str, word: Word, errno: i64, reasons: &[&str]) {
    let mut home = Home::new("fault");
    let disk = Disk::under(&mut home, false);
    let begin = move |_: &Home, disk: &Disk| {
        if errno == EROFS {
            disk.set(Word::OpenErrno, errno);
        }
        // The fault does not begin at once, but within a group of writes.
        disk.set(Word::WriteSkip, 7);
        disk.set(word, errno);
    };
    let end = |_: &Home, disk: &Disk| {
        assert!(errno == 1 || disk.get(Word::Faults) > 0, "nothing has failed");
        disk.behave();
    };
    let fault = Fault {
        name,
        begin: &begin,
        end: &end,
        reasons,
        total: true,
    };
    let (_home, bridge) = survive(home, &disk, &fault);
    assert!(bridge.terminate().success());
}

#[test]
fn a_disk_that_fails_to_write_is_survived() {
    by_shim("EIO on write", Word::WriteErrno, EIO, &["spool_broken"]);
}

#[test]
fn a_disk_that_becomes_read_only_is_survived() {
    by_shim("read-only", Word::WriteErrno, EROFS, &["spool_broken"]);
}

#[test]
fn a_disk_without_room_is_survived() {
    by_shim("ENOSPC", Word::WriteErrno, ENOSPC, &["spool_broken"]);
}

#[test]
fn a_disk_that_hangs_is_survived() {
    by_shim("hanging syncs", Word::Hang, 1, &["spool_broken"]);
}

#[test]
fn a_disk_that_fails_to_sync_is_survived_and_what_it_dropped_is_not_built_upon() {
    let mut home = Home::new("fault");
    let disk = Disk::under(&mut home, true);
    let begin = |_: &Home, disk: &Disk| {
        disk.set(Word::SyncSkip, 3);
        disk.set(Word::SyncErrno, EIO);
    };
    let end = |_: &Home, disk: &Disk| disk.behave();
    let fault = Fault {
        name: "EIO on fsync",
        begin: &begin,
        end: &end,
        reasons: &["spool_broken"],
        total: true,
    };
    let (home, bridge) = survive(home, &disk, &fault);
    // The worst case: data that a failed sync covered is lost, even if a later sync succeeded.
    let load = Plan::new(&home).with("each", 30).start().finish();
    bridge.kill();
    cut_power(&disk, &Folder::new(), Luck::None, &mut fastrand::Rng::with_seed(31));
    let bridge = home.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = load.judge(&kafka::shared(), &home);
    report(
        "faults",
        &format!("power cut after EIO on fsync: {}", verdict.summary()),
    );
    verdict.assert_kept();
}

/// A small real disk, if this machine allows to mount one.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(at: std::path::PathBuf) -> Option<Mount> {
        std::fs::create_dir_all(&at).expect("a temporary folder is writable");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"])
            .arg(&at)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

/// A spool whose disk can be filled to the last byte. If nothing can be mounted, the shim reports a full disk.
struct Small {
    mount: Option<Mount>,
    ballast: std::path::PathBuf,
}

impl Small {
    fn under(home: &mut Home) -> Small {
        home.set("SPOOL__MIN_FREE_BYTES", "0");
        let spool = home.path().join("spool");
        Small {
            ballast: spool.join("ballast"),
            mount: Mount::new(spool),
        }
    }

    fn fill(&self, disk: &Disk) {
        if self.mount.is_none() {
            return disk.set(Word::WriteErrno, ENOSPC);
        }
        let mut file = std::fs::File::create(&self.ballast).expect("there is room for a name");
        let chunk = [1; 4096];
        while std::io::Write::write(&mut file, &chunk).is_ok_and(|written| written > 0) {}
    }

    fn clear(&self, disk: &Disk) {
        disk.behave();
        std::fs::remove_file(&self.ballast).ok();
    }

    fn name(&self) -> &'static str {
        match self.mount {
            Some(_) => "a full disk",
            None => "ENOSPC, since nothing can be mounted here",
        }
    }
}

#[test]
fn a_disk_without_room_at_a_start_is_waited_for_with_users_let_through() {
    let mut home = Home::new("start");
    let small = Small::under(&mut home);
    let disk = Disk::under(&mut home, false);
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    let load = Plan::new(&home).with("rate", 1000).start();
    eventually("the load to run", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 500.0).then_some(())
    });
    bridge.kill();
    // Without the WAL's index, opening always needs room. The WAL's pages may have room in the file already.
    let index = home.path().join("spool/spool.db-shm");
    std::fs::remove_file(index).expect("SQLite keeps an index beside its WAL");
    small.fill(&disk);
    let bridge = home.start_unready();
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        let (status, said) = bridge.admin("/readyz").expect("the admin port answers");
        assert!(status == 503 && said.contains("spool_opening"), "{status} {said}");
        assert_eq!(bridge.admin("/livez").expect("the admin port answers").0, 200);
        let allowed = bridge.post(before, r#"{"GroupId":"probe"}"#);
        assert!(allowed.status == 200 && allowed.body.contains("OK"), "{allowed:?}");
        let refused = bridge.connect().post(&target(), r#"{"GroupId":"probe","Name":"-1"}"#);
        let refused = refused.expect("an answer");
        assert!(
            refused.status == 503 && refused.header("retry-after").is_some(),
            "{refused:?}"
        );
    }
    small.clear(&disk);
    eventually("readiness to be green", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report("faults", &format!("{} at a start: {}", small.name(), verdict.summary()));
    verdict.assert_kept();
}

#[test]
fn a_disk_that_others_fill_to_the_last_byte_is_survived() {
    let mut home = Home::new("fault");
    let small = Small::under(&mut home);
    let disk = Disk::under(&mut home, false);
    let fault = Fault {
        name: small.name(),
        begin: &|_, disk| small.fill(disk),
        end: &|_, disk| small.clear(disk),
        reasons: &["spool_broken", "spool_full"],
        total: small.mount.is_none(),
    };
    let (_home, bridge) = survive(home, &disk, &fault);
    assert!(bridge.terminate().success());
}
