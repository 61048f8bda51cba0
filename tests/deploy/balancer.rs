//! Three bridges behind a real HAProxy with the compose file's configuration, except for the addresses.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use crate::support::bridge::{APP, Bridge, Home, free_ports};
use crate::support::client::{Answer, Connection};
use crate::support::reader::consume;
use crate::support::{eventually, kafka};
use crate::tools::{run, text};

const FILE: &str = "deploy/compose/haproxy.cfg";
const COMMAND: &str = "Group.CallbackAfterCreateGroup";
const CALLERS: usize = 4;

/// How long a caller may be without an answer when a bridge stops.
const FAILOVER: Duration = Duration::from_millis(1500);

/// A running HAProxy; killed when dropped.
struct Balancer {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Balancer {
    /// Starts HAProxy before these bridges, and waits until it reaches those that are ready.
    fn start(homes: &[Home; 3]) -> Balancer {
        let [port] = free_ports();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(homes, port)).expect("a temporary folder is writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("a temporary folder is writable");
        let child = haproxy()
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .expect("scripts/setup installs haproxy");
        let balancer = Balancer { child, port, folder };
        eventually("HAProxy to listen", || balancer.health());
        balancer
    }

    /// What a bridge reports about itself through the balancer.
    fn health(&self) -> Option<u16> {
        let answer = Connection::open(self.port)?.request("GET", "/healthz", &[], b"")?;
        Some(answer.status)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("it was made at the start")
    }

    fn post(&self, body: &str) -> Answer {
        let mut connection = Connection::open(self.port).expect("HAProxy listens");
        connection.post(&target(), body).expect("an answer")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("HAProxy output:\n{}", self.log());
        }
    }
}

/// Debian has it outside of an ordinary user's PATH.
fn haproxy() -> Command {
    let debians = Path::new("/usr/sbin/haproxy");
    Command::new(if debians.exists() {
        debians
    } else {
        Path::new("haproxy")
    })
}

/// The compose file's configuration with the bridges and the port of a test.
fn configuration(homes: &[Home; 3], port: u16) -> String {
    let mut made = text(FILE).replace("bind :8080", &format!("bind 127.0.0.1:{port}"));
    for (home, ordinal) in homes.iter().zip(1..) {
        let address = |port: u16| format!(" 127.0.0.1:{port} ");
        made = made
            .replace(
                &format!(" bridge-{ordinal}:8080 check port 9464"),
                &format!("{}check port {}", address(home.port), home.admin_port),
            )
            .replace(&format!(" bridge-{ordinal}:8080 "), &address(home.port));
    }
    assert!(!made.contains("8080") && !made.contains("9464"), "{made}");
    made
}

fn target() -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}&contenttype=json")
}

/// Shared by callers that post as fast as they are answered.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    successes: AtomicU64,
}

/// The results of one caller.
struct Seen {
    /// The names of the events that got a success answer.
    successes: Vec<String>,
    /// The events that got another answer or none. None was posted again.
    failures: Vec<String>,
    /// The longest time without a success answer.
    longest: Duration,
}

