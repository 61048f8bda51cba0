//! Recognises other protocols on the plain HTTP port by their first bytes: a proxy or a client is configured for something else.
//! The answer and the log line name the protocol and the fix; the server library would answer 400 without a text. It does not know
//! connections.

use std::net::SocketAddr;

use super::{Metrics, refusals};
use crate::provider::Refusal;

/// The PROXY protocol, version 2.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Checks the first bytes of a connection. If they are not HTTP/1.1, counts and logs that, and returns the whole answer.
pub(super) fn refuse(first: &[u8], peer: Option<SocketAddr>, metrics: &Metrics) -> Option<Vec<u8>> {
    let (reason, message) = recognise(first)?;
    let refusal = Refusal::new(None, 400, reason, message);
    metrics.refused.with_label_values(&["none", reason]).inc();
    refusals::log(&refusal, peer);
    let body = refusal.body();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    Some([head.into_bytes(), body].concat())
}

/// The value of the label `reason`, and a message. The type and major version of a TLS record suffice: no HTTP method begins so.
fn recognise(first: &[u8]) -> Option<(&'static str, &'static str)> {
    if first.starts_with(b"PROXY ") || first.starts_with(PROXY_2) {
        let message = "this is the PROXY protocol, which the bridge does not support: turn it off in the load balancer, and let it name the client in X-Forwarded-For, as server.trusted_proxies describes";
        Some(("proxy_protocol", message))
    } else if first.starts_with(&[0x16, 3]) {
        let message = "this is a TLS handshake, but the port expects plain HTTP: use http:// here, or the port of server.tls.listen";
        Some(("tls_hello", message))
    } else if first.starts_with(b"PRI * HTTP/2") {
        Some((
            "http2",
            "this is HTTP/2, which the bridge does not support: use HTTP/1.1",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_recognised_by_their_first_bytes() {
        for (first, reason) in [
            (
                &b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPOST / HTTP/1.1"[..],
                Some("proxy_protocol"),
            ),
            (b"PROXY UNKNOWN\r\n", Some("proxy_protocol")),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Some("proxy_protocol")),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", Some("tls_hello")),
            (b"\x16\x03\x03", Some("tls_hello")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("http2")),
            (b"POST /tencent HTTP/1.1\r\n", None),
            (b"PROXYING / HTTP/1.1\r\n", None),
            (b"\r\n\r\nPOST / HTTP/1.1\r\n", None),
            (b"P", None),
            (b"", None),
        ] {
            assert_eq!(recognise(first).map(|(reason, _)| reason), reason, "{first:?}");
        }
    }

    #[test]
    fn the_answer_is_http_and_counted() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        assert_eq!(refuse(b"GET / HTTP/1.1\r\n", None, &metrics), None);
        let answer = String::from_utf8(refuse(b"\x16\x03\x01", None, &metrics).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(
            head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(body.contains("TLS handshake"), "{body}");
        assert_eq!(metrics.refused.with_label_values(&["none", "tls_hello"]).get(), 1);
    }
}
