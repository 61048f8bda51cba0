//! What surrounds the public port: load balancers with health checks, proxies that compress bodies or speak another
//! protocol, and clients with habits.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::client::{Answer, Connection};
use crate::support::{kafka, reader, run};

const HEALTH: [&str; 4] = ["/", "/healthz", "/?from=balancer", "/healthz?"];

fn target(command: &str) -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={command}")
}

fn created() -> String {
    target("Group.CallbackAfterCreateGroup")
}

#[track_caller]
fn assert_health(connection: &mut Connection, status: u16) {
    for path in HEALTH {
        let got = connection.request("GET", path, &[], b"").expect("an answer");
        let head = connection
            .request("HEAD", path, &[], b"")
            .expect("an answer on the same connection");
        assert_eq!((got.status, head.status), (status, status), "{path}: {}", got.body);
        assert!((10..100).contains(&got.body.len()), "{}", got.body);
    }
}

#[test]
fn a_load_balancers_health_check_is_answered_and_not_counted() {
    let mut home = Home::with_brokers("health", "127.0.0.1:1");
    home.set("SPOOL__MAX_BYTES", (1 << 20).to_string());
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let bridge = home.start();
    let mut connection = bridge.connect();
    assert_health(&mut connection, 200);
    let big = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "x".repeat(100_000));
    let full = (0..40).any(|_| {
        bridge
            .connect()
            .post(&created(), &big)
            .is_none_or(|answer| answer.status == 503)
    });
    assert!(full, "a spool of 1 MiB does not take 4 MB");
    let turned_away = bridge.metric(&["imbridge_requests_refused_total"]);
    assert_health(&mut connection, 503);
    assert_eq!(bridge.metric(&["imbridge_requests_refused_total"]), turned_away);
    let log = bridge.log();
    assert_eq!(log.matches("refused:").count(), log.matches("spool_full").count());
    let posted = connection.request("POST", "/", &[], b"{}").expect("an answer");
    assert_eq!(posted.status, 404, "{}", posted.body);
}

type Pack = fn(&[u8]) -> Vec<u8>;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

fn post_packed(bridge: &Bridge, coding: &str, body: &[u8]) -> Answer {
    let headers = [("Content-Encoding", coding)];
    let answer = bridge.connect().request("POST", &created(), &headers, body);
    answer.expect("an answer")
}

#[test]
fn a_compressed_body_is_unpacked_and_a_byte_order_mark_removed_before_spooling() {
    let home = Home::new("packed");
    let bridge = home.start();
    let body = |group: &str| format!(r#"{{"GroupId":"{group}","Name":"{}"}}"#, "n".repeat(200_000)).into_bytes();
    let packs: [(&str, Pack); 7] = [
        ("gzip", gzip),
        ("X-GZIP", gzip),
        ("deflate", zlib),
        ("deflate", deflate),
        ("identity, gzip", gzip),
        ("identity", <[u8]>::to_vec),
        ("", <[u8]>::to_vec),
    ];
    for (index, (coding, pack)) in packs.iter().enumerate() {
        let marked = [&b"\xef\xbb\xbf"[..], &body(&format!("g{index}"))].concat();
        let answer = post_packed(&bridge, coding, &pack(&marked));
        assert_eq!(answer.status, 200, "{coding}: {}", answer.body);
    }
    bridge.settle();
    let mut kept = reader::consume(&kafka::shared(), &home.prefix, &home.schemas());
    kept.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(kept.len(), packs.len());
    for (index, message) in kept.iter().enumerate() {
        assert_eq!(message.key.as_deref(), Some(format!("g{index}").as_str()));
        let name = message.value.as_ref().expect("a record")["Name"]
            .as_str()
            .expect("text");
        assert_eq!(name.len(), 200_000);
    }
}

#[test]
fn the_unpacked_size_of_a_body_is_bounded_and_a_broken_body_is_reported() {
    const MIB: usize = 1 << 20;
    let home = Home::with_brokers("bomb", "127.0.0.1:1");
    let bridge = home.start();
    // 7 MB that would become 7 GB, as data do that are compressed by gzip twice. Here it is a thousand members of 7 MB
    // each.
    let bomb = gzip(&vec![b' '; 7 * MIB]).repeat(1000);
    assert!(bomb.len() < 8 * MIB, "{}", bomb.len());
    let idle = bridge.peak_memory_bytes();
    for coding in ["gzip", "deflate"] {
        let body = if coding == "gzip" {
            bomb.clone()
        } else {
            zlib(&vec![b' '; 900 * MIB])
        };
        std::thread::scope(|scope| {
            let posts: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| post_packed(&bridge, coding, &body)))
                .collect();
            for post in posts {
                let answer = post.join().expect("an answer");
                assert!(matches!(answer.status, 413 | 503), "{} {}", answer.status, answer.body);
            }
        });
        let answer = post_packed(&bridge, coding, &body);
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    let grown = (bridge.peak_memory_bytes() - idle) / MIB as u64;
    assert!(grown < 100, "{grown} MiB");
    assert_eq!(bridge.metric(&["imbridge_held_bytes"]), 0.0);

    for (coding, body, status, reason) in [
        ("br", b"{}".to_vec(), 415, "content_encoding"),
        ("gzip, gzip", gzip(&gzip(b"{}")), 415, "content_encoding"),
        ("gzip", b"{}".to_vec(), 400, "body_broken"),
        ("gzip", gzip(b"{\"GroupId\":\"g\"}")[..20].to_vec(), 400, "body_broken"),
        ("deflate", b"{\"GroupId\":\"g\"}".to_vec(), 400, "body_broken"),
    ] {
        let answer = post_packed(&bridge, coding, &body);
        assert_eq!(answer.status, status, "{coding}: {}", answer.body);
        assert!(answer.body.contains("Content-Encoding"), "{}", answer.body);
        assert_eq!(answer.header("accept-encoding").is_some(), status == 415);
        assert!(bridge.metric(&["imbridge_requests_refused_total", reason]) >= 1.0);
    }
}

