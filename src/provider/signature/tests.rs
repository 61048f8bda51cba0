//! Signatures with the vectors of RFC 2202 (SHA-1) and RFC 4231 (SHA-256, SHA-512), test case 2. Python's `hmac` gives
//! the same results.

use super::*;

const NONCE: &str = "what do ya want for nothing?";
const SHA1: &str = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
const SHA256: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
const SHA256_BASE64: &str = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
const SHA512: &str = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";

fn config(algorithm: Algorithm, secrets: &[&str], max_nonces: usize) -> Config {
    Config {
        secret: Secrets::of(secrets),
        algorithm,
        nonce_header: nonce_header(),
        signature_header: "X-Sig".into(),
        replay_window_s: 60,
        max_nonces,
    }
}

fn signature(algorithm: Algorithm, secrets: &[&str]) -> Signature {
    Signature::new(&config(algorithm, secrets, 3), None, &counter())
}

fn counter() -> IntCounter {
    IntCounter::new("forgotten", "Forgotten.").unwrap()
}

fn check(signature: &Signature, nonce: Option<&str>, sent: Option<&str>, now_ms: i64) -> Result<(), &'static str> {
    let header = |name: &str| match name {
        "X-Nonce" => nonce,
        "X-Sig" => sent,
        _ => None,
    };
    let line = RequestLine {
        method: "POST",
        path: "/openim",
        query: "",
        client: None,
        header: &header,
    };
    signature.check(&line, now_ms).map_err(|refusal| {
        assert_eq!(refusal.status, 403);
        refusal.reason
    })
}

#[test]
fn the_vectors_of_the_standards_pass_in_hex_and_base64() {
    for (algorithm, sent) in [
        (Algorithm::Sha1, SHA1),
        (Algorithm::Sha256, SHA256),
        (Algorithm::Sha256, &SHA256.to_uppercase()),
        (Algorithm::Sha256, SHA256_BASE64),
        (Algorithm::Sha256, SHA256_BASE64.trim_end_matches('=')),
        (Algorithm::Sha512, SHA512),
    ] {
        let one = signature(algorithm, &["Jefe"]);
        assert_eq!(check(&one, Some(NONCE), Some(sent), 0), Ok(()), "{algorithm:?} {sent}");
        let two = signature(algorithm, &["new", "Jefe"]);
        assert_eq!(
            check(&two, Some(NONCE), Some(sent), 0),
            Ok(()),
            "either of two keys is accepted"
        );
    }
}

#[test]
fn a_nonce_with_a_wrong_signature_is_refused_and_not_remembered() {
    let one = signature(Algorithm::Sha256, &["Jefe"]);
    let wrong = SHA256.replace('5', "6");
    for (nonce, sent) in [
        (None, Some(SHA256)),
        (Some(NONCE), None),
        (Some(NONCE), Some("")),
        (Some(NONCE), Some("no hex, no base64")),
        (Some(NONCE), Some(wrong.as_str())),
        (Some(NONCE), Some(&SHA256[..62])),
        (Some(NONCE), Some(SHA1)),
        (Some("another"), Some(SHA256)),
    ] {
        assert_eq!(check(&one, nonce, sent, 0), Err("signature"), "{nonce:?} {sent:?}");
    }
    assert_eq!(check(&one, Some(NONCE), Some(SHA256), 0), Ok(()));
}

#[test]
fn a_nonce_passes_once_within_its_window() {
    let one = signature(Algorithm::Sha256, &["Jefe"]);
    assert_eq!(check(&one, Some(NONCE), Some(SHA256), 0), Ok(()));
    assert_eq!(check(&one, Some(NONCE), Some(SHA256), 60_000), Err("replayed"));
    assert_eq!(check(&one, Some(NONCE), Some(SHA256_BASE64), 60_000), Err("replayed"));
    assert_eq!(check(&one, Some(NONCE), Some(SHA256), 60_001), Ok(()));
}

#[test]
fn the_number_of_nonces_is_limited_and_the_oldest_is_dropped_and_counted() {
    let forgotten = counter();
    let mut nonces = Nonces::new(forgotten.clone());
    let mut is_new = |nonce: &str, now_ms, max| {
        let new = nonces.is_new(nonce, now_ms, &config(Algorithm::Sha256, &["Jefe"], max));
        assert_eq!(nonces.known.len(), nonces.order.len());
        (new, nonces.order.len())
    };
    assert!(["a", "b", "c"].iter().all(|nonce| is_new(nonce, 0, 3).0));
    assert!(["a", "b", "c"].iter().all(|nonce| !is_new(nonce, 0, 3).0));
    assert_eq!(forgotten.get(), 0);
    assert_eq!(is_new("d", 1, 3), (true, 3));
    assert!(["b", "c", "d"].iter().all(|nonce| !is_new(nonce, 1, 3).0));
    assert_eq!(is_new("a", 1, 3), (true, 3), "forgotten for d");
    assert_eq!(forgotten.get(), 2, "a, then b");
    for number in 0..1000 {
        assert_eq!(is_new(&number.to_string(), 2, 3), (true, 3));
    }
    assert_eq!(forgotten.get(), 1002);
    assert_eq!(is_new("fewer", 3, 2), (true, 2), "a reload lowered the number");
    assert_eq!(is_new("later", 60_004, 3), (true, 1));
    assert_eq!(forgotten.get(), 1004, "those that are out of date are not counted");
}
