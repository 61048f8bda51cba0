//! Held answers, tested with a lane and a reader.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Release;
use crate::spool::tests::{on_worker, open_with};
use crate::spool::{Lane, Reader};

const FOREVER: Duration = Duration::from_secs(3600);
const AT_ONCE: Duration = Duration::ZERO;

/// Runs a test with a lane and a reader of a spool whose answers wait for `hold`.
fn with_hold(hold: Option<Duration>, test: impl AsyncFnOnce(Lane, Reader)) {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), |config| config.hold = hold);
    on_worker(test(spool.appender().lane(), spool.reader()));
    spool.close();
}

/// Polls once: `None` if the answer is held.
async fn now(wait: impl Future<Output = Release>) -> Option<Release> {
    let mut wait = std::pin::pin!(wait);
    poll_fn(|context| {
        Poll::Ready(match wait.as_mut().poll(context) {
            Poll::Ready(release) => Some(release),
            Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn an_answer_waits_for_the_confirmation_of_its_record() {
    with_hold(Some(FOREVER), async |lane, reader| {
        let waits: Vec<_> = [0; 3]
            .map(|_| {
                let lane = lane.clone();
                tokio::task::spawn_local(async move {
                    let seq = lane.append(b"x".to_vec()).await.unwrap();
                    (seq, lane.confirmed(seq).await)
                })
            })
            .into();
        let mut waits = waits.into_iter();
        // From another thread, as the forwarder does.
        let confirm = move |seq: u64| {
            std::thread::spawn(move || {
                while reader.appended() < 3 {
                    std::thread::yield_now();
                }
                reader.confirm(seq);
                reader
            })
        };
        let forwarder = confirm(2);
        assert_eq!(waits.next().unwrap().await.unwrap(), (1, Release::Confirmed));
        assert_eq!(waits.next().unwrap().await.unwrap(), (2, Release::Confirmed));
        let reader = forwarder.join().unwrap();
        let mut third = waits.next().unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), &mut third).await;
        assert!(early.is_err(), "it is not confirmed");
        reader.confirm(3);
        assert_eq!(third.await.unwrap(), (3, Release::Confirmed));
        assert_eq!(now(lane.confirmed(3)).await, Some(Release::Confirmed));
    });
}

#[test]
fn without_hold_no_answer_waits_and_no_message_is_late() {
    with_hold(None, async |lane, reader| {
        let seq = lane.append(b"x".to_vec()).await.unwrap();
        assert_eq!(now(lane.confirmed(seq)).await, Some(Release::Confirmed));
        assert!(!reader.is_late(seq, FOREVER));
    });
}

#[test]
fn an_answer_that_waits_too_long_opens_the_breaker_until_confirmations_are_fast() {
    const LIMIT: Duration = Duration::from_millis(600);
    with_hold(Some(LIMIT), async |lane, reader| {
        let began = Instant::now();
        let [first, second] = [lane.append(b"1".to_vec()).await, lane.append(b"2".to_vec()).await].map(Result::unwrap);
        assert!(!reader.is_late(first, AT_ONCE), "sent while the breaker is closed");
        assert_eq!(lane.confirmed(first).await, Release::Early);
        assert!(began.elapsed() >= LIMIT);
        // The breaker is open: a record that was not sent is answered at once, and marked when it is sent.
        assert_eq!(now(lane.confirmed(second)).await, Some(Release::Early));
        assert!(reader.is_late(second, AT_ONCE));
        let third = lane.append(b"3".to_vec()).await.unwrap();
        assert!(reader.is_late(third, AT_ONCE));
        assert_eq!(now(lane.confirmed(third)).await, Some(Release::Early));
        // The breaker closes when everything is confirmed and nothing was slow for a second.
        let fourth = lane.append(b"4".to_vec()).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        reader.confirm(fourth);
        let closing = Instant::now();
        while reader.is_late(fourth, AT_ONCE) {
            reader.confirm(fourth);
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        assert!(
            closing.elapsed() >= Duration::from_millis(990),
            "{:?}",
            closing.elapsed()
        );
        let fifth = lane.append(b"5".to_vec()).await.unwrap();
        assert_eq!(now(lane.confirmed(fifth)).await, None);
        assert!(!reader.is_late(fifth, AT_ONCE));
        assert!(
            reader.is_late(fifth, LIMIT * 2),
            "it is older than the limit, so it may have been answered"
        );
    });
}

#[test]
fn the_answer_to_a_record_that_was_sent_unmarked_waits_for_its_own_time_with_an_open_breaker() {
    const LIMIT: Duration = Duration::from_millis(400);
    with_hold(Some(LIMIT), async |lane, reader| {
        let first = lane.append(b"1".to_vec()).await.unwrap();
        let mut slow = tokio::task::spawn_local({
            let lane = lane.clone();
            async move { lane.confirmed(first).await }
        });
        let early = tokio::time::timeout(LIMIT / 2, &mut slow).await;
        assert!(early.is_err(), "half of its time is left");
        let (unsent, sent) = (
            lane.append(b"2".to_vec()).await.unwrap(),
            lane.append(b"3".to_vec()).await.unwrap(),
        );
        // Records are sent in the spool's order, so the earlier one counts as sent too.
        assert!(!reader.is_late(sent, AT_ONCE));
        let began = Instant::now();
        let [unsent, sent] = [unsent, sent].map(|seq| {
            let lane = lane.clone();
            tokio::task::spawn_local(async move { lane.confirmed(seq).await })
        });
        assert_eq!(slow.await.unwrap(), Release::Early);
        assert_eq!(unsent.await.unwrap(), Release::Early);
        assert_eq!(sent.await.unwrap(), Release::Early);
        assert!(began.elapsed() >= LIMIT, "{:?}", began.elapsed());
    });
}

#[test]
fn records_from_before_the_start_are_late() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), |_| {});
    let seq = on_worker(spool.appender().lane().append(b"x".to_vec())).unwrap();
    spool.close();
    let spool = open_with(folder.path(), |config| config.hold = Some(FOREVER));
    assert!(spool.reader().is_late(seq, AT_ONCE));
    assert!(!spool.reader().is_late(seq + 1, AT_ONCE));
    spool.close();
}
