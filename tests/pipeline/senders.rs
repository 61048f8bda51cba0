//! Who may send, from which address, how often, and how much at once: allow-lists behind proxies, rates, signed nonces,
//! and load that is refused before memory grows.

use crate::support::bridge::{APP, Home};
use crate::support::client::{Answer, Connection};
use crate::support::eventually;
use crate::support::kafka;
use crate::support::reader::consume;
use crate::support::schemas;

const ALLOW: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

fn target(app: u64, command: &str) -> String {
    format!("/tencent?SdkAppid={app}&CallbackCommand={command}&contenttype=json")
}

fn post(connection: &mut Connection, target: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = connection.request("POST", target, headers, br#"{"GroupId":"g"}"#);
    answer.unwrap_or_else(|| panic!("no answer to {target} with {headers:?}"))
}

#[test]
fn above_its_rate_a_sender_gets_429_and_a_before_callback_is_allowed_and_neither_is_kept() {
    let home = Home::new("rate");
    let before = schemas::add_before_command(&home.schemas());
    home.configure("[[tencent]]\nsdk_app_id = 1400000001\nrate_per_s = 1\nburst = 5\n");
    let bridge = home.start();
    let mut connection = bridge.connect();
    let after = target(1400000001, "Group.CallbackAfterCreateGroup");
    let answers: Vec<_> = (0..40).map(|_| post(&mut connection, &after, &[])).collect();
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers
        .iter()
        .find(|answer| answer.status != 200)
        .expect("40 are more than 5");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert!(
        refused.body.starts_with(r#"{"ActionStatus":"FAIL","ErrorCode":429,"#),
        "{}",
        refused.body
    );

    let allowed: Vec<_> = (0..40)
        .map(|_| post(&mut connection, &target(1400000001, before), &[]))
        .collect();
    assert!(
        allowed
            .iter()
            .all(|answer| (answer.status, answer.body.as_str()) == (200, ALLOW))
    );
    let failed_open = bridge.metric(&["imbridge_failed_open_total", "rate_limited"]) as usize;
    assert!(failed_open >= 30, "{failed_open}");

    // Another app is not affected.
    let other = target(APP, "Group.CallbackAfterCreateGroup");
    assert!((0..20).all(|_| post(&mut connection, &other, &[]).status == 200));
    bridge.settle();
    let found = consume(&kafka::shared(), &home.prefix, &home.schemas()).len();
    assert_eq!(
        found,
        taken + (40 - failed_open) + 20,
        "{taken} taken, {failed_open} allowed unkept"
    );
}

#[test]
fn a_sender_is_known_by_its_address_behind_trusted_proxies() {
    let home = Home::with_brokers("allow", "127.0.0.1:1");
    let far = "[[tencent]]\nsdk_app_id = 1400000001\nallow = [\"203.0.113.0/24\"]\n";
    home.configure(&format!("{far}[server]\ntrusted_proxies = [\"127.0.0.1\"]\n"));
    let before = schemas::add_before_command(&home.schemas());
    let bridge = home.start();
    for (forwarded, status) in [
        (None, 403),
        (Some("203.0.113.7"), 200),
        (Some("203.0.113.7, 192.0.2.1"), 403),
        (Some("192.0.2.1, 203.0.113.7"), 200),
        (Some("nobody"), 403),
    ] {
        let headers: Vec<_> = forwarded.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        for command in ["Group.CallbackAfterCreateGroup", before] {
            let answer = post(&mut bridge.connect(), &target(1400000001, command), &headers);
            assert_eq!(answer.status, status, "{forwarded:?} {}", answer.body);
        }
        // A sender without a list accepts every address.
        assert_eq!(post(&mut bridge.connect(), &target(APP, before), &headers).status, 200);
    }
    assert_eq!(bridge.metric(&["imbridge_requests_refused_total", "address"]), 6.0);
}

#[test]
fn a_signed_nonce_is_good_for_one_request() {
    let mut home = Home::with_brokers("nonce", "127.0.0.1:1");
    home.environment("TEST_HMAC", "planted-hmac");
    home.configure("[[openim]]\nname = \"signed\"\nsecret = \"env:TEST_HMAC\"\n[openim.signature]\nsecret = \"env:TEST_HMAC\"\nnonce_header = \"Nonce\"\nsignature_header = \"Sig\"\n");
    let bridge = home.start();
    // Python: hmac.new(b"planted-hmac", b"n-1", "sha256").hexdigest()
    let good = "9da6f6c982b08f501f9d3b12aceb38f9a19c82cdbfa02d4af2ab8b368cb3adf5";
    let ask = |nonce: &str, signature: &str| {
        let headers = [("Nonce", nonce), ("Sig", signature)];
        let answer = post(&mut bridge.connect(), "/openim/planted-hmac/callbackX", &headers);
        assert!(answer.body.starts_with(r#"{"actionCode":"#), "{}", answer.body);
        answer.status
    };
    assert_eq!([ask("n-2", good), ask("n-1", good), ask("n-1", good)], [403, 200, 403]);
    for (reason, count) in [("signature", 1.0), ("replayed", 1.0)] {
        let labels = ["imbridge_requests_refused_total", &format!("reason=\"{reason}\"")];
        assert_eq!(bridge.metric(&labels), count, "{reason}");
    }
}

#[test]
fn load_is_shed_before_memory_grows() {
    const MIB: usize = 1 << 20;
    let mut home = Home::with_brokers("shed", "127.0.0.1:1");
    let before = schemas::add_before_command(&home.schemas());
    home.set("SERVER__BODY_TIMEOUT_S", "60");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let bridge = home.start();
    let idle = bridge.peak_memory_bytes();
    let after = target(APP, "Group.CallbackAfterCreateGroup");

    // 64 bodies of 7 MiB, of which four arrive except for the last byte: 448 MiB, and 32 MiB may be held.
    let body = format!("{{\"GroupId\":\"g\",\"Name\":\"{}\"}}", "x".repeat(7 * MIB));
    let mut held: Vec<_> = (0..4).map(|_| bridge.connect()).collect();
    for connection in &mut held {
        connection.half_send(&after, body.len(), &body.as_bytes()[..body.len() - 1]);
    }
    let all = (4 * (body.len() - 1)) as f64;
    eventually("four bodies to be held", || {
        (bridge.metric(&["imbridge_held_bytes"]) == all).then_some(())
    });
    let turn_away = || {
        let mut connection = bridge.connect();
        let answer = connection
            .post(&after, &body)
            .expect("an answer, whatever was still to be sent");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("5")),
            "{}",
            answer.body
        );
        assert_eq!(post(&mut connection, &after, &[]).status, 200, "the connection goes on");
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..60).map(|_| scope.spawn(turn_away)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("each gets an answer"));
    });
    let allowed = post(&mut bridge.connect(), &target(APP, before), &[]);
    assert_eq!(
        (allowed.status, allowed.body.as_str()),
        (200, ALLOW),
        "beside four bodies there is room for a small one"
    );
    let shed = bridge.peak_memory_bytes();
    drop(held);

    println!(
        "idle {} MiB, 64 connections {} MiB",
        idle / MIB as u64,
        shed / MIB as u64
    );
    // What may be held, twice because buffers grow by doubling; what may wait for the disk; SQLite and the program.
    assert!(shed < idle + 240 * MIB as u64, "{} MiB", shed / MIB as u64);
    eventually("room again", || {
        (post(&mut bridge.connect(), &after, &[]).status == 200).then_some(())
    });
}
