//! The public interface of the spool: what was acknowledged is read back, in order, also after it is closed and
//! reopened.

use std::time::{Duration, Instant};

use prometheus::Registry;

use super::{AppendError, Config, Health, Keep, Metrics, OpenError, Spool};

fn open(dir: &std::path::Path) -> Spool {
    open_with(dir, |_| {})
}

pub(super) fn open_with(dir: &std::path::Path, change: impl FnOnce(&mut Config)) -> Spool {
    let mut config = Config {
        dir: dir.to_owned(),
        ..Config::default()
    };
    change(&mut config);
    Spool::open(&config, Metrics::new(&Registry::new()).unwrap()).unwrap()
}

/// Waits for a condition: the writer deletes records and checks the room after it has completed a commit.
fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_true() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        std::thread::yield_now();
    }
}

/// Runs a future like an actix worker: on a single thread with a `LocalSet`.
pub(super) fn on_worker<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn append_all(spool: &Spool, records: impl IntoIterator<Item = Vec<u8>>) -> Vec<Result<u64, AppendError>> {
    let lane = spool.appender().lane();
    on_worker(async {
        let tasks: Vec<_> = records
            .into_iter()
            .map(|record| {
                let lane = lane.clone();
                tokio::task::spawn_local(async move { lane.append(record).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    })
}

#[test]
fn records_get_rising_numbers_and_are_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let outcomes = append_all(&spool, (0..1000u32).map(|n| n.to_le_bytes().to_vec()));
    assert_eq!(outcomes, (1..=1000).map(Ok).collect::<Vec<_>>());
    let records = spool.reader().read(0, usize::MAX).unwrap();
    assert!(
        (0..1000u32)
            .zip(&records)
            .all(|(n, record)| *record.data == n.to_le_bytes() && record.seq == u64::from(n) + 1)
    );
    assert_eq!(records.len(), 1000);
}

#[test]
fn several_lanes_share_one_order_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    std::thread::scope(|scope| {
        for lane in 0..4u8 {
            let spool = &spool;
            scope.spawn(move || {
                assert!(
                    append_all(spool, (0..500).map(|_| vec![lane]))
                        .iter()
                        .all(Result::is_ok)
                )
            });
        }
    });
    let records = spool.reader().read(0, usize::MAX).unwrap();
    assert!((1..=2000).zip(&records).all(|(seq, record)| record.seq == seq));
    assert_eq!(records.len(), 2000);
}

#[test]
fn a_spool_that_was_closed_goes_on_after_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let name = spool.name();
    append_all(&spool, (0..10).map(|n| vec![n]));
    spool.reader().deliver(7, vec![("a".into(), "b".into())]);
    spool.close();
    let spool = open(folder.path());
    let mut reader = spool.reader();
    assert_eq!(spool.name(), name);
    assert_eq!((reader.appended(), reader.delivered()), (10, 7));
    assert_eq!(reader.notes().unwrap(), [("a".to_owned(), "b".to_owned())]);
    assert_eq!(append_all(&spool, [vec![9]]), [Ok(11)]);
    assert_eq!(reader.read(7, usize::MAX).unwrap().len(), 4);
}

#[test]
fn numbers_are_never_used_again_after_everything_was_delivered_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append_all(&spool, (0..10).map(|n| vec![n]));
    spool.reader().deliver(10, Vec::new());
    spool.close();
    let spool = open(folder.path());
    spool.reader().deliver_durably(0, Vec::new()).unwrap();
    assert!(spool.reader().read(0, usize::MAX).unwrap().is_empty());
    assert_eq!(append_all(&spool, [vec![9]]), [Ok(11)]);
}

#[test]
fn a_full_spool_refuses_and_accepts_again_when_records_are_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), |config| config.max_bytes = 1 << 20);
    let mut accepted = 0;
    while append_all(&spool, [vec![0; 100_000]])[0].is_ok() {
        accepted += 1;
    }
    // 1 MiB, and the records that are appended before the room is checked again.
    assert!((5..=16).contains(&accepted), "{accepted}");
    assert!(matches!(spool.shared.health(), Health::Full(_)));
    assert_eq!(append_all(&spool, [vec![0]]), [Err(AppendError::Full)]);
    spool.reader().deliver(accepted, Vec::new());
    spool.reader().deliver_durably(0, Vec::new()).unwrap();
    // The room is checked after the callers of the commit were completed.
    eventually("there is room", || spool.shared.health() == Health::Accepting);
    assert_eq!(append_all(&spool, [vec![0]]), [Ok(accepted + 1)]);
}

