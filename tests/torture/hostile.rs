//! Hostile callers beside honest ones. They send any bytes, at any speed. The bridge must stay up within its memory
//! limits, honest callers get every answer in time, before-callbacks are allowed, and all acknowledged events are in
//! Kafka.

mod cases;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use cases::COMMAND;
use cases::{Case, SMUGGLED};

use crate::size::{report, size};
use crate::support::bridge::{APP, Bridge, Home};
use crate::support::client::Connection;
use crate::support::kafka;
use crate::support::oracle::{Ledger, Plan};
use crate::support::reader::consume;
use crate::support::schemas;

/// The bridge's time-out for a head and for a body, in seconds.
const PATIENCE_S: u64 = 2;
/// An IM server's time-out. No honest caller may wait so long.
pub const CALLER_GIVES_UP: Duration = Duration::from_secs(2);
/// Open files that a process needs in addition to its connections.
const OTHER_FILES: u64 = 500;

#[test]
fn honest_callers_do_not_notice_hostile_ones() {
    let mut home = Home::new("hostile");
    home.set("SERVER__HEAD_TIMEOUT_S", PATIENCE_S.to_string());
    home.set("SERVER__BODY_TIMEOUT_S", PATIENCE_S.to_string());
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    let load = Plan::new(&home).with("connections", 2).with("groups", 8).start();
    let (stop, asking) = ask_before(home.port, before);

    let quiet = Instant::now();
    let crowd = idle_crowd(&bridge, home.port);
    let rounds = size("HOSTILE_ROUNDS", 2, 200);
    let sent = (0..rounds).map(|_| attack(home.port, before)).sum::<usize>();

    drop(stop);
    let allowed = asking.join().expect("every before-callback is allowed in time");
    let ledger = load.stop();
    assert!(bridge.metric(&["imbridge_connections "]) >= crowd.len() as f64);
    let idle = still_there(crowd);
    let memory = bridge.peak_memory_bytes();
    refused_as_documented(&bridge, quiet);
    bridge.settle();
    assert!(bridge.terminate().success());
    let (slowest_ms, median_ms) = unaffected(&ledger);
    let bound = memory_bound(idle);
    assert!(
        memory < bound,
        "{memory} bytes of memory, with {idle} connections at most {bound}"
    );
    everything_is_in_kafka(&home, &ledger, idle);
    report(
        "hostile",
        &format!(
            "{idle} idle connections and {sent} hostile requests in {:.0} s; {} honest callbacks, median {median_ms:.1} ms, slowest {slowest_ms:.0} ms; {allowed} before-callbacks allowed; peak memory {} MiB",
            quiet.elapsed().as_secs_f64(),
            ledger.acknowledged,
            memory >> 20
        ),
    );
}

/// The memory that the bridge may use: bodies (32 MiB), librdkafka's queue (32 MiB) and messages in flight, records
/// that wait for the disk (16 MiB a worker), SQLite and the program (about 60 MiB). For each connection, twice the size
/// of two buffers of 8 KiB and the connection's state.
fn memory_bound(connections: usize) -> u64 {
    (256 << 20) + connections as u64 * (48 << 10)
}

/// Posts before-callbacks until the sender is dropped. Returns how many were allowed.
fn ask_before(port: u16, command: &'static str) -> (Sender<()>, JoinHandle<usize>) {
    let (stop, stopped) = channel();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}");
    let ask = move || {
        let mut connection = Connection::open(port).expect("the bridge listens");
        let mut allowed = 0;
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            let asked = Instant::now();
            let answer = connection.post(&target, r#"{"GroupId":"b"}"#).expect("an answer");
            assert!(
                answer.status == 200 && answer.body.contains(r#""ErrorCode":0"#),
                "{answer:?}"
            );
            assert!(asked.elapsed() < CALLER_GIVES_UP, "allowed after {:?}", asked.elapsed());
            allowed += 1;
        }
        allowed
    };
    (stop, std::thread::spawn(ask))
}

