//! Authorities and certificates, created for each test.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
}

/// A certificate for `localhost` and its key, both PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    /// A new authority.
    pub fn new(name: &str) -> Authority {
        let mut parameters = named(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("ring makes a key");
        let pem = parameters.self_signed(&key).expect("an authority").pem();
        let issuer = Issuer::new(parameters, key);
        Authority { issuer, pem }
    }

    /// Issues a certificate for the subject `name` that is valid until the end of `year`.
    pub fn issue_until(&self, name: &str, year: i32) -> Pair {
        let mut parameters = named(name);
        parameters.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("ring makes a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Issues a certificate that is valid for long.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_until(name, 2040)
    }
}

impl Pair {
    /// Writes `<folder>/cert.pem` and `<folder>/key.pem`.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("cert.pem"), &self.cert).expect("a temporary folder is writable");
        std::fs::write(folder.join("key.pem"), &self.key).expect("a temporary folder is writable");
    }
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
