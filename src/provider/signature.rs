//! Signed nonces, as documented for the Enterprise edition of OpenIM: one header holds a nonce, another its HMAC. The
//! HMAC does not cover the body, so a request that was seen could be replayed with another body. Therefore each nonce
//! is accepted once.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prometheus::IntCounter;
use ring::hmac;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Refusal, RequestLine};
use crate::callback::Provider;
use crate::secret::{Secret, Secrets};

/// Base64, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `signature` of an `[[openim]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key of the HMAC.
    pub secret: Secrets,
    /// The HMAC's hash.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The header with the nonce.
    #[serde(default = "nonce_header")]
    pub nonce_header: String,
    /// The header with the nonce's HMAC, in hex or base64.
    #[serde(default = "signature_header")]
    pub signature_header: String,
    /// Seconds that a nonce is remembered.
    #[serde(default = "replay_window_s")]
    pub replay_window_s: u32,
    /// The most nonces that are remembered. Beyond it, the oldest one is dropped.
    #[serde(default = "max_nonces")]
    pub max_nonces: usize,
}

fn nonce_header() -> String {
    "X-Nonce".into()
}

fn signature_header() -> String {
    "X-Signature".into()
}

fn replay_window_s() -> u32 {
    3600
}

fn max_nonces() -> usize {
    100_000
}

/// The hash of the HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// 20 bytes.
    #[serde(rename = "hmac-sha1")]
    Sha1,
    /// 32 bytes.
    #[default]
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// 64 bytes.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

impl Algorithm {
    fn in_ring(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Config {
    /// The first key with a wrong value, and what is allowed.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let headers = [
            ("signature.nonce_header", &self.nonce_header),
            ("signature.signature_header", &self.signature_header),
        ];
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some((key, name)) = headers.into_iter().find(|(_, name)| !is_name(name)) {
            return Some((key, format!("{name:?}: write a header's name of A-Z a-z 0-9 -")));
        }
        let numbers = [
            ("signature.replay_window_s", self.replay_window_s as usize),
            ("signature.max_nonces", self.max_nonces),
        ];
        let (key, _) = numbers.into_iter().find(|(_, number)| *number == 0)?;
        Some((key, "0: at least 1 is allowed".into()))
    }
}

/// Checks signatures and remembers nonces.
pub(super) struct Signature {
    config: Config,
    keys: Vec<hmac::Key>,
    nonces: Arc<Mutex<Nonces>>,
}

impl Signature {
    /// Keeps the nonces of `before`. `forgotten` counts those that are dropped within their window.
    pub fn new(config: &Config, before: Option<&Signature>, forgotten: &IntCounter) -> Signature {
        let algorithm = config.algorithm.in_ring();
        let key = |secret: &Secret| hmac::Key::new(algorithm, secret.expose().as_bytes());
        let new = || Arc::new(Mutex::new(Nonces::new(forgotten.clone())));
        Signature {
            config: config.clone(),
            keys: config.secret.iter().map(key).collect(),
            nonces: before.map_or_else(new, |before| Arc::clone(&before.nonces)),
        }
    }

    /// Checks that the request has a nonce that is signed and new.
    pub fn check(&self, line: &RequestLine<'_>, now_ms: i64) -> Result<(), Refusal> {
        let (nonce_header, signature_header) = (&self.config.nonce_header, &self.config.signature_header);
        let header = |name: &str| (line.header)(name).filter(|value| !value.is_empty());
        let (Some(nonce), Some(signature)) = (header(nonce_header), header(signature_header)) else {
            let message = format!("{nonce_header} or {signature_header} is missing: callbacks must be signed");
            return Err(refusal("signature", message));
        };
        let signature = decode(signature).unwrap_or_default();
        // Every key is tried, so that the time does not depend on which one matches.
        let verified = |key: &hmac::Key| hmac::verify(key, nonce.as_bytes(), &signature).is_ok();
        if !self.keys.iter().fold(false, |found, key| found | verified(key)) {
            let message = format!("{signature_header} does not match: OpenIM's key and the one configured here differ");
            return Err(refusal("signature", message));
        }
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.is_new(nonce, now_ms, &self.config) {
            return Ok(());
        }
        let message = format!("{nonce_header} has been used before: each nonce is accepted once");
        Err(refusal("replayed", message))
    }
}

fn refusal(reason: &'static str, message: String) -> Refusal {
    Refusal::new(Provider::OpenIm, 403, reason, message)
}

/// Decodes hex or base64. A digest has different lengths in them, so they cannot be mistaken for one another.
fn decode(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok().or_else(|| BASE64.decode(text).ok())
}

/// The recent nonces, limited in number and in time. A 16-byte hash is kept of each.
struct Nonces {
    known: HashSet<[u8; 16]>,
    order: VecDeque<(i64, [u8; 16])>,
    /// Counts the nonces that were dropped within their window, and could be accepted again.
    forgotten: IntCounter,
}

impl Nonces {
    fn new(forgotten: IntCounter) -> Nonces {
        Nonces {
            known: HashSet::new(),
            order: VecDeque::new(),
            forgotten,
        }
    }

    /// Remembers the nonce. Returns false if it is known already.
    fn is_new(&mut self, nonce: &str, now_ms: i64, bounds: &Config) -> bool {
        let window_ms = i64::from(bounds.replay_window_s) * 1000;
        while let Some((seen_ms, oldest)) = self.order.front() {
            if now_ms - seen_ms <= window_ms {
                break;
            }
            self.known.remove(oldest);
            self.order.pop_front();
        }
        let digest = Sha256::digest(nonce);
        let short: [u8; 16] = digest[..16].try_into().expect("32 bytes begin with 16");
        if !self.known.insert(short) {
            return false;
        }
        while self.order.len() >= bounds.max_nonces {
            let (_, oldest) = self.order.pop_front().expect("at least one is remembered");
            self.known.remove(&oldest);
            self.forgotten.inc();
        }
        self.order.push_back((now_ms, short));
        true
    }
}

#[cfg(test)]
mod tests;
