//! Opens the socket to a broker. In: where the broker is, and whether to speak TLS. Out: a stream that is read along. It never looks into
//! what is sent.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use crate::lane::mqtt::frames::Heard;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Version;
use crate::lane::mqtt::wire::Wire;
use crate::tls::of_handshake;

/// A connection, encrypted or not.
pub(super) type Stream = Either<Box<TlsStream<TcpStream>>, TcpStream>;

/// Connects to the broker, in TLS if the options say so.
pub(super) async fn open(to: &ConnectOptions, version: Version, heard: Heard) -> io::Result<Wire<Stream>> {
    let socket = to.dialer.connect(&to.host, to.port).await?;
    let stream = match &to.tls {
        Some(tls) => {
            let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
            let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
            Either::Left(Box::new(connecting.await.map_err(of_handshake)?))
        }
        None => Either::Right(socket),
    };
    Ok(Wire::new(stream, version, to.subscribes, heard))
}
