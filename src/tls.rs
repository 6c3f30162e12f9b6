//! TLS for outgoing connections, with one crypto provider (ring), the system's certificates and those that the settings name. In: paths
//! of PEM files. Out: a rustls client configuration, or which file is wrong and how.

use std::error::Error;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject as _;

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The file cannot be read, or it is not PEM.
    #[error("`{path}`: {source}; name a readable PEM file")]
    File {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("`{0}` holds no certificate; name a PEM file that does")]
    Empty(PathBuf),
    /// rustls refuses the certificate or key.
    #[error("`{path}`: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Configures a client that trusts the system's certificates and those in `ca_file`. If a server asks for a certificate, the client
/// shows the one of `identity`, which names its file and that of its key.
pub fn client(ca_file: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsProblem> {
    let mut roots = RootCertStore::empty();
    // If one of the system's certificates is bad, the others can still be used.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in ca_file.map(certificates).transpose()?.unwrap_or_default() {
        let path = || ca_file.map(Path::to_owned).unwrap_or_default();
        roots.add(certificate).map_err(|source| TlsProblem::Refused { path: path(), source })?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|source| TlsProblem::File { path: key.to_owned(), source })?;
    config
        .with_client_auth_cert(chain, secret)
        .map_err(|source| TlsProblem::Refused { path: certificate.to_owned(), source })
}

/// Explains an error to people if TLS is its cause.
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(advice(error));
        }
        next = match error.downcast_ref::<io::Error>() {
            // An I/O error does not list the error that it wraps as its source.
            Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn advice(error: &rustls::Error) -> String {
    let advice = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; name the CA that signed it in settings.ca_file"
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "; the server needs a new one"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "; connect by a name that stands in it",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "; the server wants a client certificate: set settings.client_cert_file and settings.client_key_file"
        }
        rustls::Error::InvalidMessage(_) => "; the server does not speak TLS on this port",
        _ => "",
    };
    format!("TLS: {error}{advice}")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let wrong = |source| TlsProblem::File { path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if certificates.is_empty() {
        return Err(TlsProblem::Empty(path.to_owned()));
    }
    Ok(certificates)
}
