//! How a connection to PostgreSQL is encrypted. In: a socket. Out: the stream that the driver speaks through, in the open or in TLS, whose
//! certificate is verified or not. A stream whose peer nobody has verified ends before the driver can answer a request for the password in
//! the clear: whoever asks could be anybody on the way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio_postgres::Socket;
use tokio_postgres::tls::ChannelBinding;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::tls::TlsStream;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::password_guard::PasswordGuard;

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Not at all.
    None,
    /// With whoever answers.
    Unverified,
    /// With the server that the address names.
    Verified,
}

/// Makes streams of one encryption.
#[derive(Clone)]
pub(super) struct Encryptor {
    encryption: Encryption,
    rustls: MakeRustlsConnect,
}

impl Encryptor {
    /// Makes streams that trust what `tls` trusts.
    pub(super) fn verified(tls: ClientConfig) -> Encryptor {
        Encryptor { encryption: Encryption::Verified, rustls: MakeRustlsConnect::new(tls) }
    }

    /// Makes streams that take any certificate, and are otherwise as `tls` says.
    pub(super) fn unverified(mut tls: ClientConfig) -> Encryptor {
        let anyone = Anyone(Arc::clone(tls.crypto_provider()));
        tls.dangerous().set_certificate_verifier(Arc::new(anyone));
        Encryptor { encryption: Encryption::Unverified, rustls: MakeRustlsConnect::new(tls) }
    }

    /// Makes streams without TLS, behind the same guard.
    pub(super) fn none(&self) -> Encryptor {
        Encryptor { encryption: Encryption::None, ..self.clone() }
    }
}

type RustlsConnector = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl MakeTlsConnect<Socket> for Encryptor {
    type Stream = PostgresStream;
    type TlsConnect = EncryptOne;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<EncryptOne> {
        let rustls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.rustls, host).map_err(io::Error::other)?;
        Ok(EncryptOne { encryption: self.encryption, rustls })
    }
}

/// Makes one stream.
pub(super) struct EncryptOne {
    encryption: Encryption,
    rustls: RustlsConnector,
}

impl TlsConnect<Socket> for EncryptOne {
    type Stream = PostgresStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PostgresStream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let guard = (self.encryption != Encryption::Verified).then(PasswordGuard::default);
            let inner = match self.encryption {
                Encryption::None => Inner::Open(socket),
                _ => Inner::Tls(Box::new(self.rustls.connect(socket).await?)),
            };
            Ok(PostgresStream { inner, guard })
        })
    }
}

/// The bytes between Andon and PostgreSQL.
pub struct PostgresStream {
    inner: Inner,
    /// Watches what a server says that nobody has verified.
    guard: Option<PasswordGuard>,
}

enum Inner {
    Open(Socket),
    Tls(Box<RustlsStream>),
}

impl TlsStream for PostgresStream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Open(_) => ChannelBinding::none(),
            Inner::Tls(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for PostgresStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.inner {
            Inner::Open(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        if let (Poll::Ready(Ok(())), Some(guard)) = (&read, &mut self.guard) {
            guard.watch(&buffer.filled()[before..]).map_err(io::Error::other)?;
            if guard.is_done() {
                self.guard = None;
            }
        }
        read
    }
}

impl AsyncWrite for PostgresStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Open(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Open(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Open(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

/// Takes any certificate, as libpq does for `prefer`. The handshake still has to be signed with the certificate's key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
