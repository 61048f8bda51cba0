//! The faults for the drill of the replicas.

use std::time::{Duration, Instant};

use super::drill::{BEHIND_THE_DETOUR, Drill, Fault};
use crate::campaign::pass;
use crate::disk::Word;
use crate::size::size;
use crate::support::kafka::Kafka;
use crate::support::proxy::CutOff;
use crate::support::within;

/// How long breakers may stay open after an outage. librdkafka reconnects after some seconds at most, what waited is
/// sent, and then a second must pass without a slow confirmation.
const CLOSES_WITHIN: Duration = Duration::from_secs(20);
/// How often a breaker is checked, each time at least 20 ms after the last one.
const CHECKS: u32 = 20;

/// All faults: the name in the report, the fault, and the modes of delivery in whose short form it is.
pub const ALL: [(&str, Fault, Short); 10] = [
    (
        "a bridge is killed and its disk lost",
        killed_and_disk_lost,
        Short::Both,
    ),
    ("a bridge is killed", killed, Short::Both),
    ("all bridges are restarted in turn", restarted_in_turn, Short::Both),
    ("a leader is killed and comes back", leader_killed, Short::Both),
    (
        "a bridge's connections to Kafka break",
        |drill, _| cut_off(drill, CutOff::Resets),
        Short::Idempotent,
    ),
    (
        "nothing comes through between a bridge and Kafka",
        |drill, _| cut_off(drill, CutOff::Silence),
        Short::Transactional,
    ),
    ("a bridge stands still", stands_still, Short::Both),
    ("Kafka is away", kafka_away, Short::Idempotent),
    ("Kafka stands still", kafka_stands_still, Short::Transactional),
    ("a bridge's disk hangs", disk_hangs, Short::Both),
];

/// In which modes the short form runs a fault. Brokers take seconds to start, so not every fault runs in both modes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Short {
    Both,
    Idempotent,
    Transactional,
}

/// Kills a bridge that has answered nothing early for a while, so that no answered event is on its disk alone.
fn killed_and_disk_lost(drill: &mut Drill<'_>, number: usize) {
    let bridge = drill.fleet.bridge(number);
    let (mut early, mut checks) = (f64::NAN, 0);
    within(Duration::from_secs(60), "a time without early answers", || {
        let open = bridge.metric(&["imbridge_answer_breaker_open "]) > 0.0;
        let now = bridge.metric(&["imbridge_answered_early_total"]);
        checks = if now == early && !open { checks + 1 } else { 0 };
        early = now;
        (checks == CHECKS).then_some(())
    });
    drill.fleet.kill(number);
    drill.fleet.lose_spool(number);
    drill.fleet.start(number);
}

fn killed(drill: &mut Drill<'_>, number: usize) {
    drill.fleet.kill(number);
    drill.fleet.start(number);
}

fn restarted_in_turn(drill: &mut Drill<'_>, _: usize) {
    for number in drill.fleet.numbers() {
        drill.fleet.terminate(number);
        drill.fleet.start(number);
    }
}

fn leader_killed(drill: &mut Drill<'_>, _: usize) {
    let [topic, _] = drill.topics();
    let leader = drill.cluster.admin.leaders(&topic)[0];
    drill.cluster.kafka.node("kill", leader);
    // It can only come back after its session has timed out, in three seconds at least. Then the others have noticed.
    pass(Duration::from_secs(size("LEADER_AWAY_S", 0, 5)));
    drill.cluster.kafka.node("up", leader);
}

/// One bridge does not reach Kafka. It answers early and marks its messages as late. The others are not affected.
fn cut_off(drill: &mut Drill<'_>, how: CutOff) {
    let early = drill.answered_early(BEHIND_THE_DETOUR, |drill| {
        drill.cluster.detour.cut_off(how);
        let bridge = drill.fleet.bridge(BEHIND_THE_DETOUR);
        within(Duration::from_secs(20), "its breaker to open", || {
            (bridge.metric(&["imbridge_answer_breaker_open "]) == 1.0).then_some(())
        });
        pass(Duration::from_secs(size("CUT_OFF_S", 1, 10)));
    });
    drill.cluster.detour.restore();
    drill.say(&format!("cut off: {early} callbacks answered early"));
    assert!(early > 0.0, "nothing was answered early");
}

/// A bridge is paused. Its callers time out and go to the others. What it had read is sent when it is resumed.
fn stands_still(drill: &mut Drill<'_>, number: usize) {
    drill.fleet.bridge(number).signal("STOP");
    pass(Duration::from_secs(size("STOPPED_S", 5, 25)));
    drill.fleet.bridge(number).signal("CONT");
}

/// All brokers are killed at once.
fn kafka_away(drill: &mut Drill<'_>, _: usize) {
    let length = Duration::from_secs(size("AWAY_S", 2, 60));
    without_kafka(drill, |kafka| kafka.kill(), length, Kafka::up);
}

/// All brokers are paused: connections stay open, and what was sent is accepted afterwards.
fn kafka_stands_still(drill: &mut Drill<'_>, _: usize) {
    let every = |verb: &'static str| move |kafka: &mut Kafka| (1..=3).for_each(|node| kafka.node(verb, node));
    let length = Duration::from_secs(size("STILL_S", 2, 20));
    without_kafka(drill, every("pause"), length, every("resume"));
}

/// After the first hold time, callbacks are answered as fast as the disk allows. Breakers close soon after Kafka is
/// back.
fn without_kafka(
    drill: &mut Drill<'_>,
    begin: impl FnOnce(&mut Kafka),
    length: Duration,
    end: impl FnOnce(&mut Kafka),
) {
    begin(&mut drill.cluster.kafka);
    within(Duration::from_secs(10), "every breaker to open", || {
        (drill.fleet.metric(&["imbridge_answer_breaker_open "]) == 3.0).then_some(())
    });
    // Events that were sent before their breaker opened wait for their own hold. The interval in which it ends is left
    // out.
    pass(Duration::from_millis(drill.hold_ms));
    let from = drill.intervals() + 1;
    pass(length);
    drill.assert_fast_since(from, "without Kafka");
    end(&mut drill.cluster.kafka);
    drill.has_leaders();
    let back = Instant::now();
    within(CLOSES_WITHIN, "every breaker to close", || {
        (!drill.any_breaker_open()).then_some(())
    });
    drill.say(&format!("breakers closed {:.1?} after Kafka's return", back.elapsed()));
}

/// A disk hangs: its bridge acknowledges nothing more, and nothing that it has acknowledged is lost.
fn disk_hangs(drill: &mut Drill<'_>, number: usize) {
    drill.disks[number].set(Word::Hang, 1);
    within(Duration::from_secs(20), "readiness to be red", || {
        let answer = drill.fleet.bridge(number).admin("/readyz");
        answer.filter(|(status, _)| *status == 503)
    });
    pass(Duration::from_secs(size("HANGS_S", 1, 5)));
    drill.disks[number].set(Word::Hang, 0);
}
