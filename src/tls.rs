//! TLS for outgoing connections, with one crypto provider (ring), the system's certificates and those that the settings name. In: PEM,
//! or the files that hold it. Out: a rustls client configuration, or which file is wrong and how. Configurations that trust the same certificates share
//! them, because the system's alone take milliseconds to read and a hundred kilobytes to keep. It reads regular files only, and never more
//! of one than its bound.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::InvalidMessage;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject as _;

use crate::pem::Pem;

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The file cannot be read, or it is not PEM.
    #[error("{pem}: {source}; name a readable PEM file")]
    Unreadable {
        /// Where it is.
        pem: Pem,
        /// Its fault.
        source: pem::Error,
    },
    /// It is a device, a pipe or a directory, from which there may be no end to read, or nothing ever.
    #[error("{0} is not a regular file; name a PEM file")]
    NotAFile(Pem),
    /// It is larger than any certificate.
    #[error("{0} is larger than 1 MiB; name a PEM file with fewer certificates")]
    TooLarge(Pem),
    /// There is no certificate in it.
    #[error("{0} holds no certificate; name a PEM file that does")]
    Empty(Pem),
    /// rustls refuses the certificate of an authority.
    #[error("{pem}: {source}; name a PEM file of certificates of authorities")]
    Authority {
        /// Where it is.
        pem: Pem,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refuses the certificate or its key.
    #[error("{pem}: {source}; the client's own certificate has to come first, and the key has to be its own")]
    Identity {
        /// Where it is.
        pem: Pem,
        /// Why.
        source: rustls::Error,
    },
}

/// The largest file that is read. A bundle of all public authorities has a fifth of that.
const LARGEST_FILE: u64 = 1 << 20;
/// How many configurations with a CA file are kept to be shared.
const SHARED: usize = 64;

/// Configures a client that trusts the system's certificates and those in `ca`. If a server asks for a certificate, the client shows the one of
/// `identity`, which is followed by its key. It may read files, and the disk may be slow.
pub fn client(ca: Option<&Pem>, identity: Option<(&Pem, &Pem)>) -> Result<ClientConfig, TlsProblem> {
    let trusting = match ca {
        None => system().clone(),
        Some(pem) => with_ca(pem)?,
    };
    match identity {
        None => Ok(trusting.config),
        Some((certificate, key)) => with_identity(trusting.roots, certificate, key),
    }
}

/// What a client trusts, and its configuration if it shows no certificate of its own.
#[derive(Clone)]
struct Trusting {
    roots: Arc<RootCertStore>,
    config: ClientConfig,
}

impl Trusting {
    fn new(roots: RootCertStore) -> Trusting {
        let roots = Arc::new(roots);
        let config = ClientConfig::builder().with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
        Trusting { roots, config }
    }
}

/// Returns the configuration that trusts the system's certificates, which are read once.
fn system() -> &'static Trusting {
    static SYSTEM: OnceLock<Trusting> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // If one of the system's certificates is bad, the others can still be used.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Trusting::new(roots)
    })
}

/// Reads the authorities, which may have changed since, and makes a configuration only if there is none of the same content.
fn with_ca(pem: &Pem) -> Result<Trusting, TlsProblem> {
    static KNOWN: Mutex<VecDeque<(Vec<u8>, Trusting)>> = Mutex::new(VecDeque::new());
    let content = read(pem)?;
    let find = |known: &VecDeque<(Vec<u8>, Trusting)>| {
        known.iter().find(|(other, _)| *other == content).map(|(_, trusting)| trusting.clone())
    };
    if let Some(found) = find(&KNOWN.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(found);
    }
    let mut roots = RootCertStore::clone(&system().roots);
    for certificate in certificates(pem, &content)? {
        roots.add(certificate).map_err(|source| TlsProblem::Authority { pem: pem.clone(), source })?;
    }
    let trusting = Trusting::new(roots);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.push_back((content, trusting.clone()));
    if known.len() > SHARED {
        known.pop_front();
    }
    Ok(trusting)
}

