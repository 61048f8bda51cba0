//! The TLS settings of HTTP clients: which authorities they trust. Knows no request.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Trusts the authorities of a PEM file. Without a file, trusts those of this machine.
///
/// # Errors
/// If the file cannot be read or contains no certificate.
pub fn tls(ca: Option<&Path>) -> io::Result<TlsConfig> {
    let roots = match ca {
        Some(path) => read(path)?,
        None => machine(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build())
}

fn read(path: &Path) -> io::Result<Vec<Certificate<'static>>> {
    let named = |problem: String| {
        io::Error::other(format!(
            "{}: {problem}; a PEM file with certificates is needed",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|cause| named(cause.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|cause| named(cause.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(named("no certificate in it".into()));
    }
    Ok(found)
}

/// The authorities of this machine. Those that cannot be read are left out: a server that needs one is then not trusted,
/// and the error says so.
fn machine() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
}