/// Waits for a condition on the numbers of the records that are left.
fn wait_until(spool: &Spool, what: &str, is_true: impl Fn(&[u64]) -> bool) {
    // A read beside a delivery update in progress could find a gap. The forwarder does both in one thread.
    spool.reader().deliver_durably(0, Vec::new()).unwrap();
    eventually(what, || {
        let records = spool.reader().read(0, usize::MAX).unwrap();
        is_true(&records.iter().map(|record| record.seq).collect::<Vec<u64>>())
    });
}

fn keep(ms: i64, records: u64) -> impl Fn(&mut Config) {
    move |config| config.keep = Some(Keep { ms, records })
}

#[test]
fn delivered_records_are_kept_for_their_time_and_over_a_restart_and_then_deleted_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), keep(3_600_000, 1000));
    append_all(&spool, (0..10).map(|n| vec![n]));
    spool.reader().deliver(7, Vec::new());
    spool.close();
    let spool = open_with(folder.path(), keep(3_600_000, 1000));
    let mut reader = spool.reader();
    assert_eq!((reader.appended(), reader.delivered()), (10, 7));
    spool.reader().deliver_durably(0, Vec::new()).unwrap();
    assert_eq!(reader.read(0, usize::MAX).unwrap().len(), 10);
    spool.close();
    let spool = open_with(folder.path(), keep(1, 1000));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    // Records that were appended together with the first undelivered one are kept with it.
    spool.reader().deliver(10, Vec::new());
    wait_until(&spool, "nothing is left", <[u64]>::is_empty);
    assert_eq!(append_all(&spool, [vec![9]]), [Ok(11)]);
}

#[test]
fn only_so_many_delivered_records_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), keep(3_600_000, 100));
    append_all(&spool, (0..3000u32).map(|n| n.to_le_bytes().to_vec()));
    spool.reader().deliver(2500, Vec::new());
    wait_until(&spool, "600 are left", |numbers| numbers.first() == Some(&2401));
    assert_eq!(spool.reader().read(0, usize::MAX).unwrap().len(), 600);
}

#[test]
fn kept_records_take_a_tenth_of_the_spool_and_never_fill_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), |config| {
        keep(3_600_000, 1_000_000)(config);
        config.max_bytes = 2 << 20;
    });
    for _ in 0..20 {
        let appended = append_all(&spool, (0..4).map(|_| vec![0; 100_000]));
        let last = appended.into_iter().flatten().max().expect("there is room");
        spool.reader().deliver(last, Vec::new());
        wait_until(&spool, "a tenth", |numbers| numbers.len() <= 2);
        eventually("there is room", || spool.shared.health() == Health::Accepting);
    }
}

#[test]
fn the_bytes_that_wait_for_the_disk_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), |config| config.max_pending_bytes = 1000);
    let outcomes = append_all(&spool, (0..20).map(|_| vec![0; 300]));
    assert!(outcomes.contains(&Err(AppendError::Overloaded)), "{outcomes:?}");
    assert!(outcomes[..3].iter().all(Result::is_ok), "{outcomes:?}");
}

#[test]
fn a_second_process_cannot_open_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let config = Config {
        dir: folder.path().to_owned(),
        ..Config::default()
    };
    let second = Spool::open(&config, Metrics::new(&Registry::new()).unwrap());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
}

#[test]
fn a_waiting_reader_is_woken_by_an_append() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let reader = spool.reader();
    let waiting = std::thread::spawn(move || reader.wait(0, Duration::from_secs(30)));
    append_all(&spool, [vec![1]]);
    assert!(waiting.join().unwrap());
}

#[test]
fn a_writer_that_panics_is_reported_dead_and_nothing_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let pulse = spool.pulse();
    assert_eq!(pulse.dead(), None);
    // A panic while the lock is held poisons it. The writer panics at its next repair.
    let shared = spool.shared.clone();
    let panicked = std::thread::spawn(move || shared.with_file_closed(|| panic!("as a test")));
    assert!(panicked.join().is_err());
    spool.shared.report_damage("as a test".into());
    spool.shared.writer.wake();
    eventually("the writer has ended", || pulse.dead().is_some());
    assert_eq!(pulse.dead(), Some("spool-writer"));
    assert!(matches!(spool.shared.health(), Health::Broken(_)));
}
