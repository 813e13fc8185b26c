//! The sandbox's own certificate authority, so that the relay under test verifies certificates as it always does.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::time;

/// A certificate authority and the certificate that it gave the sandbox, good for `localhost`, `127.0.0.1` and `::1`.
pub struct Authority {
    ca_pem: String,
    ca_file: Option<PathBuf>,
    server: Identity,
}

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Authority {
    /// An authority that is forgotten with its value.
    pub fn in_memory() -> io::Result<Self> {
        let ca = new_authority()?;
        let server = issue(&ca)?;
        Ok(Self { ca_pem: ca.certificate, ca_file: None, server })
    }

    /// The authority of a directory: `ca.pem` for those who shall trust it, `ca.key` (0600) beside it. Both are made
    /// where there is none; the server's certificate is made anew when a client that trusts `ca.pem` would refuse it.
    /// Errors where the directory cannot be read or written, or holds something else under these names.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory).map_err(|error| at(directory, &error))?;
        let ca = match read(directory, "ca")? {
            Some(ca) => ca,
            None => write(directory, "ca", new_authority()?)?,
        };
        let server = match read(directory, "server")? {
            Some(server) if believed(&ca.certificate, &server) => server,
            _ => write(directory, "server", issue(&ca)?)?,
        };
        let ca_file = directory.join("ca.pem");
        if !believed(&ca.certificate, &server) {
            let why = "ca.pem and ca.key do not belong together; remove both, and new ones are made";
            return Err(at(&ca_file, &io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Ok(Self { ca_pem: ca.certificate, ca_file: Some(ca_file), server })
    }

    /// The authority's certificate, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The file of the authority's certificate, where it is kept in a directory.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// What speaks TLS with the server's certificate.
    pub(super) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let chain = vec![self.server.certificate()?];
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Identity {
    fn certificate(&self) -> io::Result<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(io::Error::other)
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The authority's part of every certificate; the same at each start, since only its key is read back.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Mailsluice sandbox authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2200, 1, 1);
    params
}

fn new_authority() -> io::Result<Identity> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = authority_params().self_signed(&key).map_err(io::Error::other)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate for [`NAMES`], good from 1970 (a machine may boot there) until two years from now.
fn issue(ca: &Identity) -> io::Result<Identity> {
    let issuer_key = KeyPair::from_pem(&ca.key).map_err(io::Error::other)?;
    let issuer = Issuer::new(authority_params(), issuer_key);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(NAMES.map(String::from)).map_err(io::Error::other)?;
    params.distinguished_name = named("localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(1970, 1, 1);
    let now = jiff::Timestamp::from_microsecond(time::wall_clock().as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    params.not_after = date_time_ymd(i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).year()) + 2, 12, 31);
    let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Whether a client that trusts `ca_pem` believes that `server` is each of [`NAMES`] today, and the key is readable.
fn believed(ca_pem: &str, server: &Identity) -> bool {
    let verify = || -> Result<(), Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        let micros = u64::try_from(time::wall_clock().as_micros()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_micros(micros));
        let certificate = server.certificate()?;
        for name in NAMES {
            verifier.verify_server_cert(&certificate, &[], &ServerName::try_from(name)?, &[], now)?;
        }
        KeyPair::from_pem(&server.key)?;
        Ok(())
    };
    use tokio_rustls::rustls::client::danger::ServerCertVerifier;
    verify().is_ok()
}

/// `name.pem` and `name.key`; none where either is missing.
fn read(directory: &Path, name: &str) -> io::Result<Option<Identity>> {
    let text = |extension: &str| {
        let path = directory.join(name).with_extension(extension);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Not text: as good as a certificate nobody believes.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
            Err(error) => Err(at(&path, &error)),
        }
    };
    Ok(text("pem")?.zip(text("key")?).map(|(certificate, key)| Identity { certificate, key }))
}

/// Each file appears whole or not at all; the key comes first, so that a certificate never lacks one.
fn write(directory: &Path, name: &str, identity: Identity) -> io::Result<Identity> {
    for (extension, mode, text) in [("key", 0o600, &identity.key), ("pem", 0o644, &identity.certificate)] {
        let path = directory.join(name).with_extension(extension);
        let draft = directory.join(format!(".{name}.{extension}.{}", std::process::id()));
        let written = || {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&draft, &path)
        };
        written().map_err(|error| at(&path, &error))?;
    }
    Ok(identity)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_start_finds_the_authority_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path()).unwrap();
        let second = Authority::open(directory.path()).unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.server.certificate, second.server.certificate);
        let key = fs::metadata(directory.path().join("ca.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(second.ca_file().unwrap()).unwrap(), second.ca_pem());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "no drafts left");
    }

    #[test]
    fn a_server_certificate_that_is_no_good_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path()).unwrap();
        for damage in [&b"nonsense"[..], &[0xff, 0xfe], Authority::in_memory().unwrap().server.certificate.as_bytes()] {
            fs::write(directory.path().join("server.pem"), damage).unwrap();
            let next = Authority::open(directory.path()).unwrap();
            assert_eq!(next.ca_pem(), first.ca_pem());
            assert!(believed(next.ca_pem(), &next.server));
            next.acceptor().unwrap();
        }
    }

    #[test]
    fn the_key_of_another_authority_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        fs::write(directory.path().join("ca.key"), new_authority().unwrap().key).unwrap();
        fs::remove_file(directory.path().join("server.pem")).unwrap();
        let Err(error) = Authority::open(directory.path()) else { panic!("opened") };
        assert!(error.to_string().contains("remove both"), "{error}");
    }
}
