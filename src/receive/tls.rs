//! TLS towards clients: what a listener shows of itself, and what to say when a client does not like it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{ServerTls, ServerTlsMode};
use crate::session::{self, Refused, Step};
use crate::time::spoken;

/// Shakes hands with the certificate of a listener, in TLS 1.2 or 1.3.
#[derive(Clone)]
pub(super) struct Acceptor {
    acceptor: TlsAcceptor,
    mode: ServerTlsMode,
}

/// A listener cannot show its certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {certificate} of a [[listener]] cannot be used: {why}")]
pub struct CertificateError {
    /// The file of the certificate.
    pub certificate: String,
    /// What is wrong with it, or with its key.
    pub why: String,
}

/// A client and we have not come to TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HandshakeFailed {
    why: String,
    advice: &'static str,
}

impl Acceptor {
    /// Reads certificate and key. Blocking, brief.
    pub(super) fn read(tls: &ServerTls) -> Result<Self, CertificateError> {
        let refused =
            |why: String| CertificateError { certificate: tls.identity.certificate.display().to_string(), why };
        let identity = tls.identity.read().map_err(|error| refused(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), mode: tls.mode })
    }

    /// When TLS begins.
    pub(super) fn mode(&self) -> ServerTlsMode {
        self.mode
    }

    /// Shakes hands. A client that fails gets an alert, and its socket back to be closed.
    pub(super) async fn accept<S>(&self, socket: S) -> Result<TlsStream<S>, (HandshakeFailed, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaken = self.acceptor.accept(socket).into_fallible().await;
        shaken.map_err(|(error, socket)| (failed(&error, self.mode), socket))
    }
}

impl fmt::Debug for Acceptor {
    /// What it holds has a key in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acceptor({:?})", self.mode)
    }
}

impl HandshakeFailed {
    /// There is nothing to shake hands with.
    pub(super) fn no_certificate() -> Self {
        Self { why: "this [[listener]] has no certificate".into(), advice: "add a table [listener.tls]" }
    }

    /// The client has taken too long.
    pub(super) fn timed_out(mode: ServerTlsMode, limit: Duration) -> Self {
        Self { why: format!("the handshake was not done within {}", spoken(limit)), advice: advice(mode) }
    }

    /// The client waits for a greeting in plain text, it seems.
    pub(super) fn silent(limit: Duration) -> Self {
        let why =
            format!("the client has said nothing for {}, as if it waited for a banner in plain text", spoken(limit));
        Self { why, advice: advice(ServerTlsMode::Implicit) }
    }

    /// What the log has of it. The client itself cannot be told: there is no language left that both speak.
    pub(super) fn refused(&self) -> Refused {
        let reply = session::no_tls(&self.why, self.advice);
        Refused { step: Step::StartTls, reply, from: None, recipient: None }
    }
}

/// What has gone wrong, and what to do.
fn failed(error: &io::Error, mode: ServerTlsMode) -> HandshakeFailed {
    let of = |why: &str| HandshakeFailed { why: why.to_owned(), advice: advice(mode) };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => of("what the client sent is no TLS"),
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // It came with TLS 1.2 (RFC 5246 §7.4.1.4.1), and is missed before the version is looked at.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        )) => of("the client offers old versions of TLS only, and here are 1.2 and 1.3"),
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        )) => of("the client offers old ciphers only"),
        Some(rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate
            // An issuer of the name that it knows, with another key.
            | AlertDescription::DecryptError),
        )) => HandshakeFailed {
            why: format!("the client does not trust the certificate of this [[listener]] ({alert:?})"),
            advice: match mode {
                ServerTlsMode::StartTls => {
                    "show it one that it trusts, switch encryption off in the device, or set hide = \"STARTTLS\" for its [[client]]"
                }
                ServerTlsMode::Implicit => {
                    "show it one that it trusts, or let it use a [[listener]] without [listener.tls]"
                }
            },
        },
        Some(other) => of(&other.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => of("the client hung up in the middle of it"),
        None => of(&error.to_string()),
    }
}

fn advice(mode: ServerTlsMode) -> &'static str {
    match mode {
        ServerTlsMode::StartTls => "switch encryption off in the device, or set hide = \"STARTTLS\" for its [[client]]",
        ServerTlsMode::Implicit => {
            "set the device to SSL/TLS (not STARTTLS, not none), or let it use a [[listener]] without [listener.tls]"
        }
    }
}
