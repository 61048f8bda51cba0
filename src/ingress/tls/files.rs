//! Reads and compares the files of `[server.tls]`, and makes the configuration for handshakes. No message contains their content.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::Config;

/// A file that cannot be used: the key that names it, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server.{key} = {problem}")]
pub struct TlsError {
    /// The key below `[server]`.
    pub(super) key: &'static str,
    /// The path, what is wrong with it and what is needed.
    pub(super) problem: String,
}

/// The content of the files at one moment.
pub(super) struct Files {
    cert: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
    client_ca: Option<(PathBuf, Vec<u8>)>,
}

/// The configuration for handshakes, and when its certificate expires.
pub(super) struct Identity {
    pub config: Arc<ServerConfig>,
    pub not_after: SystemTime,
}

impl Files {
    pub fn read(config: &Config) -> Result<Files, TlsError> {
        let read = |key, path: &Path| match std::fs::read(path) {
            Ok(content) => Ok((path.to_owned(), content)),
            Err(cause) => Err(fault(key, path, format!("{cause}; a PEM file is needed"))),
        };
        let client_ca = config.client_ca.as_deref();
        Ok(Files {
            cert: read("tls.cert", &config.cert)?,
            key: read("tls.key", &config.key)?,
            client_ca: client_ca.map(|path| read("tls.client_ca", path)).transpose()?,
        })
    }

    /// Equal for equal contents. It does not reveal the key.
    pub fn digest(&self) -> [u8; 32] {
        let contents = [&self.cert, &self.key].into_iter().chain(&self.client_ca);
        let hash = |hash: Sha256, (_, content): &(PathBuf, Vec<u8>)| hash.chain_update(Sha256::digest(content));
        contents.fold(Sha256::new(), hash).finalize().into()
    }

    pub fn identity(&self) -> Result<Identity, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("tls.cert", &self.cert)?;
        let (path, content) = &self.key;
        let key = PrivateKeyDer::from_pem_slice(content)
            .map_err(|_| fault("tls.key", path, "no private key in it; a PEM file with one is needed"))?;
        let problem = "is not a readable X.509 certificate with an expiry time; one is needed";
        let not_after = not_after(&chain[0]).ok_or_else(|| fault("tls.cert", &self.cert.0, problem))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring has the algorithms of both versions");
        let builder = match &self.client_ca {
            Some(file) => builder.with_client_cert_verifier(verifier(file, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|cause| fault("tls.key", path, format!("{cause}; the key of tls.cert is needed")))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session does not send its client certificate again, so it would outlive a removed authority.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let config = Arc::new(config);
        Ok(Identity { config, not_after })
    }
}

fn certificates(
    key: &'static str,
    (path, content): &(PathBuf, Vec<u8>),
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(fault(key, path, "no certificate in it; a PEM file with one is needed")),
    }
}

fn verifier(file: &(PathBuf, Vec<u8>), provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |cause: String| {
        fault(
            "tls.client_ca",
            &file.0,
            format!("{cause}; authorities' certificates are needed"),
        )
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("tls.client_ca", file)? {
        roots.add(authority).map_err(|cause| unusable(cause.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    // Clients have one certificate for this bridge, so they need no hint which one to send.
    let built = builder.clear_root_hint_subjects().build();
    built.map_err(|cause| unusable(cause.to_string()))
}

pub(super) fn fault(key: &'static str, path: &Path, problem: impl std::fmt::Display) -> TlsError {
    let problem = format!("{:?}: {problem}", path.display().to_string());
    TlsError { key, problem }
}

/// The certificate's `notAfter`. `None` if this is not a certificate.
fn not_after(der: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(der).ok()?;
    let since_1970 = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    Some(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, text) in [(2031, "2031-02-03T00:00:00Z"), (2067, "2067-02-03T00:00:00Z")] {
            let mut parameters = rcgen::CertificateParams::new(vec!["bridge".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 2, 3);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            let expected = humantime::parse_rfc3339(text).unwrap();
            assert_eq!(not_after(certificate.der()), Some(expected));
        }
    }

    #[test]
    fn bytes_that_are_not_a_certificate_have_no_expiry() {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["bridge".to_owned()]).unwrap();
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "cut at {length}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
