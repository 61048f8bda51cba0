//! TLS on the public port, tested with Node's TLS: only HTTP/1.1, certificates that change while connections are open,
//! and client certificates.

use serde_json::Value;

use crate::support::bridge::{APP, Bridge, Home, free_ports};
use crate::support::certificates::{Authority, Pair};
use crate::support::eventually;
use crate::support::https::Https;
use crate::support::kafka;
use crate::support::reader::consume;

/// A home whose bridge also serves TLS, with its files in `tls`; returns the port.
fn home(name: &str, brokers: &str, pair: &Pair) -> (Home, u16) {
    let mut home = Home::with_brokers(name, brokers);
    let [port] = free_ports();
    let folder = home.path().join("tls");
    std::fs::create_dir(&folder).unwrap();
    pair.write(&folder);
    let file = |name: &str| folder.join(name).display().to_string();
    home.set("SERVER__TLS__LISTEN", format!("127.0.0.1:{port}"));
    home.set("SERVER__TLS__CERT", file("cert.pem"));
    home.set("SERVER__TLS__KEY", file("key.pem"));
    home.set("SERVER__TLS__RELOAD_S", "1");
    (home, port)
}

fn target() -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json")
}

fn post_plain(bridge: &Bridge) {
    let answer = bridge.connect().post(&target(), r#"{"GroupId":"plain"}"#);
    assert_eq!(answer.expect("an answer").status, 200);
}

fn post(https: &mut Https, name: &str, body: &str) -> Value {
    https.post(name, &target(), &Value::Null, body)
}

fn reloads(bridge: &Bridge, outcome: &str, count: f64) {
    let labels = ["imbridge_tls_reloads_total", outcome];
    eventually(&format!("{count} reloads {outcome}"), || {
        (bridge.metric(&labels) >= count).then_some(())
    });
}

#[test]
fn with_tls_http_1_1_is_served_and_nothing_else_beside_the_plain_port() {
    let authority = Authority::new("authority");
    let (home, port) = home("https", &kafka::shared(), &authority.issue_until("first", 2033));
    let bridge = home.start();
    let mut https = Https::new(port, &authority.pem);
    let opened = https.open("one", None);
    assert_eq!(
        (&opened["protocol"], &opened["subject"]),
        (&"http/1.1".into(), &"first".into()),
        "of two that were offered"
    );
    let body = format!(r#"{{"GroupId":"one","Name":"{}"}}"#, "x".repeat(20_000));
    for _ in 0..2 {
        let answer = post(&mut https, "one", &body);
        assert_eq!(answer["status"], 200);
        assert_eq!(answer["body"], r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#);
    }
    post_plain(&bridge);
    // 2033-12-31T00:00:00Z, as `date` prints it.
    assert_eq!(
        bridge.metric(&["imbridge_tls_certificate_expires_seconds"]),
        2_019_600_000.0
    );
    bridge.settle();
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), 3);
}

#[test]
fn handshakes_are_counted_by_their_outcome() {
    let authority = Authority::new("authority");
    let (home, port) = home("handshakes", "127.0.0.1:1", &authority.issue("bridge"));
    let bridge = home.start();
    let count = |outcome: &str| bridge.metric(&["imbridge_tls_handshakes_total", outcome]);
    assert_eq!([count("failed"), count("done")], [0.0, 0.0]);
    let mut https = Https::new(port, &authority.pem);
    assert_eq!(https.open("trusting", None)["protocol"], "http/1.1");
    eventually("one that is done", || (count("done") == 1.0).then_some(()));
    let mut https = Https::new(port, &Authority::new("stranger").pem);
    let refused = https.open("distrusting", None);
    assert!(refused["protocol"].is_null(), "{refused}");
    post_plain(&bridge);
    eventually("one that failed", || (count("failed") == 1.0).then_some(()));
    assert_eq!(count("done"), 1.0, "the plain port has no handshakes");
}

#[test]
fn a_changed_certificate_applies_to_new_connections_and_an_invalid_one_to_none() {
    let authority = Authority::new("authority");
    let (home, port) = home("reload", "127.0.0.1:1", &authority.issue("first"));
    let bridge = home.start();
    let folder = home.path().join("tls");
    let mut https = Https::new(port, &authority.pem);
    let mut subject = |name: &str| https.open(name, None)["subject"].clone();
    assert_eq!(subject("old"), "first");

    authority.issue("second").write(&folder);
    reloads(&bridge, "used", 1.0);
    assert_eq!(subject("new"), "second");

    let refused = bridge.metric(&["imbridge_tls_reloads_total", "refused"]);
    let bad = [
        ("cert.pem", "no certificate".to_owned()),
        ("key.pem", authority.issue("other").key),
        ("cert.pem", authority.issue_until("ended", 2020).cert),
    ];
    for ((file, content), count) in bad.into_iter().zip(1..) {
        let good = std::fs::read(folder.join(file)).unwrap();
        std::fs::write(folder.join(file), content).unwrap();
        reloads(&bridge, "refused", refused + f64::from(count));
        assert_eq!(subject("bad"), "second", "{file} {count}");
        std::fs::write(folder.join(file), good).unwrap();
    }
    bridge.logged("the old certificate stays in use: server.tls.cert");

    authority.issue("third").write(&folder);
    eventually("the third certificate", || (subject("newest") == "third").then_some(()));
    for name in ["old", "new", "newest"] {
        for _ in 0..2 {
            assert_eq!(post(&mut https, name, r#"{"GroupId":"g"}"#)["status"], 200, "{name}");
        }
    }
}

#[test]
fn if_client_certificates_are_required_nobody_connects_without_one() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (mut home, port) = home("mutual", "127.0.0.1:1", &authority.issue("bridge"));
    let file = home.path().join("clients.pem");
    std::fs::write(&file, &clients.pem).unwrap();
    home.set("SERVER__TLS__CLIENT_CA", file.display().to_string());
    let bridge = home.start();
    let mut https = Https::new(port, &authority.pem);
    let mut outcome = |name: &str, client: Option<&Pair>| {
        let answer = match https.open(name, client) {
            opened if opened["error"].is_string() => opened,
            _ => post(&mut https, name, r#"{"GroupId":"g"}"#),
        };
        if answer["status"] == 200 {
            "in".to_owned()
        } else {
            answer.to_string()
        }
    };
    let (known, foreign) = (clients.issue("im"), authority.issue("im"));
    assert_eq!(outcome("known", Some(&known)), "in");
    let refused = outcome("none", None);
    assert!(refused.contains("CERTIFICATE_REQUIRED"), "{refused}");
    let refused = outcome("foreign", Some(&foreign));
    assert!(refused.contains("UNKNOWN_CA"), "{refused}");

    std::fs::write(&file, &authority.pem).unwrap();
    reloads(&bridge, "used", 1.0);
    assert_eq!(outcome("new", Some(&foreign)), "in");
    let refused = outcome("former", Some(&known));
    assert!(refused.contains("UNKNOWN_CA"), "{refused}");
    let accepted = bridge.metric(&["imbridge_requests_total", "200"]);
    assert_eq!(accepted, 2.0, "two certificates");
}
