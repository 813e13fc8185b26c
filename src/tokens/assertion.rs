//! How an application shows who it is: a secret, or an assertion that it signs with the key of its certificate (RFC 7523,
//! as Microsoft wants it: learn.microsoft.com, *Microsoft identity platform application authentication certificate
//! credentials*).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::config::{ClientProof, OAuth, OwnCertificate};
use crate::time::Timestamp;

/// A proof that has been read or made, for one request.
pub(super) enum Shown {
    /// It is a public client.
    Nothing,
    /// A client secret.
    Secret(SecretString),
    /// A signed assertion.
    Assertion(SecretString),
}

/// Reads or makes the proof, at this time of the wall clock. Blocking, brief. Where it cannot be had, says why and what to
/// do.
pub(super) fn show(oauth: &OAuth, wall_clock: Timestamp) -> Result<Shown, String> {
    match &oauth.proof {
        ClientProof::None => Ok(Shown::Nothing),
        ClientProof::Secret(secret) => {
            secret.read().map(Shown::Secret).map_err(|error| format!("the client secret cannot be read: {error}"))
        }
        ClientProof::Certificate(own) => assertion(oauth, own, wall_clock).map(|text| Shown::Assertion(text.into())),
    }
}

fn assertion(oauth: &OAuth, own: &OwnCertificate, now: Timestamp) -> Result<String, String> {
    let OwnCertificate { certificate, key } = own;
    let shown = certificate.display();
    let pem = std::fs::read(certificate).map_err(|error| format!("the certificate {shown} cannot be read: {error}"))?;
    let certificate = CertificateDer::from_pem_slice(&pem)
        .map_err(|error| format!("the certificate {shown} is no PEM file of a certificate: {error}"))?;
    let key = key.read().map_err(|error| format!("the key of the certificate cannot be read: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|error| format!("the key of the certificate {shown} is no private key in PEM: {error}"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|error| format!("the key of the certificate {shown} cannot be used: {error}"))?;
    let pair = CertifiedKey::new(vec![certificate.clone()], key);
    pair.keys_match().map_err(|_| format!("the certificate {shown} belongs to another key: check both files"))?;
    let signer = pair.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or_else(|| {
        format!("the key of the certificate {shown} is no RSA key, which Microsoft wants: make an RSA key of 2048 bits")
    })?;
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate));
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let seconds = now.as_micros() / 1_000_000;
    let claims = json!({
        "aud": oauth.token_url,
        "iss": oauth.client_id,
        "sub": oauth.client_id,
        "jti": unique()?,
        "nbf": seconds,
        "exp": seconds + LIVES.as_secs().cast_signed(),
    });
    let encoded = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = signer.sign(text.as_bytes()).map_err(|error| format!("the assertion cannot be signed: {error}"))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A `jti` that no other assertion has.
fn unique() -> Result<String, String> {
    let mut octets = [0; 16];
    SystemRandom::new().fill(&mut octets).map_err(|_| "this machine has no random numbers".to_owned())?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

/// How long an assertion is valid: Microsoft advises 5 to 10 minutes.
const LIVES: Duration = Duration::from_secs(10 * 60);
