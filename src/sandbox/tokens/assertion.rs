//! The assertion by which an application with a certificate shows who it is: a JWT that its key has signed (RFC 7523,
//! RFC 7515; learn.microsoft.com, *Microsoft identity platform application authentication certificate credentials*).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::sandbox::fault::{Denial, entra};

/// The certificate that is registered for the application.
pub(super) struct Certificate {
    /// SHA-256 of its DER, in base64url.
    thumbprint: String,
    /// The RSA key, as PKCS #1 has it.
    key: Vec<u8>,
}

/// The longest time for which an assertion may be good, in seconds.
const LONGEST: i64 = 600;
/// How far the clocks of the two may be apart, in seconds.
const SKEW: i64 = 60;

impl Certificate {
    /// Reads it from PEM.
    pub(super) fn read(pem: &str) -> io::Result<Self> {
        let no_good = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("the certificate: {why}"));
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| no_good(error.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| no_good(error.to_string()))?;
        let key = parsed.public_key();
        if !matches!(key.parsed(), Ok(x509_parser::public_key::PublicKey::RSA(_))) {
            return Err(no_good("its key is not RSA, which PS256 wants".to_owned()));
        }
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
        Ok(Self { thumbprint, key: key.subject_public_key.data.to_vec() })
    }

    /// Judges an assertion of this application, made for this address, at this second.
    pub(super) fn check(
        &self,
        assertion: &str,
        client_id: &str,
        audience: &str,
        now: i64,
    ) -> Result<(), &'static Denial> {
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Err(&entra::BAD_JWT) };
        let (header, claims) = (decoded(header)?, decoded(claims)?);
        if header["alg"] != "PS256" || header["typ"] != "JWT" {
            return Err(&entra::BAD_JWT);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| &entra::BAD_JWT)?;
        let signed = assertion.rsplit_once('.').map_or("", |(signed, _)| signed);
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.key);
        if header["x5t#S256"] != self.thumbprint.as_str() || key.verify(signed.as_bytes(), &signature).is_err() {
            return Err(&entra::UNKNOWN_CERTIFICATE);
        }
        if claims["iss"] != client_id || claims["sub"] != client_id {
            return Err(&entra::BAD_JWT);
        }
        if claims["aud"] != audience {
            return Err(&entra::WRONG_AUDIENCE);
        }
        if claims["jti"].as_str().is_none_or(str::is_empty) {
            return Err(&entra::BAD_JWT);
        }
        let (Some(begins), Some(ends)) = (claims["nbf"].as_i64(), claims["exp"].as_i64()) else {
            return Err(&entra::BAD_JWT);
        };
        let lasts = ends.saturating_sub(begins);
        if begins > now.saturating_add(SKEW) || ends <= now || !(1..=LONGEST).contains(&lasts) {
            return Err(&entra::WRONG_TIME);
        }
        Ok(())
    }
}

fn decoded(part: &str) -> Result<Value, &'static Denial> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| &entra::BAD_JWT)?;
    serde_json::from_slice(&json).map_err(|_| &entra::BAD_JWT)
}