impl Load {
    fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, port: u16) -> Vec<ScopedJoinHandle<'scope, Seen>> {
        let caller = |number| scope.spawn(move || self.call(port, number));
        (0..CALLERS).map(caller).collect()
    }

    /// Posts one event after another to a group of its own, over a persistent connection.
    fn call(&self, port: u16, caller: usize) -> Seen {
        let mut seen = Seen {
            successes: Vec::new(),
            failures: Vec::new(),
            longest: Duration::ZERO,
        };
        let mut connection = None;
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let name = format!("{caller}-{}", seen.successes.len() + seen.failures.len());
            let body = format!(r#"{{"GroupId":"g{caller}","Name":"{name}"}}"#);
            let answer = connection
                .get_or_insert_with(|| Connection::open(port).expect("HAProxy listens"))
                .post(&target(), body);
            if answer.as_ref().is_some_and(|answer| answer.status == 200) {
                seen.longest = seen.longest.max(last.elapsed());
                last = Instant::now();
                seen.successes.push(name);
                self.successes.fetch_add(1, Ordering::Relaxed);
            } else {
                seen.failures.push(format!("{name}: {answer:?}"));
                connection = None;
            }
        }
        seen.longest = seen.longest.max(last.elapsed());
        seen
    }

    /// Waits until this number of further events has got a success answer.
    fn more(&self, count: u64) {
        let goal = self.successes.load(Ordering::Relaxed) + count;
        eventually("more successes", || {
            (self.successes.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }
}

/// Runs the load while `fault` acts on the bridges; returns the callers' results.
fn under_load(homes: &[Home; 3], fault: impl FnOnce(&Load, &mut Vec<Bridge>)) -> Vec<Seen> {
    let mut bridges: Vec<_> = homes.iter().map(Home::start).collect();
    let balancer = Balancer::start(homes);
    let load = Load::default();
    let seen = scope(|scope| {
        let callers = load.start(scope, balancer.port);
        load.more(300);
        for bridge in &bridges {
            assert!(bridge.metric(&["imbridge_requests_total"]) > 20.0, "each has its share");
        }
        fault(&load, &mut bridges);
        load.stop.store(true, Ordering::Relaxed);
        let seen = callers.into_iter().map(|caller| caller.join().expect("no panic"));
        seen.collect::<Vec<_>>()
    });
    bridges.iter().for_each(Bridge::settle);
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for message in consume(&kafka::shared(), &homes[0].prefix, &homes[0].schemas()) {
        let name = message.value.expect("an event")["Name"]
            .as_str()
            .expect("text")
            .to_owned();
        *found.entry(name).or_default() += 1;
    }
    let missing = seen
        .iter()
        .flat_map(|seen| &seen.successes)
        .filter(|name| !found.contains_key(*name));
    assert_eq!(missing.count(), 0, "with a success and not in Kafka");
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(twice, [], "posted once by the caller and there more than once");
    seen
}

/// Starts the bridge of a home, and waits until the balancer uses it.
fn again(home: &Home) -> Bridge {
    let bridge = home.start();
    eventually("callbacks at the bridge that is back", || {
        (bridge.metric(&["imbridge_requests_total"]) > 20.0).then_some(())
    });
    bridge
}

fn replicas(name: &str) -> [Home; 3] {
    Home::replicas(name, &kafka::shared())
}

fn report(what: &str, seen: &[Seen]) -> (Duration, usize) {
    let longest = seen.iter().map(|seen| seen.longest).max().expect("callers");
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    let successes: usize = seen.iter().map(|seen| seen.successes.len()).sum();
    println!(
        "{what}: {successes} successes, the longest time without one {longest:?}, {} failures: {failures:?}",
        failures.len()
    );
    (longest, failures.len())
}

#[test]
fn haproxy_takes_the_file_and_refuses_a_changed_one() {
    let homes = replicas("haproxy-file");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let check = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a temporary folder is writable");
        run(haproxy().arg("-c").arg("-f").arg(&file))
    };
    let made = configuration(&homes, 1);
    let output = check("well", &made);
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    assert!(!output.err.contains("WARNING"), "{}", output.err);
    assert_eq!(
        check("changed", &made.replace("conn-failure", "conn-failures")).code,
        Some(1)
    );
}

#[test]
fn a_killed_bridge_costs_the_requests_that_it_had_and_nothing_else() {
    let homes = replicas("killed");
    let seen = under_load(&homes, |load, bridges| {
        bridges.remove(0).kill();
        load.more(500);
        bridges.push(again(&homes[0]));
    });
    let (longest, failures) = report("a bridge is killed", &seen);
    // The request that each caller had in flight, and one on a connection whose end the balancer has not noticed yet.
    assert!(failures <= 2 * CALLERS, "{failures} failures");
    assert!(longest < FAILOVER, "{longest:?}");
}

#[test]
fn callers_do_not_notice_bridges_that_restart_in_turn() {
    let mut homes = replicas("in-turn");
    // If a bridge closed its port at once, callbacks would be in flight to it over persistent connections.
    homes.iter_mut().for_each(|home| home.set("SHUTDOWN__LEAVE_S", "2"));
    let seen = under_load(&homes, |load, bridges| {
        for home in &homes {
            assert!(bridges.remove(0).terminate().success());
            load.more(300);
            bridges.push(again(home));
        }
    });
    let (longest, failures) = report("bridges are restarted in turn", &seen);
    assert_eq!(failures, 0);
    assert!(longest < FAILOVER, "{longest:?}");
}

#[test]
fn a_5xx_goes_to_the_caller_and_the_request_to_no_other_bridge() {
    let mut homes = replicas("no-retry");
    for home in &mut homes {
        home.set("SERVER__MAX_BODY_BYTES", "8192");
        home.set("SERVER__MAX_HELD_BYTES", "8192");
    }
    let bridges = homes.each_ref().map(Home::start);
    let balancer = Balancer::start(&homes);
    // A body that does not end uses up the memory of each bridge.
    let slow = bridges.each_ref().map(|bridge| {
        let mut connection = bridge.connect();
        connection.half_send(&target(), 8000, &[b' '; 7000]);
        eventually("the body to be held", || {
            (bridge.metric(&["imbridge_held_bytes"]) > 6000.0)
                .then_some(connection.is_silent_for(Duration::from_millis(1)))
        });
        connection
    });
    let body = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "x".repeat(4000));
    assert_eq!(balancer.post(&body).status, 503);
    let refused = |bridge: &Bridge| bridge.metric(&["imbridge_requests_refused_total", "overloaded"]);
    assert_eq!(bridges.iter().map(refused).sum::<f64>(), 1.0);
    drop(slow);
}

