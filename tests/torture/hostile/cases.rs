//! Requests that no IM server sends: for each, its raw bytes and the expected statuses in order. It does not know the
//! bridge's limits or its other callers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::bridge::APP;

/// Its topic is not one of the honest load, so that a reader sees only these events.
pub const COMMAND: &str = "Group.CallbackAfterChangeGroupOwner";
/// The group in requests that are hidden in others. It must not be in Kafka.
pub const SMUGGLED: &str = "smuggled";

/// At least as many as there are reasons for a refusal.
pub const REASONS: usize = 8;

/// One case.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// The statuses of the answers until the connection is closed.
    pub statuses: &'static [u16],
}

/// A request line with its query.
pub fn line(command: &str) -> String {
    format!("POST /tencent?SdkAppid={APP}&CallbackCommand={command} HTTP/1.1\r\nHost: bridge\r\n")
}

/// A complete request.
pub fn post(command: &str, body: &[u8]) -> Vec<u8> {
    with(&format!("Content-Length: {}\r\n", body.len()), command, body)
}

/// A request with these headers.
fn with(headers: &str, command: &str, body: &[u8]) -> Vec<u8> {
    [line(command).as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

/// Heads that are wrong, and bytes that are no head.
pub fn heads() -> Vec<Case> {
    let case = |name, headers: &str, body: &[u8], statuses| Case {
        name,
        bytes: with(headers, COMMAND, body),
        statuses,
    };
    let raw = |name, bytes: &[u8], statuses| Case {
        name,
        bytes: bytes.to_vec(),
        statuses,
    };
    let inner = post(COMMAND, format!(r#"{{"GroupId":"{SMUGGLED}"}}"#).as_bytes());
    let hidden = [b"0\r\n\r\n", &inner[..]].concat();
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", hidden.len());
    let huge = format!("X-Long: {}\r\nContent-Length: 2\r\n", "x".repeat(300_000));
    let many = "X-Many: x\r\n".repeat(200) + "Content-Length: 2\r\n";
    vec![
        case("length that is negative", "Content-Length: -1\r\n", b"{}", &[400]),
        case("length with a plus", "Content-Length: +2\r\n", b"{}", &[400]),
        case("length that is no number", "Content-Length: two\r\n", b"{}", &[400]),
        case(
            "length above 64 bits",
            "Content-Length: 99999999999999999999999\r\n",
            b"{}",
            &[400],
        ),
        case(
            "length of exabytes",
            "Content-Length: 9223372036854775807\r\n",
            b"{}",
            &[400],
        ),
        case("length that is longer", "Content-Length: 50\r\n", b"{}", &[400]),
        case(
            "length that is shorter",
            "Content-Length: 1\r\n",
            br#"{"GroupId":"g"}"#,
            &[400, 400],
        ),
        case(
            "two lengths that differ",
            "Content-Length: 2\r\nContent-Length: 40\r\n",
            b"{}",
            &[400],
        ),
        case("length and chunks", &both, &hidden, &[400]),
        case(
            "two encodings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            &hidden,
            &[400],
        ),
        case(
            "an encoding of its own",
            "Transfer-Encoding: xchunked\r\n",
            &hidden,
            &[400],
        ),
        case(
            "chunk without a size",
            "Transfer-Encoding: chunked\r\n",
            b"zz\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        case(
            "chunk above 64 bits",
            "Transfer-Encoding: chunked\r\n",
            b"fffffffffffffffff\r\n{}",
            &[400],
        ),
        case(
            "chunk that is longer",
            "Transfer-Encoding: chunked\r\n",
            b"1\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        case("head of 300 KB", &huge, b"{}", &[431]),
        case("200 headers", &many, b"{}", &[431]),
        case("NUL in a header", "X-Nul: \0\r\nContent-Length: 2\r\n", b"{}", &[400]),
        raw("HTTP/0.9", b"GET /\r\n\r\n", &[400]),
        raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400]),
        raw(
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client's hello",
            &[400],
        ),
        raw("NUL bytes", &[0; 4096], &[400]),
        raw("random bytes", b"\xff\xfe\x80\x9d\r\n\r\n\x00\x01", &[400]),
        raw(
            "no Host",
            b"POST /tencent HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            &[400],
        ),
    ]
}

/// Hostile bodies in correct requests.
pub fn bodies() -> Vec<Case> {
    let case = |name, body: &[u8], statuses| Case {
        name,
        bytes: post(COMMAND, body),
        statuses,
    };
    let deep = |open: &str, close: &str| format!(r#"{{"GroupId":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
    let digits = format!(r#"{{"GroupId":"digits","Number":{}}}"#, "9".repeat(10_000));
    let keys = format!(r#"{{{}"GroupId":"keys"}}"#, r#""GroupId":"twice","#.repeat(10_000));
    let pipelined: Vec<u8> = (0..5)
        .flat_map(|_| post(COMMAND, br#"{"GroupId":"pipelined"}"#))
        .collect();
    vec![
        case("lists in 100 000 levels", deep("[", "]").as_bytes(), &[200]),
        case("objects in 100 000 levels", deep(r#"{"a":"#, "}").as_bytes(), &[200]),
        case("100 000 levels that stay open", "[".repeat(100_000).as_bytes(), &[400]),
        case("number of 10 000 digits", digits.as_bytes(), &[200]),
        case(
            "number beyond all",
            br#"{"GroupId":"beyond","EventTime":1e999999,"MemberNum":-1e-999999}"#,
            &[200],
        ),
        case("10 000 times the same key", keys.as_bytes(), &[200]),
        case(
            "the command twice",
            br#"{"CallbackCommand":"A","CallbackCommand":"B","GroupId":"two"}"#,
            &[200],
        ),
        case("bytes that are no UTF-8", b"{\"GroupId\":\"\xff\xfe\xc0\x80\"}", &[200]),
        case("NUL in a text", b"{\"GroupId\":\"\0\"}", &[400]),
        case("half of a pair", br#"{"GroupId":"\ud800"}"#, &[200]),
        case("nothing", b"", &[400]),
        Case {
            name: "five at once",
            bytes: pipelined,
            statuses: &[200; 5],
        },
    ]
}

/// Sends the bytes, closes this side, and returns the statuses of all answers.
pub fn statuses(port: u16, bytes: &[u8]) -> Vec<u16> {
    let mut stream = connect(port);
    // The bridge may answer and close before it has read everything.
    if stream.write_all(bytes).is_ok() {
        stream.shutdown(Shutdown::Write).ok();
    }
    read_statuses(&mut stream)
}

/// A connection on which a read times out after half a minute.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the bridge listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out is more than zero");
    stream
}

/// The statuses of all answers up to the end of the connection.
pub fn read_statuses(stream: &mut TcpStream) -> Vec<u16> {
    let mut answers = Vec::new();
    // A reset after the answer counts as its end.
    stream.read_to_end(&mut answers).ok();
    let text = String::from_utf8_lossy(&answers);
    let parts = text.split("HTTP/1.1 ").skip(1);
    parts.filter_map(|part| part.get(..3)?.parse().ok()).collect()
}