/// Opens connections that post once and then stay idle.
fn idle_crowd(bridge: &Bridge, port: u16) -> Vec<Connection> {
    let files = raise_open_files();
    let most = files.min(bridge.open_files()).saturating_sub(OTHER_FILES);
    let wanted = size("HOSTILE_IDLE", 2_500, 10_000);
    assert!(
        most >= 2_000,
        "{files} files here, {} there: too few to make a crowd",
        bridge.open_files()
    );
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    let open = |number: u64| {
        let mut connection = Connection::open(port).expect("the bridge takes the connection");
        let answer = connection.post(&target, format!(r#"{{"GroupId":"idle","Number":{number}}}"#));
        assert_eq!(answer.expect("an answer").status, 200);
        connection
    };
    (0..wanted.min(most)).map(open).collect()
}

/// Raises this process's limit of open files to the hard limit, and returns it.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit anyone may");
    hard.unwrap_or(u64::MAX)
}

/// Checks that the idle connections are still open: every hundredth posts again. Returns how many there are.
fn still_there(mut crowd: Vec<Connection>) -> usize {
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    for connection in crowd.iter_mut().step_by(100) {
        let answer = connection.post(&target, r#"{"GroupId":"again"}"#);
        assert_eq!(answer.expect("an idle connection stays open").status, 200);
    }
    crowd.len()
}

/// Runs every attack once. Returns the number of hostile requests.
fn attack(port: u16, before: &str) -> usize {
    let slow = [
        // (what is sent at once, how much of it a byte a second, the answer)
        (cases::post(COMMAND, br#"{"GroupId":"slow head"}"#), 0, 408),
        (cases::post(COMMAND, br#"{"GroupId":"slow body"}"#), 3, 408),
        (cases::post(before, br#"{"GroupId":"slow body"}"#), 3, 200),
    ];
    let slow: Vec<JoinHandle<()>> = (0..30)
        .map(|number| {
            let (bytes, before_end, status) = slow[number % slow.len()].clone();
            std::thread::spawn(move || byte_a_second(port, &bytes, before_end, status))
        })
        .collect();
    let silent: Vec<TcpStream> = (0..200).map(|_| cases::connect(port)).collect();
    vanish(port);
    let mut sent = slow.len() + silent.len() + 100;
    for Case { name, bytes, statuses } in cases::heads().into_iter().chain(cases::bodies()) {
        assert_eq!(cases::statuses(port, &bytes), statuses, "{name}");
        sent += 1;
    }
    for mut connection in silent {
        assert_eq!(
            cases::read_statuses(&mut connection),
            [408],
            "a caller who sends nothing"
        );
    }
    slow.into_iter()
        .for_each(|caller| caller.join().expect("a slow caller gets its answer"));
    sent
}

/// Sends a request at one byte a second until there is an answer. If `before_end` is not zero, all but the last
/// `before_end + 3` bytes are sent at once.
fn byte_a_second(port: u16, bytes: &[u8], before_end: usize, status: u16) {
    let mut stream = cases::connect(port);
    let start = if before_end == 0 {
        1
    } else {
        bytes.len() - before_end - 3
    };
    stream.write_all(&bytes[..start]).expect("the bridge listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("more than zero");
    let mut answer = [0; 12];
    for byte in &bytes[start..] {
        // The read waits for a second.
        match stream.read_exact(&mut answer) {
            Ok(()) => break,
            Err(_) => stream.write_all(&[*byte]).expect("no end without an answer"),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.ends_with(&status.to_string()), "{answer:?} and not {status}");
}

/// A hundred callers who disconnect in the middle of a body, half of them with a reset.
fn vanish(port: u16) {
    let request = cases::post(COMMAND, br#"{"GroupId":"gone before the end"}"#);
    for number in 0..100 {
        let mut stream = cases::connect(port);
        stream
            .write_all(&request[..request.len() - 10])
            .expect("the bridge listens");
        if number % 2 == 0 {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket can be reset");
        }
    }
}

/// Refusals are counted by reason, and logged at most once a second for each reason and worker.
fn refused_as_documented(bridge: &Bridge, running: Instant) {
    for reason in ["body_too_slow", "body_broken", "not_json", "no_request"] {
        let label = format!("reason=\"{reason}\"");
        assert!(
            bridge.metric(&["imbridge_requests_refused_total", &label]) >= 1.0,
            "{reason} is counted"
        );
    }
    assert!(bridge.metric(&["imbridge_failed_open_total", "body_too_slow"]) >= 1.0);
    let (log, seconds) = (bridge.log(), running.elapsed().as_secs() as usize);
    let most = 20 + seconds * 2 * cases::REASONS;
    assert!(
        log.lines().count() < most,
        "more than {most} lines in {seconds} s:\n{log}"
    );
}

/// Checks that no honest caller was refused or waited longer than an IM server's time-out. Returns the slowest answer
/// and the median of the intervals' medians, in milliseconds.
fn unaffected(ledger: &Ledger) -> (f64, f64) {
    assert_eq!(ledger.unanswered, 0, "honest callers were refused");
    assert!(
        ledger.acknowledged > 1000,
        "{} answers: the load did not run",
        ledger.acknowledged
    );
    let intervals = ledger.intervals();
    let slowest_ms = intervals.iter().map(|interval| interval.max_ms).fold(0.0, f64::max);
    let mut medians: Vec<f64> = intervals.iter().map(|interval| interval.p50_ms).collect();
    medians.sort_by(f64::total_cmp);
    assert!(
        slowest_ms < CALLER_GIVES_UP.as_secs_f64() * 1000.0,
        "an honest caller waited {slowest_ms} ms"
    );
    (slowest_ms, medians[medians.len() / 2])
}

/// Checks that Kafka has the callbacks of the ledger and of the idle connections, and none that was hidden in another
/// request.
fn everything_is_in_kafka(home: &Home, ledger: &Ledger, idle: usize) {
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    ledger.judge(&kafka::shared(), home).assert_kept();
    let keyed = |key: &str| {
        consumed
            .iter()
            .filter(|message| message.key.as_deref() == Some(key))
            .count()
    };
    assert_eq!(keyed("idle"), idle, "of the idle crowd");
    assert_eq!(keyed("again"), idle.div_ceil(100), "of the idle crowd, again");
    assert_eq!(keyed(SMUGGLED), 0, "a request that was hidden in another");
    assert_eq!(keyed("gone before the end"), 0, "a body that never ended");
}

#[test]
fn a_caller_waits_when_all_connections_are_taken() {
    let mut home = Home::new("house");
    home.set("SERVER__WORKERS", "2");
    home.set("SERVER__MAX_CONNECTIONS", "20");
    let bridge = home.start();
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    let enter = |_| {
        let mut connection = bridge.connect();
        let answer = connection.post(&target, r#"{"GroupId":"in"}"#);
        assert_eq!(answer.expect("an answer").status, 200);
        connection
    };
    // The limit of two workers, with 64 more for new connections at each.
    let all = 2 * (20 + 64);
    let mut taken: Vec<Connection> = (0..all).map(enter).collect();
    assert_eq!(bridge.metric(&["imbridge_connections "]), f64::from(all));
    let port = home.port;
    let late = std::thread::spawn(move || {
        let answer = Connection::open(port)
            .expect("it waits in the queue")
            .post("/openim/callbackX", "{}");
        (answer.expect("an answer").status, Instant::now())
    });
    // Requests on the open connections and on the admin port are still answered.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert_eq!(
            taken[7].post(&target, r#"{"GroupId":"in"}"#).expect("an answer").status,
            200
        );
    }
    assert_eq!(bridge.admin("/readyz").expect("an answer").0, 200);
    assert!(!late.is_finished(), "there was a place for one more");
    let left = Instant::now();
    drop(taken);
    let (status, served) = late.join().expect("a caller does not panic");
    assert_eq!(status, 200);
    assert!(
        served > left && served - left < CALLER_GIVES_UP,
        "served {:?} after a place was free",
        served - left
    );
}

#[test]
fn the_connection_of_an_unknown_sender_is_closed_and_the_bridge_may_open_all_files_of_its_hard_limit() {
    let home = Home::new("stranger");
    let bridge = home.start();
    let mut stranger = cases::connect(home.port);
    stranger
        .write_all(b"POST /tencent?SdkAppid=7 HTTP/1.1\r\nHost: bridge\r\nContent-Length: 2\r\n\r\n{}")
        .expect("the bridge listens");
    assert_eq!(
        cases::read_statuses(&mut stranger),
        [403],
        "and the end of the connection"
    );
    assert_eq!(
        bridge.open_files(),
        raise_open_files(),
        "as many as the process may have"
    );
}

#[test]
fn each_head_on_a_connection_has_a_time_out_and_an_idle_connection_has_none() {
    let mut home = Home::new("heads");
    home.set("SERVER__HEAD_TIMEOUT_S", PATIENCE_S.to_string());
    let bridge = home.start();
    let post = cases::post(COMMAND, br#"{"GroupId":"again"}"#);
    let [mut idle, mut half] = std::array::from_fn(|_| {
        let mut stream = cases::connect(home.port);
        stream.write_all(&post).expect("the bridge listens");
        stream.read_exact(&mut [0; 100]).expect("an answer");
        stream
    });
    half.write_all(&post[..20]).expect("the bridge listens");
    let begun = Instant::now();
    cases::read_statuses(&mut half);
    let took = begun.elapsed();
    let patience = Duration::from_secs(PATIENCE_S);
    assert!(
        took >= patience - Duration::from_millis(100) && took < 3 * patience,
        "{took:?}"
    );
    idle.write_all(&post).expect("an idle connection stays open");
    idle.read_exact(&mut [0; 100]).expect("an answer");
    assert_eq!(bridge.metric(&["imbridge_requests_total", "200"]), 3.0);
}