#[test]
fn callbacks_are_accepted_while_all_bridges_recover() {
    let mut homes = replicas("recover");
    let bridges = homes.each_mut().map(|home| {
        home.set("KAFKA__SETTLE_MS", "40000");
        let bridge = home.start();
        let body = |name: &str| format!(r#"{{"GroupId":"g","Name":"{name}"}}"#);
        assert_eq!(bridge.post(COMMAND, &body("delivered")).status, 200);
        bridge.settle();
        assert!(bridge.terminate().success());
        home.set("KAFKA__BROKERS", "127.0.0.1:1");
        let bridge = home.start();
        assert_eq!(bridge.post(COMMAND, &body("waits")).status, 200);
        bridge.kill();
        // The power is back.
        home.set("KAFKA__BROKERS", kafka::shared());
        home.spawn()
    });
    let recovers = |bridge: &Bridge| {
        bridge
            .admin("/readyz")
            .is_some_and(|(_, body)| body.contains("recovering"))
    };
    eventually("all to recover", || bridges.iter().all(recovers).then_some(()));
    let balancer = Balancer::start(&homes);
    // HAProxy regards each bridge as ready until its first check.
    eventually("HAProxy to know", || {
        let log = balancer.log();
        (1..=3)
            .all(|ordinal| log.contains(&format!("bridges/bridge-{ordinal} is DOWN")))
            .then_some(())
    });
    assert_eq!(balancer.health(), Some(503), "by a bridge that is alive");
    for number in 0..6 {
        assert_eq!(
            balancer.post(&format!(r#"{{"GroupId":"g","Name":"{number}"}}"#)).status,
            200
        );
    }
    assert!(bridges.iter().all(recovers), "and it was none that is ready");
    let taken = |bridge: &Bridge| bridge.metric(&["imbridge_requests_total", "200"]);
    assert_eq!(
        bridges.iter().map(taken).collect::<Vec<_>>(),
        [2.0; 3],
        "each has its share"
    );
}
