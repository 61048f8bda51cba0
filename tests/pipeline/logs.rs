//! The reader of the log may be slow, hang, or close its end: no request waits for it, lost lines are counted, and the
//! process exits in time. The last lines before the exit are written.

use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::{eventually, schemas};

/// The shortest time-out of an IM server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Posts of each kind after the first lost line.
const MORE: usize = 20;

/// A bridge that logs everything. Log and standard output share a pipe, as in a container.
fn start(home: &mut Home) -> (Bridge, PipeReader) {
    home.set("LOG__LEVEL", "trace");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "1");
    let (reader, writer) = pipe().expect("a pipe can be made");
    let both: [PipeWriter; 2] = [writer.try_clone().expect("a file can be made"), writer];
    let [out, log] = both.map(Stdio::from);
    (home.spawn_with(out, log), reader)
}

/// Before- and after-callbacks are answered while lines are lost, the probes are right, and SIGTERM ends the process.
fn goes_on(home: &Home, bridge: Bridge, before: &str) {
    eventually("the bridge to be ready", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    let mut connection = bridge.connect();
    let mut post = |command: &str| {
        let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
        let asked = Instant::now();
        let answer = connection.post(&target, r#"{"GroupId":"g"}"#).expect("an answer");
        assert_eq!(answer.status, 200, "{command}: {}", answer.body);
        assert!(asked.elapsed() < PATIENCE, "{command}: {:?}", asked.elapsed());
        // A refused request logs a line of its own.
        let refused = bridge.connect().post("/tencent?SdkAppid=1", "{}").expect("an answer");
        assert_eq!(refused.status, 403, "{}", refused.body);
    };
    let lost = || bridge.metric(&["imbridge_log_lines_lost_total"]);
    eventually("the pipe to be full and lines to be lost", || {
        [before, "Group.CallbackAfterCreateGroup"]
            .iter()
            .for_each(|it| post(it));
        (lost() > 0.0).then_some(())
    });
    for _ in 0..MORE {
        [before, "Group.CallbackAfterCreateGroup"]
            .iter()
            .for_each(|it| post(it));
    }
    let probes = ["/readyz", "/livez"].map(|path| bridge.admin(path).expect("the admin port answers").0);
    assert_eq!(probes, [200, 200]);
    assert_eq!(bridge.metric(&["imbridge_failed_open_total"]), 0.0);
    bridge.signal("HUP");
    eventually("the reload", || {
        (bridge.metric(&["imbridge_reloads_total", "ok"]) == 1.0).then_some(())
    });
    let asked = Instant::now();
    let status = bridge.terminate();
    assert!(status.success(), "{}: {status}", home.prefix);
    assert!(asked.elapsed() < Duration::from_secs(1 + 5), "{:?}", asked.elapsed());
}

#[test]
fn a_log_that_nobody_reads_delays_no_callback_and_no_exit() {
    let mut home = Home::with_brokers("unread", "127.0.0.1:1");
    let before = schemas::add_before_command(&home.schemas());
    let (bridge, reader) = start(&mut home);
    goes_on(&home, bridge, before);
    drop(reader);
}

#[test]
fn a_log_whose_reader_has_closed_it_delays_no_callback_and_no_exit() {
    let mut home = Home::with_brokers("gone", "127.0.0.1:1");
    let before = schemas::add_before_command(&home.schemas());
    let (bridge, reader) = start(&mut home);
    drop(reader);
    goes_on(&home, bridge, before);
}

#[test]
fn the_last_log_lines_before_the_exit_are_written() {
    let mut home = Home::new("last");
    let (bridge, mut reader) = start(&mut home);
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).map(|_| log)
    });
    eventually("the bridge to be ready", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    assert_eq!(bridge.metric(&["imbridge_log_lines_lost_total"]), 0.0);
    assert!(bridge.terminate().success());
    let log = reading.join().expect("reading does not panic").expect("it is text");
    for line in ["accepting callbacks", "shutting down", "everything is delivered"] {
        assert!(log.contains(line), "{line:?} is missing in:\n{log}");
    }
}

#[test]
fn why_a_bridge_does_not_start_is_printed_after_its_log_and_in_time() {
    let mut home = Home::with_brokers("faulty", "127.0.0.1:1");
    home.set("LOG__LEVEL", "trace");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    home.set("ADMIN__LISTEN", address.clone());
    let output = home.command("serve").output().expect("the program was built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(last.starts_with("imbridge: ") && last.contains(&address), "{stderr}");

    // The same with an invalid configuration, into a pipe that is already full.
    for code in [1, 64] {
        let (reader, mut writer) = pipe().expect("a pipe can be made");
        let log = writer.try_clone().expect("a file can be made");
        let filling = std::thread::spawn(move || std::io::copy(&mut std::io::repeat(b'x'), &mut writer));
        let began = Instant::now();
        assert_eq!(home.spawn_with(Stdio::null(), log).ended().code(), Some(code));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        drop(reader);
        assert!(filling.join().expect("writing does not panic").is_err());
        home.configure("[nonsense");
    }
}
