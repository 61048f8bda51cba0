//! Power cuts. The bridge runs under load on a disk whose operations are logged. Then the folder is rebuilt as a disk
//! could leave it after a power cut at each sync and between syncs, and the real code opens it. Everything that was
//! acknowledged before that moment must be there, intact and in order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use imbridge::spool::{Config, Metrics, Record, Spool};

use crate::damage::quarantined;
use crate::disk::acks::{Ack, id_of, post};
use crate::disk::image::{self, Folder, Luck, Model};
use crate::disk::log::{Log, What};
use crate::disk::{Disk, Word, cut_power, scratch};
use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::{Plan, judge as judge_all};

/// All records that the real spool reads from a folder, in order.
fn recover(folder: &Path) -> Result<Vec<Record>, String> {
    let config = Config {
        dir: folder.to_owned(),
        ..Config::default()
    };
    let metrics = Metrics::new(&prometheus::Registry::new()).expect("a new registry has no such names");
    let spool = Spool::open(&config, metrics).map_err(|cause| cause.to_string())?;
    let mut reader = spool.reader();
    let mut records: Vec<Record> = Vec::new();
    let outcome = loop {
        let last = records.last().map_or(reader.delivered(), |record| record.seq);
        match reader.read(last, usize::MAX) {
            Ok(more) if more.is_empty() && last == reader.appended() => break Ok(()),
            Ok(more) if more.is_empty() => break Err(format!("{} of {} records are there", last, reader.appended())),
            Ok(more) => records.extend(more),
            Err(cause) => break Err(cause.to_string()),
        }
    };
    drop(reader);
    spool.close();
    outcome.map(|()| records)
}

/// Judges one folder. It must hold a prefix of the true records without gaps, at least up to the last acknowledged one,
/// and no repair must have been made.
fn judge(folder: &Path, truth: &[Record], acknowledged: u64) -> Result<(), String> {
    let records = recover(folder)?;
    for (record, true_one) in records.iter().zip(truth) {
        if record.seq != true_one.seq || record.data != true_one.data || !record.intact {
            return Err(format!(
                "record {} is not what was appended as {}",
                record.seq, true_one.seq
            ));
        }
    }
    if (records.len() as u64) < acknowledged || records.len() > truth.len() {
        let last = truth.len();
        return Err(format!(
            "{} records; {acknowledged} were acknowledged, {last} appended",
            records.len()
        ));
    }
    match quarantined(folder) {
        0 => Ok(()),
        files => Err(format!("taken for damage: {files} files in quarantine")),
    }
}

/// The result of a run.
struct Run {
    log: Log,
    /// Writes to the main file, made when the WAL is copied.
    copied: i64,
    /// The acknowledged sequence numbers, each with its time.
    acks: Vec<(u64, u64)>,
    /// Everything that was appended.
    truth: Vec<Record>,
}

/// Runs the bridge without Kafka until its disk has seen so many syncs.
fn run(syncs: u64, ignore_syncs: bool) -> Run {
    let mut home = Home::with_brokers("power", "127.0.0.1:1");
    let disk = Disk::under(&mut home, true);
    disk.set(Word::IgnoreSyncs, ignore_syncs.into());
    let bridge = home.start();
    let acks = post(&bridge, 8, 3000, || disk.get(Word::Syncs) as u64 >= syncs);
    bridge.kill();
    let log = disk.take_log();
    let truth = recover(disk.spool()).expect("without a power cut everything is there");
    Run {
        copied: disk.get(Word::DbWrites),
        acks: sequence_numbers(&acks, &truth),
        log,
        truth,
    }
}

fn sequence_numbers(acks: &[Ack], truth: &[Record]) -> Vec<(u64, u64)> {
    let seqs: std::collections::HashMap<u64, u64> = truth
        .iter()
        .filter_map(|record| Some((id_of(&record.data)?, record.seq)))
        .collect();
    let seq_of = |ack: &Ack| (seqs[&ack.id], ack.at_ns);
    acks.iter().map(seq_of).collect()
}

#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    folders: u64,
    bad: Vec<String>,
}

