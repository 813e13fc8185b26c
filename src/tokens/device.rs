//! The login of a user on another device (RFC 8628): the identity provider gives a code, the user enters it in a browser,
//! and we ask until it has been entered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oauth2::{
    DeviceCodeErrorResponse, DeviceCodeErrorResponseType, RequestTokenError, StandardDeviceAuthorizationResponse,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::assertion::Shown;
use super::request::{self, Client, Denied, Granted, NoAnswer, Post, denied};
use super::{Around, Source, Tokens, locked};
use crate::config::{Grant, OAuth};
use crate::ids::AccountName;
use crate::schedule::attempt::TroubleKind;
use crate::time::spoken;

/// What a user needs to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The page to open.
    pub verification_uri: String,
    /// What to enter there.
    pub user_code: String,
    /// For how many seconds from now.
    pub expires_in: u64,
}

/// How far a login is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginProgress {
    /// Nobody has begun one.
    NotBegun,
    /// The code has not been entered yet.
    Waiting,
    /// The account is logged in, and its refresh token is stored.
    LoggedIn,
    /// It came to nothing; says why and what to do.
    Failed(String),
}

/// A login that somebody has begun; ends when another one of the account begins.
pub(super) struct UnderWay {
    progress: Arc<Mutex<LoginProgress>>,
    task: AbortHandle,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tokens {
    /// Begins the login of a user. The rest happens by itself: [`Tokens::login_progress`] says how far it is.
    ///
    /// # Errors
    /// Where there is nobody to log in, or the identity provider gives no code.
    pub async fn begin_login(&self, account: &AccountName, oauth: &OAuth) -> Result<Invitation, String> {
        if oauth.grant == Grant::Application {
            return Err(format!("account {account} logs in as an application, by itself: there is nothing to do"));
        }
        let source = self.source(account, oauth);
        let told = |denied: Denied| denied.trouble.detail;
        let proof = source.proof().await.map_err(told)?;
        let client = request::client(oauth, &proof).map_err(told)?;
        let details = invite(&self.around, &client, oauth, &proof).await.map_err(told)?;
        let invitation = Invitation {
            verification_uri: printable(details.verification_uri().as_str()),
            user_code: printable(details.user_code().secret()),
            expires_in: details.expires_in().min(LONGEST).as_secs(),
        };
        let progress = Arc::new(Mutex::new(LoginProgress::Waiting));
        let waiting = wait(Arc::clone(&self.around), source, account.clone(), client, proof, details);
        let told = Arc::clone(&progress);
        let task = tokio::spawn(async move {
            let ended = waiting.await;
            *locked(&told) = ended;
        });
        let under_way = UnderWay { progress, task: task.abort_handle() };
        locked(&self.logins_under_way).insert(account.clone(), under_way);
        Ok(invitation)
    }

    /// How far the login of an account is that was begun last.
    pub fn login_progress(&self, account: &AccountName) -> LoginProgress {
        let under_way = locked(&self.logins_under_way);
        under_way.get(account).map_or(LoginProgress::NotBegun, |login| locked(&login.progress).clone())
    }
}

async fn invite(
    around: &Around,
    client: &Client,
    oauth: &OAuth,
    proof: &Shown,
) -> Result<StandardDeviceAuthorizationResponse, Denied> {
    let post = Post(around.web().map_err(|error| denied(TroubleKind::Local, error.to_string()))?.clone());
    let mut request = client.exchange_device_code().add_scopes(request::scopes(oauth));
    for (name, value) in request::assertion(proof) {
        request = request.add_extra_param(name, value);
    }
    let answer = request.request_async(&post).await;
    answer.map_err(|error| request::why(error, oauth, &[proof.secret()]))
}

/// Asks until the code has been entered, and stores what comes of it.
async fn wait(
    around: Arc<Around>,
    source: Arc<Source>,
    account: AccountName,
    client: Client,
    proof: Shown,
    details: StandardDeviceAuthorizationResponse,
) -> LoginProgress {
    let life = details.expires_in().min(LONGEST);
    let granted = match timeout(life, ask(&around, source.settings(), &client, &proof, &details)).await {
        Ok(Ok(granted)) => granted,
        Ok(Err(why)) => return LoginProgress::Failed(why),
        Err(_) => return LoginProgress::Failed(expired(life)),
    };
    match source.logged_in(granted).await {
        Ok(()) => {
            locked(&around.logged_in).insert(account);
            around.changed.notify_one();
            LoginProgress::LoggedIn
        }
        Err(why) => LoginProgress::Failed(why),
    }
}

async fn ask(
    around: &Around,
    oauth: &OAuth,
    client: &Client,
    proof: &Shown,
    details: &StandardDeviceAuthorizationResponse,
) -> Result<Granted, String> {
    let post = Post(around.web().map_err(|error| error.to_string())?.clone());
    let mut request = client.exchange_device_access_token(details);
    for (name, value) in request::assertion(proof) {
        request = request.add_extra_param(name, value);
    }
    let answer = request.request_async(&post, sleep, None).await;
    answer.map(request::granted).map_err(|error| declined(error, oauth, proof, details))
}

fn declined(
    error: RequestTokenError<NoAnswer, DeviceCodeErrorResponse>,
    oauth: &OAuth,
    proof: &Shown,
    details: &StandardDeviceAuthorizationResponse,
) -> String {
    if let RequestTokenError::ServerResponse(answer) = &error {
        let kind = answer.error();
        // Microsoft has a word of its own for who declines.
        if *kind == DeviceCodeErrorResponseType::AccessDenied || kind.to_string() == "authorization_declined" {
            return "the login was declined: run the command again, and confirm it in the browser".into();
        }
        if *kind == DeviceCodeErrorResponseType::ExpiredToken {
            return expired(details.expires_in());
        }
    }
    let code = SecretString::from(details.device_code().secret().as_str());
    request::why(error, oauth, &[proof.secret(), Some(&code)]).trouble.detail
}

fn expired(life: Duration) -> String {
    format!("nobody entered the code within {}: run the command again", spoken(life))
}

/// What comes from elsewhere and goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_PRINTED).collect()
}

/// No code is waited for longer, whatever the identity provider says.
const LONGEST: Duration = Duration::from_secs(3600);
const MOST_PRINTED: usize = 500;