#[test]
fn a_wish_for_http2_in_clear_text_is_ignored() {
    let home = Home::with_brokers("h2c", "127.0.0.1:1");
    let bridge = home.start();
    let wish = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ];
    for (target, status) in [
        (created(), 200),
        ("/elsewhere".to_owned(), 404),
        ("/healthz".to_owned(), 200),
    ] {
        let method = if target == "/healthz" { "GET" } else { "POST" };
        let body = br#"{"GroupId":"g","Name":"n"}"#;
        let answer = bridge
            .connect()
            .request(method, &target, &wish, body)
            .expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(
            (answer.header("connection"), answer.header("upgrade")),
            (Some("close"), None)
        );
    }
}

#[test]
fn javas_own_client_posts_callbacks() {
    let home = Home::with_brokers("java", "127.0.0.1:1");
    let bridge = home.start();
    let url = format!("http://127.0.0.1:{}{}", home.port, created());
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "tests/support/Posts.java"]);
    let (code, out, errors) = run(java.arg(url));
    assert_eq!(code, Some(0), "{out}{errors}");
    let ok = r#"200 HTTP_1_1 {"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;
    assert_eq!(out.lines().collect::<Vec<_>>(), [ok; 3]);
    assert_eq!(
        bridge.metric(&["imbridge_requests_total", "Group.CallbackAfterCreateGroup", "200"]),
        3.0
    );
}

#[test]
fn more_headers_than_the_server_reads_are_answered_as_the_readme_says() {
    let home = Home::with_brokers("headers", "127.0.0.1:1");
    let bridge = home.start();
    let names: Vec<_> = (0..100).map(|index| format!("X-{index}")).collect();
    for (count, status) in [(80, 200), (100, 431)] {
        let headers: Vec<_> = names[..count].iter().map(|name| (name.as_str(), "v")).collect();
        let answer = bridge
            .connect()
            .request("POST", &created(), &headers, b"{\"GroupId\":\"g\"}");
        assert_eq!(answer.expect("an answer").status, status);
    }
}

#[test]
fn other_protocols_get_an_error_message_and_are_named_in_the_log() {
    let home = Home::with_brokers("hello", "127.0.0.1:1");
    let bridge = home.start();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}",
        created()
    );
    let proxy_1 = format!("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n{request}");
    let proxy_2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb"[..],
        request.as_bytes(),
    ]
    .concat();
    let hello = [&b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03"[..], &[7; 240]].concat();
    for (bytes, reason, word) in [
        (proxy_1.as_bytes(), "proxy_protocol", "PROXY protocol"),
        (&proxy_2, "proxy_protocol", "PROXY protocol"),
        (&hello, "tls_hello", "TLS handshake"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", "HTTP/2"),
    ] {
        for _ in 0..20 {
            let answer = bridge.connect().send(bytes).expect("an answer");
            assert_eq!(answer.status, 400, "{reason}");
            assert!(answer.body.contains(word), "{}", answer.body);
            assert_eq!(answer.header("connection"), Some("close"));
        }
        bridge.logged(reason);
        let lines = bridge.log().lines().filter(|line| line.contains(reason)).count();
        assert!((1..10).contains(&lines), "{lines} lines for {reason}");
    }
    assert_eq!(
        bridge.metric(&["imbridge_requests_refused_total", "proxy_protocol"]),
        40.0
    );
    assert_eq!(bridge.connect().post(&created(), "{}").expect("an answer").status, 200);
}
