//! kill -9 of the bridge under load at random moments: every acknowledged event is in Kafka once and in order.

use std::time::{Duration, Instant};

use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::Plan;

#[test]
fn kills_at_random_moments_under_load_lose_nothing_and_repeat_nothing() {
    let cycles = size("KILLS", 20, 1000);
    let mut home = Home::new("crash");
    // With the default, most processes would be killed before they publish anything.
    home.set("KAFKA__SETTLE_MS", "500");
    let mut bridge = home.start();
    let began = Instant::now();
    // The timeline is judged across commands.
    let load = Plan::new(&home).with("commands", 2).start();
    let mut random = fastrand::Rng::with_seed(7);
    let mut young = 0;
    for _ in 0..cycles {
        // This sleep varies the moment of the kill. It waits for nothing.
        std::thread::sleep(Duration::from_millis(random.u64(20..700)));
        bridge.kill();
        // Sometimes the next one is killed while it opens the spool.
        while random.u8(0..4) == 0 {
            let bridge = home.spawn();
            std::thread::sleep(Duration::from_millis(random.u64(0..100)));
            bridge.kill();
            young += 1;
        }
        bridge = home.start();
    }
    let ledger = load.stop();
    bridge.settle();
    let skipped = bridge.metric(&["imbridge_messages_skipped_total "]);
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    report(
        "kill",
        &format!(
            "{cycles} kills in {:.0} s and {young} more soon after a start, {}; {skipped} skipped by the last process",
            began.elapsed().as_secs_f64(),
            verdict.summary()
        ),
    );
    verdict.assert_kept();
    assert!(
        ledger.acknowledged > 1000,
        "only {} were acknowledged: the load did not run",
        ledger.acknowledged
    );
}
