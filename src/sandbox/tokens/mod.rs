//! The identity provider: it gives out bearer tokens that open the mailbox by XOAUTH2 until they expire (RFC 6749), to
//! one application that shows its secret or a signed assertion (RFC 7523), for a refresh token, and for a device code
//! that a person has approved (RFC 8628). It speaks as Microsoft Entra ID does, at addresses like its own, in plain HTTP
//! on loopback.
//!
//! **It does not play** signing in (whoever enters a user code is the mailbox's user), consent, users beside the one,
//! nor tokens that mean anything: they are random letters.

mod answer;
mod assertion;
mod device;
mod grants;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use self::assertion::Certificate;
use self::device::Codes;
use super::config::{SandboxConfig, TokenConfig};
use super::keys::Keys;
use super::mailbox::Mailbox;
use super::profile::Service;

pub(super) use serve::listen;

/// The token endpoint, shared by its connections.
pub(super) struct Issuer {
    config: TokenConfig,
    service: Service,
    mailbox: Arc<Mailbox>,
    keys: Arc<Keys>,
    certificate: Option<Certificate>,
    codes: Codes,
    address: SocketAddr,
}

impl Issuer {
    /// At this address. Errors where the certificate of the application is none, or has no RSA key.
    pub(super) fn new(
        config: &SandboxConfig,
        mailbox: Arc<Mailbox>,
        keys: Arc<Keys>,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let tokens = config.tokens.clone();
        let certificate = tokens.certificate.as_deref().map(Certificate::read).transpose()?;
        let codes = Codes::default();
        Ok(Self { config: tokens, service: config.profile.service, mailbox, keys, certificate, codes, address })
    }

    /// Where tokens are asked for.
    pub(super) fn token_url(&self) -> String {
        match self.service {
            Service::Google => format!("http://{}/token", self.address),
            _ => format!("http://{}/{}/oauth2/v2.0/token", self.address, self.config.tenant),
        }
    }

    /// Where device codes are asked for.
    pub(super) fn device_url(&self) -> String {
        match self.service {
            Service::Google => format!("http://{}/device/code", self.address),
            _ => format!("http://{}/{}/oauth2/v2.0/devicecode", self.address, self.config.tenant),
        }
    }

    /// Where a person enters the user code.
    fn verification_url(&self) -> String {
        format!("http://{}/devicelogin", self.address)
    }

    /// As a person would on the page; whether there was such a code to approve.
    pub(super) fn approve(&self, user_code: &str) -> bool {
        self.codes.approve(user_code, self.mailbox.now())
    }
}
