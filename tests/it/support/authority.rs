//! A certificate authority that a test makes for itself. In: names and years. Out: certificates and keys, and files of them that vanish with
//! the authority.

use std::path::PathBuf;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;

/// A certificate authority that a test makes for itself, with its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) directory: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let directory = std::env::temp_dir().join(format!("andon-tls-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        Authority { issuer: Issuer::new(params, key), pem, directory }
    }

    /// Returns a certificate and its key for a name, valid until the end of the year `until`.
    pub(crate) fn sign(&self, name: &str, until: i32) -> (String, String) {
        self.sign_between(name, 1975, until)
    }

    /// Returns a certificate and its key for a name, valid from the end of one year to the end of another.
    pub(crate) fn sign_between(&self, name: &str, from: i32, until: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // With the same name as its issuer, the certificate would count as self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(from, 12, 31);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a file into the directory of the authority, and returns its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}
