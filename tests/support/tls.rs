//! Certificates for listeners of the relay, and a client that wants to see one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes `relay.pem` and `relay.key` into the folder, for localhost and 127.0.0.1, in the place of those before. Gives the
/// certificate in PEM.
pub(crate) fn make_certificate(folder: &Path) -> String {
    make_certificate_until(folder, 2040)
}

/// The same; it ends on the first day of this year.
pub(crate) fn make_certificate_until(folder: &Path, year: i32) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let pem = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join("relay.pem"), &pem).unwrap();
    let path = folder.join("relay.key");
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    pem
}

/// Begins TLS on a connection, and believes this certificate alone.
pub(crate) async fn shake(stream: TcpStream, pem: &str) -> std::io::Result<BufReader<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    Ok(BufReader::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// Connects to a port that begins with TLS.
pub(crate) async fn connect(address: SocketAddr, pem: &str) -> std::io::Result<BufReader<TlsStream<TcpStream>>> {
    shake(TcpStream::connect(address).await?, pem).await
}