/// Cuts the power about `cuts` times at syncs, and some times between them, with three outcomes each.
fn cut_everywhere(run: &Run, cuts: u64, random: &mut fastrand::Rng) -> Tally {
    let operations = run.log.operations();
    let is_sync = |what: What<'_>| {
        matches!(
            what,
            What::SyncBegan { .. } | What::SyncEnded { .. } | What::SyncIgnored
        )
    };
    let around_sync = |at: usize| {
        let next = operations.get(at + 1).map(|operation| operation.what);
        is_sync(operations[at].what) || next.is_some_and(is_sync)
    };
    let places = (0..operations.len()).filter(|at| around_sync(*at)).count();
    let share = cuts as f64 / places as f64;
    let scratch = scratch();
    let folder: PathBuf = scratch.path().join("spool");
    let (mut model, mut tally, mut moment_ns) = (Model::new(&Folder::new()), Tally::default(), 0);
    for (at, operation) in operations.iter().enumerate() {
        model.apply(operation);
        moment_ns = operations
            .get(at + 1)
            .map_or(u64::MAX, |next| next.at_ns.max(moment_ns));
        // Between syncs, where writes are in progress, a tenth as often.
        let chance = if around_sync(at) { share } else { share / 10.0 };
        if random.f64() >= chance {
            continue;
        }
        let before = run.acks.iter().filter(|(_, at_ns)| *at_ns < moment_ns);
        let acknowledged = before.map(|(seq, _)| *seq).max().unwrap_or(0);
        tally.cuts += 1;
        for luck in [Luck::None, Luck::All, Luck::Some(random.f64())] {
            image::write(&folder, &model.cut(luck, random));
            tally.folders += 1;
            if let Err(what) = judge(&folder, &run.truth, acknowledged) {
                tally.bad.push(format!("operation {at}, {luck:?}: {what}"));
            }
        }
    }
    tally
}

#[test]
fn a_power_cut_at_any_sync_or_between_leaves_every_acknowledged_record() {
    let cuts = size("CUTS", 100, 3000);
    let run = run(cuts.max(200), false);
    let tally = cut_everywhere(&run, cuts, &mut fastrand::Rng::with_seed(11));
    report(
        "power",
        &format!(
            "{} cuts, {} folders, {} records acknowledged of {} appended, {} operations ({} writes to the main file), {} bad",
            tally.cuts,
            tally.folders,
            run.acks.len(),
            run.truth.len(),
            run.log.operations().len(),
            run.copied,
            tally.bad.len()
        ),
    );
    assert!(tally.bad.is_empty(), "{:#?}", tally.bad);
    assert!(tally.cuts > cuts / 2 && run.acks.len() > 100, "{tally:?}");
}

#[test]
fn power_cuts_detect_a_bridge_whose_syncs_are_left_out() {
    let run = run(100, true);
    let tally = cut_everywhere(&run, 20, &mut fastrand::Rng::with_seed(12));
    assert!(tally.bad.len() as u64 >= tally.cuts / 2, "{tally:?}");
}

#[test]
fn power_cuts_under_load_lose_nothing_and_repeat_nothing_in_kafka() {
    let cycles = size("POWER", 8, 300);
    let mut home = Home::new("power");
    let disk = Disk::under(&mut home, true);
    let (mut base, mut random) = (Folder::new(), fastrand::Rng::with_seed(13));
    let mut bridge = home.start();
    let load = Plan::new(&home).start();
    for _ in 0..cycles {
        // This sleep varies the moment of the power cut. It waits for nothing.
        std::thread::sleep(Duration::from_millis(random.u64(20..900)));
        bridge.kill();
        let luck = [Luck::None, Luck::All, Luck::Some(random.f64())][random.usize(..3)];
        base = cut_power(&disk, &base, luck, &mut random);
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report(
        "power, end to end",
        &format!("{cycles} power cuts, {}", verdict.summary()),
    );
    verdict.assert_kept();
    assert!(
        ledger.acknowledged > 1000,
        "only {} were acknowledged",
        ledger.acknowledged
    );
}

#[test]
fn the_judge_detects_a_bridge_whose_syncs_are_left_out() {
    let mut home = Home::with_brokers("unsynced", "127.0.0.1:1");
    let disk = Disk::under(&mut home, true);
    disk.set(Word::IgnoreSyncs, 1);
    let bridge = home.start();
    let first = Plan::new(&home).with("each", 20).start().finish();
    bridge.kill();
    cut_power(&disk, &Folder::new(), Luck::None, &mut fastrand::Rng::with_seed(14));
    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    let second = Plan::new(&home).with("each", 5).start().finish();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = judge_all(&kafka::shared(), &home, &[&first.path, &second.path], "read_committed");
    assert!(
        first.acknowledged > 1000 && second.acknowledged == 320,
        "{first:?} {second:?}"
    );
    assert_eq!(verdict.acknowledged_and_missing, first.acknowledged, "{verdict:#?}");
}
