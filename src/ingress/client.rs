//! The address of the client that sent a request: the peer of its connection, or the address that a trusted proxy names. It does
//! not know senders.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::HeaderMap;
use serde::Deserialize;

use crate::provider::Networks;

/// The header in which trusted proxies name the client. Only this one is read: a proxy forwards headers that it does not write
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For: client, proxy`.
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy`, RFC 7239.
    Forwarded,
}

impl ProxyHeader {
    fn name(self) -> &'static str {
        match self {
            ProxyHeader::XForwardedFor => "x-forwarded-for",
            ProxyHeader::Forwarded => "forwarded",
        }
    }
}

/// The right-most address that does not belong to a trusted proxy. `None` if a trusted proxy names no address.
pub(super) fn client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &Networks,
    header: ProxyHeader,
) -> Option<IpAddr> {
    let peer = peer?;
    if !trusted.contain(peer) {
        return Some(peer);
    }
    let mut client = peer;
    let lines: Vec<_> = headers.get_all(header.name()).collect();
    for line in lines.into_iter().rev() {
        for entry in line.to_str().ok()?.rsplit(',') {
            client = match header {
                ProxyHeader::XForwardedFor => address(entry.trim())?,
                ProxyHeader::Forwarded => address(forwarded_for(entry)?)?,
            };
            if !trusted.contain(client) {
                return Some(client);
            }
        }
    }
    Some(client)
}

/// The value of `for` in `by=x; for="[2001:db8::1]:80"`.
fn forwarded_for(entry: &str) -> Option<&str> {
    let mut pairs = entry.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(value.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, header: ProxyHeader, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = actix_web::http::header::HeaderValue::from_static(line);
            headers.append(header.name().try_into().unwrap(), value);
        }
        let trusted = ["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()].to_vec();
        let trusted = Networks::try_from(trusted).unwrap();
        client(Some(peer.parse().unwrap()), &headers, &trusted, header).map(|address| address.to_string())
    }

    #[test]
    fn the_nearest_address_that_is_no_trusted_proxy_counts() {
        let plain = |peer: &str, lines: &[&'static str]| found(peer, ProxyHeader::XForwardedFor, lines);
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "10.0.0.1",
                &["203.0.113.9, 198.51.100.7, 10.0.0.2"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.7:4711,10.0.0.2"],
                Some("198.51.100.7"),
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &["203.0.113.9, unknown"], None),
            ("10.0.0.1", &["203.0.113.9,"], None),
            ("2001:db8::1", &["[2a00::7]:443"], Some("2a00::7")),
            ("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
        ] {
            assert_eq!(plain(peer, lines).as_deref(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_header_forwarded_is_read_if_it_is_configured() {
        let standard = |lines: &[&'static str]| found("10.0.0.1", ProxyHeader::Forwarded, lines);
        for (lines, expected) in [
            (&["for=198.51.100.7;proto=https;by=10.0.0.1"][..], Some("198.51.100.7")),
            (
                &["for=203.0.113.9, by=x; For=\"198.51.100.7:80\", for=10.0.0.2"],
                Some("198.51.100.7"),
            ),
            (&["for=\"[2a00::7]:443\""], Some("2a00::7")),
            (&["for=_hidden"], None),
            (&["proto=https"], None),
        ] {
            assert_eq!(standard(lines).as_deref(), expected, "{lines:?}");
        }
        assert_eq!(
            found("10.0.0.1", ProxyHeader::Forwarded, &[]).as_deref(),
            Some("10.0.0.1")
        );
    }
}
