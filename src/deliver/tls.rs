//! TLS towards a smarthost: whom we trust, and what to say when we do not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trouble::{broken, local, timed_out};
use super::witness::{Sight, Witness};
use crate::config::identity::read_certificates;
use crate::config::{OwnCertificate, SmtpEndpoint};
use crate::schedule::attempt::{Step, Trouble, TroubleKind};
use crate::web::system_roots;

/// Shakes hands and verifies that the peer is the endpoint's host, by the system's trust anchors and `ca_file`.
pub(super) async fn handshake<S>(
    stream: S,
    endpoint: &SmtpEndpoint,
    peer: &str,
    limit: Duration,
    witness: &dyn Witness,
) -> Result<TlsStream<S>, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| fault(format!("{:?} is neither a DNS name nor an IP address", endpoint.host)))?;
    let (ca_file, certificate) = (endpoint.ca_file.clone(), endpoint.certificate.clone());
    let config = tokio::task::spawn_blocking(move || client_config(ca_file, certificate.as_ref()))
        .await
        .unwrap_or_else(|error| Err(fault(format!("the trust store could not be read: {error}"))))?;
    match timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(Ok(stream)) => {
            witness.saw(Sight::Encrypted(stream.get_ref().1));
            Ok(stream)
        }
        Ok(Err(error)) => Err(failed(&error, endpoint, peer)),
        Err(_) => Err(timed_out(Step::Tls, peer, limit)),
    }
}

/// Blocking, brief: `ca_file` and our own certificate are read anew, so that renewed ones count; the system's anchors are
/// read once.
fn client_config(ca_file: Option<PathBuf>, own: Option<&OwnCertificate>) -> Result<ClientConfig, Trouble> {
    let roots = trusted(ca_file).map_err(fault)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| fault(format!("TLS cannot be set up: {error}")))?;
    let builder = builder.with_root_certificates(roots);
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some(own) => own
            .read()
            .map(|own| builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
            .map_err(|why| {
                let path = own.certificate.display();
                local(Step::Tls, format!("the account's certificate {path} cannot be used: {why}"))
            }),
    }
}

fn trusted(ca_file: Option<PathBuf>) -> Result<RootCertStore, String> {
    let mut roots = system_roots().clone();
    if let Some(path) = &ca_file {
        let certificates = read_certificates(path).map_err(|error| {
            format!(
                "the ca_file {} cannot be used: {error}; it must be a PEM file with the CA's certificate",
                path.display()
            )
        })?;
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|error| format!("the ca_file {} holds what is no certificate: {error}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err(
            "this machine has no trusted certificates: install the package ca-certificates, or set ca_file".into()
        );
    }
    Ok(roots)
}

fn failed(error: &io::Error, endpoint: &SmtpEndpoint, peer: &str) -> Trouble {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let Trouble { detail, .. } = broken(Step::Tls, peer, error);
        return fault(format!("the TLS handshake failed: {detail}"));
    };
    fault(match error {
        rustls::Error::InvalidCertificate(why) => {
            format!("the certificate of {peer} is not trusted: {}", certificate_fault(why, endpoint))
        }
        rustls::Error::InvalidMessage(_) => {
            format!(
                "{peer} does not begin with TLS; ports 587 and 25 want tls = \"starttls\", port 465 wants \"implicit\""
            )
        }
        other => format!("the TLS handshake with {peer} failed: {other}"),
    })
}

fn certificate_fault(why: &CertificateError, endpoint: &SmtpEndpoint) -> String {
    let host = &endpoint.host;
    match why {
        CertificateError::UnknownIssuer => match &endpoint.ca_file {
            Some(path) => format!("neither the system nor the ca_file {} knows its issuer", path.display()),
            None => "nobody on this machine knows its issuer; if the server has a CA of its own, name its certificate \
                     in the account's ca_file"
                .into(),
        },
        CertificateError::BadSignature => match &endpoint.ca_file {
            Some(path) => format!(
                "its issuer and the ca_file {} share a name but not a key; copy the CA's certificate anew",
                path.display()
            ),
            None => "its issuer only bears the name of one that this machine trusts".into(),
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("it has expired; whoever runs {host} must renew it (or the clock of this machine is wrong)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is not for the name {host}; set host to a name in the certificate")
        }
        other => other.to_string(),
    }
}

fn fault(detail: String) -> Trouble {
    Trouble { step: Step::Tls, kind: TroubleKind::Tls, detail }
}