fn with_identity(roots: Arc<RootCertStore>, certificate: &Pem, key: &Pem) -> Result<ClientConfig, TlsProblem> {
    let chain = certificates(certificate, &read(certificate)?)?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|source| TlsProblem::Unreadable { pem: key.clone(), source })?;
    let config = ClientConfig::builder().with_root_certificates(roots);
    config
        .with_client_auth_cert(chain, secret)
        .map_err(|source| TlsProblem::Identity { pem: certificate.clone(), source })
}

/// Reads a text, or a regular file of a bounded size. To open a pipe could take for ever, so the file is looked at before it is opened.
fn read(pem: &Pem) -> Result<Vec<u8>, TlsProblem> {
    let path = match pem {
        Pem::File(path) => path,
        Pem::Text { text, .. } => return Ok(text.expose().as_bytes().to_vec()),
    };
    let unreadable = |error| TlsProblem::Unreadable { pem: pem.clone(), source: pem::Error::Io(error) };
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(TlsProblem::NotAFile(pem.clone()));
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut content)).map_err(unreadable)?;
    if content.len() as u64 > LARGEST_FILE { Err(TlsProblem::TooLarge(pem.clone())) } else { Ok(content) }
}

/// Who is at the other end, which decides where people set what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// PostgreSQL, which the configuration names.
    Database,
    /// A broker, which a row names.
    Broker,
    /// An endpoint of HTTP, which a row names.
    Endpoint,
    /// A server of tokens, which a row names, and which is shown no certificate.
    TokenServer,
}

/// A handshake that the other end has ended without an alert.
#[derive(Debug, thiserror::Error)]
#[error(
    "TLS: the server ended the connection amid the handshake and gives no reason; is this its port for TLS, does it know this name, and does it want a client certificate (settings.client_cert_file)? its log may tell"
)]
struct EndedAmid;

/// Gives an error of a handshake the words that people need where the other end said nothing.
pub fn of_handshake(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        kind @ (UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) => io::Error::new(kind, EndedAmid),
        _ => error,
    }
}

/// Explains an error to people if TLS is its cause.
pub fn explain(error: &(dyn Error + 'static), peer: Peer) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(advice(error, peer));
        }
        if error.is::<EndedAmid>() {
            return Some(error.to_string());
        }
        next = match error.downcast_ref::<io::Error>() {
            // An I/O error does not list the error that it wraps as its source.
            Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Returns whether the peer speaks none of the protocols that were offered (ALPN).
pub fn speaks_another_protocol(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

fn advice(error: &rustls::Error, peer: Peer) -> String {
    let certificate = match error {
        rustls::Error::InvalidCertificate(problem) => Some(problem),
        _ => None,
    };
    let advice = match (certificate, error, peer) {
        // Two authorities of the same name differ by their signatures alone.
        (Some(CertificateError::UnknownIssuer | CertificateError::BadSignature), _, Peer::Database) => {
            "; no CA that is trusted here has signed it, neither one of the system's nor one that is named; name the CA that signed it in database.ca_file"
        }
        (Some(CertificateError::UnknownIssuer | CertificateError::BadSignature), ..) => {
            "; no CA that is trusted here has signed it, neither one of the system's nor one that is named; name the CA that signed it in settings.ca_file"
        }
        (Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }), ..) => {
            "; the server needs a new one"
        }
        (Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }), ..) => {
            "; look at the clocks of this machine and of the one that made it"
        }
        (Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }), ..) => {
            "; connect by a name that stands in it"
        }
        (_, rustls::Error::AlertReceived(alert), peer) => refusal(*alert, peer),
        (_, rustls::Error::PeerIncompatible(_), _) => OLD,
        (
            _,
            rustls::Error::InvalidMessage(
                InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
            ),
            _,
        ) => {
            "; its certificates have more than 64 KiB together: the server has to show its own and those between it and its CA, and no others"
        }
        (_, rustls::Error::InvalidMessage(_), _) => "; the server does not speak TLS on this port",
        (Some(CertificateError::Other(other)), ..) if other.to_string().contains("CaUsedAsEndEntity") => {
            "; the server shows the certificate of a CA as its own: give it one of its own (basicConstraints CA:FALSE) that this CA has signed"
        }
        _ => "",
    };
    format!("TLS: {error}{advice}")
}

