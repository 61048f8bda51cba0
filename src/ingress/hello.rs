//! What speaks to the port for plain HTTP and is no HTTP/1.1: a proxy or a client that is set up for something else, known by
//! its first bytes. It is told in words, and so is the log, where the server library would say 400 and nothing. Knows no
//! connection.

use std::net::SocketAddr;

use super::{Metrics, refusals};
use crate::provider::Refusal;

/// The PROXY protocol, version 2.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of a connection: the whole answer to what is no HTTP/1.1, which is counted and logged.
pub(super) fn refuse(first: &[u8], peer: Option<SocketAddr>, metrics: &Metrics) -> Option<Vec<u8>> {
    let (reason, message) = what_it_is(first)?;
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

/// A label and a sentence. Of a TLS record, type and major version are enough: no method of HTTP begins so.
fn what_it_is(first: &[u8]) -> Option<(&'static str, &'static str)> {
    if first.starts_with(b"PROXY ") || first.starts_with(PROXY_2) {
        let message = "this is the PROXY protocol, which is not spoken here: turn it off in the load balancer, and let it name the client in X-Forwarded-For, as server.trusted_proxies describes";
        Some(("proxy_protocol", message))
    } else if first.starts_with(&[0x16, 3]) {
        let message = "this is a TLS handshake, and the port speaks plain HTTP: use http:// here, or the port of server.tls.listen";
        Some(("tls_hello", message))
    } else if first.starts_with(b"PRI * HTTP/2") {
        Some(("http2", "this is HTTP/2, which is not spoken here: use HTTP/1.1"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_http_is_known_by_its_first_bytes() {
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
            assert_eq!(what_it_is(first).map(|(reason, _)| reason), reason, "{first:?}");
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
