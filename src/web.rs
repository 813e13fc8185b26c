//! Requests over HTTPS, to identity providers and webhooks: the only file that uses the HTTP library. Trusts what the
//! system trusts, follows no redirect (a secret goes where it was meant to go, or nowhere), and never names the address in
//! an error, since a webhook's address is a secret.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::RootCertStore;

/// Sends requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Web {
    client: reqwest::Client,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`.
    Json,
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long to wait before asking again, where it says so in seconds (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// There was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// HTTPS cannot be spoken here at all.
    #[error("HTTPS cannot be set up on this machine: {0}")]
    SetUp(String),
    /// The server could not be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within {} s", LIMIT.as_secs())]
    TimedOut,
    /// The answer was longer than anything that is meant for us.
    #[error("an answer of more than {} KiB", LONGEST >> 10)]
    TooLong,
}

impl Web {
    /// A client with connections of its own.
    ///
    /// # Errors
    /// Where this machine trusts nobody, or the like.
    pub fn new() -> Result<Self, WebError> {
        let set_up = |error: &dyn std::fmt::Display| WebError::SetUp(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| set_up(&error))?
            .with_root_certificates(system_roots().clone())
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(LIMIT)
            .user_agent(concat!("mailsluice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| set_up(&error))?;
        Ok(Self { client })
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// Where there was no answer; an answer with any status is one.
    pub async fn post(&self, url: &str, content: ContentType, body: Vec<u8>) -> Result<Answer, WebError> {
        let content_type = match content {
            ContentType::Form => "application/x-www-form-urlencoded",
            ContentType::Json => "application/json",
        };
        let request = self.client.post(url).header("content-type", content_type).header("accept", "application/json");
        let mut response = request.body(body).send().await.map_err(explained)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(explained)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(WebError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}

impl Answer {
    /// Whether the server did what was asked.
    pub fn is_success(&self) -> bool {
        self.status / 100 == 2
    }
}

/// The certificates that this machine trusts; read once.
pub fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Stores hold the odd certificate that cannot be parsed; the others still count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// The innermost reason, which is what a person can act on.
fn explained(error: reqwest::Error) -> WebError {
    if error.is_timeout() {
        return WebError::TimedOut;
    }
    let error = error.without_url();
    let mut reason: &dyn std::error::Error = &error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    WebError::Unreachable(reason.to_string())
}

/// For a whole request, from looking up the name to the end of the answer.
const LIMIT: Duration = Duration::from_secs(30);
const LONGEST: usize = 1 << 20;