const OLD: &str = "; the server has to speak TLS 1.2 or 1.3";

/// Returns what to do about the reason with which a server refuses TLS.
fn refusal(alert: AlertDescription, peer: Peer) -> &'static str {
    use AlertDescription as Alert;
    match (alert, peer) {
        (Alert::CertificateRequired, Peer::Database) => {
            "; the server wants a client certificate: set sslcert and sslkey in the URL"
        }
        (Alert::CertificateRequired, Peer::Broker | Peer::Endpoint) => {
            "; the server wants a client certificate: set settings.client_cert_file and settings.client_key_file"
        }
        (Alert::CertificateRequired, Peer::TokenServer) => {
            "; the server wants a client certificate, and Andon shows its own to the endpoint alone: have it give tokens without one"
        }
        (
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA,
            _,
        ) => {
            "; the server does not take the client certificate: it may have ended, or the server has to trust the CA that signed it"
        }
        (Alert::UnrecognisedName, _) => "; the server knows no host of this name",
        (Alert::ProtocolVersion, _) => OLD,
        (Alert::NoApplicationProtocol, Peer::Database) => {
            "; the server speaks another protocol than PostgreSQL's on this port: see whether host and port are right"
        }
        (Alert::NoApplicationProtocol, Peer::Broker) => {
            "; the server speaks another protocol on this port: settings.alpn of a publisher names one (mqtt, x-amzn-mqtt-ca)"
        }
        (Alert::NoApplicationProtocol, Peer::Endpoint | Peer::TokenServer) => {
            "; the server speaks neither HTTP/1.1 nor HTTP/2 on this port: see whether host and port are right"
        }
        _ => "",
    }
}

fn certificates(pem: &Pem, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let wrong = |source| TlsProblem::Unreadable { pem: pem.clone(), source };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(content).collect::<Result<_, _>>().map_err(wrong)?;
    if certificates.is_empty() {
        return Err(TlsProblem::Empty(pem.clone()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(alert: AlertDescription, peer: Peer) -> String {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        explain(&error, peer).unwrap()
    }

    #[test]
    fn a_refusal_speaks_of_what_the_one_who_reads_it_can_set() {
        let peers = [Peer::Database, Peer::Broker, Peer::Endpoint, Peer::TokenServer];
        let alerts = [AlertDescription::NoApplicationProtocol, AlertDescription::CertificateRequired];

        let all: Vec<String> = alerts.into_iter().flat_map(|alert| peers.map(|peer| told(alert, peer))).collect();

        insta::assert_snapshot!(all.join("\n"), @r"
        TLS: received fatal alert: NoApplicationProtocol; the server speaks another protocol than PostgreSQL's on this port: see whether host and port are right
        TLS: received fatal alert: NoApplicationProtocol; the server speaks another protocol on this port: settings.alpn of a publisher names one (mqtt, x-amzn-mqtt-ca)
        TLS: received fatal alert: NoApplicationProtocol; the server speaks neither HTTP/1.1 nor HTTP/2 on this port: see whether host and port are right
        TLS: received fatal alert: NoApplicationProtocol; the server speaks neither HTTP/1.1 nor HTTP/2 on this port: see whether host and port are right
        TLS: received fatal alert: CertificateRequired; the server wants a client certificate: set sslcert and sslkey in the URL
        TLS: received fatal alert: CertificateRequired; the server wants a client certificate: set settings.client_cert_file and settings.client_key_file
        TLS: received fatal alert: CertificateRequired; the server wants a client certificate: set settings.client_cert_file and settings.client_key_file
        TLS: received fatal alert: CertificateRequired; the server wants a client certificate, and Andon shows its own to the endpoint alone: have it give tokens without one
        ");
        let refused = told(AlertDescription::UnknownCA, Peer::Endpoint);
        assert!(refused.contains("does not take the client certificate"), "{refused}");
    }
}
