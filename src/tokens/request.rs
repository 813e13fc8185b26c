//! One request to an identity provider and what its answer means. Requests and answers are those of the `oauth2` crate;
//! they go out through [`Web`].

use std::pin::Pin;
use std::time::Duration;

use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet,
    ErrorResponse, HttpRequest, HttpResponse, RefreshToken, RequestTokenError, Scope, TokenResponse as _, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::assertion::Shown;
use super::echo::Hidden;
use crate::config::OAuth;
use crate::provider::refusal::Class;
use crate::provider::token;
use crate::schedule::attempt::{Step, Trouble, TroubleKind};
use crate::web::{ContentType, Web, WebError};

/// What an identity provider gave.
pub(super) struct Granted {
    /// The access token.
    pub(super) access: SecretString,
    /// How long it is good for.
    pub(super) lives: Duration,
    /// In place of the refresh token that was shown.
    pub(super) refresh: Option<SecretString>,
}

/// It gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// What happened and what to do.
    pub(super) trouble: Trouble,
    /// How long it wants to be left alone, at most [`LONGEST_WAIT`].
    pub(super) retry_after: Option<Duration>,
}

/// A client with both of its addresses.
pub(super) type Client = BasicClient<EndpointNotSet, EndpointSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// The client of the registration, which shows its secret where that is its proof.
pub(super) fn client(oauth: &OAuth, proof: &Shown) -> Result<Client, Denied> {
    let broken = |error: &dyn std::fmt::Display| denied(TroubleKind::Local, format!("an address is none: {error}"));
    let client = BasicClient::new(ClientId::new(oauth.client_id.clone()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::new(oauth.token_url.clone()).map_err(|error| broken(&error))?)
        .set_device_authorization_url(
            DeviceAuthorizationUrl::new(oauth.device_url.clone()).map_err(|error| broken(&error))?,
        );
    Ok(match proof {
        Shown::Secret(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        Shown::Assertion(_) | Shown::Nothing => client,
    })
}

/// What a token costs: the application itself is known by its proof, a user by the refresh token.
pub(super) async fn fetch(
    web: &Web,
    oauth: &OAuth,
    proof: &Shown,
    refresh: Option<&SecretString>,
) -> Result<Granted, Denied> {
    let client = client(oauth, proof)?;
    let post = Post(web.clone());
    let answer = match refresh {
        None => {
            let mut request = client.exchange_client_credentials().add_scopes(scopes(oauth));
            for (name, value) in assertion(proof) {
                request = request.add_extra_param(name, value);
            }
            request.request_async(&post).await
        }
        Some(refresh) => {
            let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
            let mut request = client.exchange_refresh_token(&refresh).add_scopes(scopes(oauth));
            for (name, value) in assertion(proof) {
                request = request.add_extra_param(name, value);
            }
            request.request_async(&post).await
        }
    };
    let sent = [proof.secret(), refresh];
    answer.map(granted).map_err(|error| why(error, oauth, &sent))
}

/// What is asked for.
pub(super) fn scopes(oauth: &OAuth) -> impl Iterator<Item = Scope> {
    oauth.scope.split_whitespace().map(|scope| Scope::new(scope.to_owned()))
}

/// The parameters of a signed proof (RFC 7523 §2.2).
pub(super) fn assertion(proof: &Shown) -> Vec<(&'static str, String)> {
    match proof {
        Shown::Assertion(assertion) => vec![
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()),
            ("client_assertion", assertion.expose_secret().to_owned()),
        ],
        Shown::Secret(_) | Shown::Nothing => Vec::new(),
    }
}

impl Shown {
    /// What of it must not be seen.
    pub(super) fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Nothing => None,
            Self::Secret(secret) | Self::Assertion(secret) => Some(secret),
        }
    }
}

pub(super) fn granted(answer: BasicTokenResponse) -> Granted {
    Granted {
        access: answer.access_token().secret().as_str().into(),
        lives: answer.expires_in().unwrap_or(UNSAID).clamp(SHORTEST_LIFE, LONGEST_LIFE),
        refresh: answer.refresh_token().map(|token| token.secret().as_str().into()),
    }
}

/// Why the answer is no answer that the crate could read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("{0}")]
    Web(#[from] WebError),
    #[error("HTTP status {status}")]
    Busy { status: u16, retry_after: Option<Duration> },
    #[error("{0}")]
    Odd(String),
}

/// Sends the requests of the crate.
pub(super) struct Post(pub(super) Web);

