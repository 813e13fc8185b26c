//! Certificates of ours as TLS needs them, read from their files together with their keys.

use std::ffi::OsString;
use std::path::Path;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret as _;

use super::OwnCertificate;
use super::secret::SecretError;

/// A certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IdentityError {
    /// The file of the certificate cannot be read, or holds none.
    #[error("{0}")]
    Certificate(String),
    /// The key cannot be read.
    #[error("its key cannot be read: {0}")]
    Secret(SecretError),
    /// What was read is no key.
    #[error("its key is no private key in PEM (unencrypted: PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    /// The certificate was made for another key.
    #[error("it belongs to another key: check certificate and key")]
    OtherKey,
    /// TLS does not take them.
    #[error("{0}")]
    Unusable(rustls::Error),
}

impl OwnCertificate {
    /// The certificate, those between it and its root, and its key, which fits. Blocking, brief: both are read anew, so that
    /// renewed ones count.
    ///
    /// # Errors
    /// Where they are not there, or do not belong together.
    pub fn read(&self) -> Result<CertifiedKey, IdentityError> {
        self.read_with(|name| std::env::var_os(name))
    }

    /// [`OwnCertificate::read`] with another environment.
    pub(super) fn read_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<CertifiedKey, IdentityError> {
        let chain = read_certificates(&self.certificate).map_err(IdentityError::Certificate)?;
        let key = self.key.read_with(variable).map_err(IdentityError::Secret)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|_| IdentityError::NoKey)?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::OtherKey,
            other => IdentityError::Unusable(other),
        })
    }
}

/// The certificates of a PEM file, at least one. Blocking.
///
/// # Errors
/// What is wrong with it, without its name.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("it holds no certificate".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::secret::Secret;

    fn file(folder: &Path, name: &str, pem: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_certificate_and_its_key_must_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let made = CertificateParams::new(vec!["relay.example".into()]).unwrap().self_signed(&key).unwrap();
        let certificate = file(folder.path(), "relay.pem", &made.pem());
        let read = |key: &str| {
            let key = Secret::File(file(folder.path(), "relay.key", key));
            OwnCertificate { certificate: certificate.clone(), key }.read()
        };
        assert_eq!(read(&key.serialize_pem()).unwrap().cert[0], *made.der());
        assert_eq!(read(&other.serialize_pem()).unwrap_err(), IdentityError::OtherKey);
        assert_eq!(read(&made.pem()).unwrap_err(), IdentityError::NoKey);
        let absent = OwnCertificate { certificate: "/nonexistent".into(), key: Secret::File("/nonexistent".into()) };
        assert!(matches!(absent.read(), Err(IdentityError::Certificate(_))));
    }
}
