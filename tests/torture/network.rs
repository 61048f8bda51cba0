//! A slow network between the bridge and Kafka, whose connections break.

use std::time::{Duration, Instant};

use crate::campaign::{Campaign, pass};
use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::proxy::behind_a_proxy;

#[test]
fn a_slow_network_that_breaks_loses_nothing_repeats_nothing_and_slows_no_answer() {
    let (kafka, proxy) = behind_a_proxy("network");
    let home = Home::with_brokers("network", &kafka.brokers);
    let mut campaign = Campaign::begin("network", &kafka.brokers, home);
    let time = Duration::from_secs(size("NETWORK_S", 3, 60));

    proxy.slow(Duration::from_millis(200), 0);
    campaign.fault("200 ms of delay each way", |_| pass(time));
    proxy.slow(Duration::from_millis(20), 10_000);
    campaign.fault("10 kB a second", |_| {
        pass(time);
        proxy.slow(Duration::ZERO, 0);
    });
    proxy.slow(Duration::from_millis(20), 0);
    let mut random = fastrand::Rng::with_seed(11);
    let cuts = size("RESETS", 10, 300);
    campaign.fault(&format!("connections cut {cuts} times"), |_| {
        for _ in 0..cuts {
            // This wait varies the moment of the cut.
            pass(Duration::from_millis(random.u64(10..800)));
            proxy.cut();
        }
    });
    campaign.fault("the network is away", |_| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            proxy.cut();
            pass(Duration::from_millis(5));
        }
    });
    report("network", &format!("{} connections", proxy.connections()));
    campaign.end();
}