impl<'c> AsyncHttpClient<'c> for Post {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    /// That the server is busy, or broken, is no answer whatever else it says.
    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let address = request.uri().to_string();
            let answer = self.0.post(&address, ContentType::Form, request.into_body()).await?;
            if answer.status == 429 || answer.status >= 500 {
                return Err(NoAnswer::Busy { status: answer.status, retry_after: answer.retry_after });
            }
            let response = oauth2::http::Response::builder().status(answer.status).body(answer.body);
            response.map_err(|error| NoAnswer::Odd(error.to_string()))
        })
    }
}

/// The error in words, without any of what was sent.
pub(super) fn why<E>(error: RequestTokenError<NoAnswer, E>, oauth: &OAuth, sent: &[Option<&SecretString>]) -> Denied
where
    E: ErrorResponse + 'static,
{
    let host = host(oauth);
    match error {
        RequestTokenError::ServerResponse(answer) => {
            let field = |name: &str| {
                let answer = serde_json::to_value(&answer).unwrap_or_default();
                answer.get(name).and_then(|value| value.as_str()).map(str::to_owned).unwrap_or_default()
            };
            refused(&field("error"), &field("error_description"), sent)
        }
        RequestTokenError::Request(NoAnswer::Busy { status, retry_after }) => Denied {
            retry_after: retry_after.map(|wait| wait.min(LONGEST_WAIT)),
            ..denied(TroubleKind::Connect, format!("{host} cannot give out tokens just now: HTTP status {status}"))
        },
        RequestTokenError::Request(NoAnswer::Web(error)) => {
            let kind = match error {
                WebError::SetUp(_) => TroubleKind::Local,
                WebError::Unreachable(_) => TroubleKind::Connect,
                WebError::TimedOut => TroubleKind::TimedOut,
                WebError::TooLong => TroubleKind::Protocol,
            };
            denied(kind, format!("no token from {host}: {error}"))
        }
        RequestTokenError::Request(NoAnswer::Odd(error)) | RequestTokenError::Other(error) => {
            denied(TroubleKind::Protocol, format!("no token from {host}: {}", without(&error, sent)))
        }
        // What it said instead may hold anything.
        RequestTokenError::Parse(..) => denied(
            TroubleKind::Protocol,
            format!("{host} did not answer with a token: is token_url the address of a token endpoint?"),
        ),
    }
}

/// What the identity provider means by its refusal, and what it said.
pub(super) fn refused(error: &str, description: &str, sent: &[Option<&SecretString>]) -> Denied {
    let meaning = token::meaning(error, description);
    let kind = if meaning.class == Class::Connect { TroubleKind::Connect } else { TroubleKind::TokenRefused };
    let first = description.lines().next().unwrap_or_default();
    let said = if first.is_empty() { error.to_owned() } else { format!("{error}: {first}") };
    let said = shortened(without(&said, sent).chars().filter(|c| !c.is_control()).collect());
    denied(kind, format!("{} The identity provider said: {said}", meaning.told()))
}

pub(super) fn denied(kind: TroubleKind, detail: String) -> Denied {
    Denied { trouble: Trouble { step: Step::Token, kind, detail }, retry_after: None }
}

/// What is longer than anybody reads ends in `…`.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_SAID) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The text with `…` where it repeats what was sent.
fn without(text: &str, sent: &[Option<&SecretString>]) -> String {
    let secrets = sent.iter().flatten().map(|secret| Hidden::in_form(secret.expose_secret()));
    secrets.fold(text.to_owned(), |text, hidden| hidden.out_of(&text))
}

fn host(oauth: &OAuth) -> String {
    let url = oauth2::url::Url::parse(&oauth.token_url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "the identity provider".into())
}

/// Longer than this no identity provider is left alone, whatever it asks for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The life of a token whose life is not told.
const UNSAID: Duration = Duration::from_secs(5 * 60);
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
const LONGEST_SAID: usize = 300;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn what_a_refusal_repeats_of_the_request_is_hidden_in_every_form() {
        let secret = "Xy8~Qa+b/c=d_ef.GHIJ"; // such characters are in Microsoft's
        let sent = SecretString::from(secret);
        for said in [secret, "Xy8%7EQa%2Bb%2Fc%3Dd_ef.GHIJ", "Xy8~Qa+b/c", &STANDARD.encode(secret)] {
            let description = format!("cannot read client_secret={said}&scope=x");
            let detail = refused("invalid_client", &description, &[Some(&sent)]).trouble.detail;
            assert!(!detail.contains(said) && detail.contains("scope=x"), "{detail}");
        }
    }

    #[test]
    fn what_is_said_at_length_is_cut_and_shows_it() {
        let detail = |length| refused("invalid_grant", &"ä".repeat(length), &[]).trouble.detail;
        assert!(detail(10).ends_with("said: invalid_grant: ääääääääää"), "{}", detail(10));
        assert!(detail(LONGEST_SAID).ends_with("ä…"), "{}", detail(LONGEST_SAID));
    }
}
