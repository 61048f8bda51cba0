//! `imbridge dev` on a busy machine: it prints at once what it does, and its greeting within two seconds at every
//! start.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::size::{report, size};
use crate::support::bridge::{PROGRAM, free_ports};
use crate::support::kafka::one_cluster_at_a_time;

const GREETING: &str = "Try it in another terminal";
const GREETED_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn dev_greets_within_two_seconds_on_a_busy_machine_every_time() {
    let _alone = one_cluster_at_a_time();
    let busy = AtomicBool::new(true);
    let starts = size("DEV", 20, 100);
    let longest = std::thread::scope(|scope| {
        // One busy thread per processor.
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let longest = (0..starts).map(|_| greeted_after()).max();
        busy.store(false, Ordering::Relaxed);
        longest.expect("there were starts")
    });
    report(
        "dev",
        &format!("{starts} starts, the slowest greeted after {longest:.1?}"),
    );
    assert!(longest < GREETED_WITHIN, "{longest:?}");
}

fn greeted_after() -> Duration {
    let [kafka, port, admin, registry] = free_ports::<4>().map(|port| port.to_string());
    let began = Instant::now();
    let child = Command::new(PROGRAM)
        .args(["dev", "--kafka-port", &kafka, "--port", &port])
        .args(["--admin-port", &admin, "--registry-port", &registry])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program was built");
    let mut child = Killed(child);
    let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("it prints what it does").expect("text");
    assert!(first.contains("starting"), "{first}");
    assert!(lines.any(|line| line.expect("text").contains(GREETING)), "no greeting");
    began.elapsed()
}

/// Killed when it is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
