//! kill -9 of the bridge under load, at random moments: what was acknowledged is there, once, in order.

use std::time::Duration;

use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::load::Load;
use crate::support::reader::consume;

#[test]
fn kills_at_random_moments_under_load_lose_nothing_and_repeat_nothing() {
    let cycles = size("KILLS", 20, 1000);
    let home = Home::new("crash");
    let mut bridge = home.start();
    let load = Load::start(home.port, 16, 64, u64::MAX);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..cycles {
        // The moment is what is varied, not what is waited for.
        std::thread::sleep(Duration::from_millis(random.u64(20..700)));
        bridge.kill();
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    let skipped = bridge.metric(&["imbridge_messages_skipped_total "]);
    assert!(bridge.terminate().success());
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let unacknowledged = ledger.judge(&consumed);
    report(
        "kill",
        &format!(
            "{cycles} kills, {} acknowledged, {} in Kafka, {unacknowledged} of them not acknowledged, {skipped} skipped by the last life",
            ledger.count(),
            consumed.len()
        ),
    );
    assert!(
        ledger.count() > 1000,
        "only {} were acknowledged: the load did not run",
        ledger.count()
    );
}
