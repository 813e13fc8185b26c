//! Opening an account: by which of its methods, and by the other one where the first does not open it.

use super::credentials::Credentials;
use super::trouble::protocol;
use super::upstream::{Timeouts, Upstream};
use super::witness::{Sight, Witness};
use crate::config::{AccountConfig, Login, Method, OAuth, SmtpEndpoint};
use crate::provider::refusal::ends_passwords;
use crate::schedule::attempt::{Obstacle, Step, Trouble, TroubleKind};
use crate::tokens::{Failure, Logins};

/// What is needed to open a session.
pub(super) struct Opening<'a> {
    pub(super) account: &'a AccountConfig,
    pub(super) endpoint: &'a SmtpEndpoint,
    pub(super) logins: &'a Logins,
    pub(super) timeouts: &'a Timeouts,
    pub(super) witness: &'a dyn Witness,
}

/// At most so many connections are made for one session: with the token at hand, with a fresh one, and with the password.
pub const OPENINGS: u32 = 3;

impl Opening<'_> {
    pub(super) async fn open(self) -> Result<Upstream, Obstacle> {
        let Some(login) = &self.endpoint.login else {
            return Upstream::connect(self.endpoint, None, self.timeouts, self.witness).await;
        };
        let name = &self.account.name;
        let methods = self.logins.methods(name, login);
        let mut met: Vec<(Method, Obstacle)> = Vec::new();
        for method in &methods {
            let obstacle = match self.open_by(*method, login).await {
                Ok(upstream) => {
                    self.logins.opened(name, login, *method);
                    return Ok(upstream);
                }
                Err(obstacle) => obstacle,
            };
            let Some(failure) = self.failure(*method, &obstacle) else {
                // It says nothing against the method.
                if step(&obstacle) == Step::Auth {
                    self.logins.refused(name, login);
                }
                return Err(obstacle);
            };
            if login.password.is_some() && login.oauth.is_some() {
                self.logins.failed(name, *method, failure, said(&obstacle));
            }
            if met.len() + 1 < methods.len() {
                self.witness.saw(Sight::Fallen(*method, &said(&obstacle)));
            }
            met.push((*method, obstacle));
        }
        self.logins.refused(name, login);
        Err(self.to_mend(met, login))
    }

    async fn open_by(&self, method: Method, login: &Login) -> Result<Upstream, Obstacle> {
        match (method, &login.password, &login.oauth) {
            (Method::OAuth, _, Some(oauth)) => self.open_by_token(login, oauth).await,
            (Method::Password, Some(password), _) => {
                self.logins.reading(&self.account.name, login);
                // First, because a secret that cannot be read is not worth a connection.
                let credentials = Credentials::read(&login.username, password, &login.mechanisms).await;
                let credentials = credentials.map_err(Obstacle::Trouble)?;
                self.connect(credentials).await
            }
            _ => Err(Obstacle::Trouble(protocol(Step::Auth, format!("the account has no {}", method.as_str())))),
        }
    }

    async fn connect(&self, credentials: Credentials) -> Result<Upstream, Obstacle> {
        let connected = Upstream::connect(self.endpoint, Some(credentials), self.timeouts, self.witness).await;
        if let Err(Obstacle::Refused { step: Step::Auth, .. }) = &connected {
            self.logins.count_refusal(&self.account.name);
        }
        connected
    }

    /// A token that was at hand may have been revoked since: a fresh one is tried before a refusal is believed.
    async fn open_by_token(&self, login: &Login, oauth: &OAuth) -> Result<Upstream, Obstacle> {
        let begun = self.logins.now();
        let mut tokens = 0;
        loop {
            let token = self.logins.token(&self.account.name, oauth).await.map_err(Obstacle::Trouble)?;
            tokens += 1;
            self.witness.saw(Sight::Token);
            let credentials = Credentials::bearer(&login.username, token.secret.clone(), &login.mechanisms);
            match self.connect(credentials).await {
                Err(obstacle) if is_refused_login(&obstacle) => {
                    self.logins.forget_token(&self.account.name, oauth, &token);
                    if token.fetched >= begun || tokens > 1 {
                        return Err(obstacle);
                    }
                }
                other => return other,
            }
        }
    }

    /// How the method failed, where it is the method that failed and another may work.
    fn failure(&self, method: Method, obstacle: &Obstacle) -> Option<Failure> {
        match obstacle {
            Obstacle::Refused { reply, .. } if is_refused_login(obstacle) => {
                let ended = method == Method::Password && ends_passwords(self.account.provider, reply);
                Some(if ended { Failure::ForGood } else { Failure::Perhaps })
            }
            Obstacle::Trouble(Trouble { step: Step::Token, .. })
            | Obstacle::Trouble(Trouble {
                step: Step::Auth, kind: TroubleKind::Protocol | TroubleKind::Local, ..
            }) => Some(Failure::Perhaps),
            _ => None,
        }
    }

    /// The obstacle of the preferred method; of the other one where the preferred one is a password that nobody takes
    /// any more.
    fn to_mend(&self, met: Vec<(Method, Obstacle)>, login: &Login) -> Obstacle {
        let mends = |(method, obstacle): &(Method, Obstacle)| {
            *method == login.prefer && self.failure(*method, obstacle) != Some(Failure::ForGood)
        };
        let index = met.iter().position(mends).unwrap_or(met.len().saturating_sub(1));
        let none = || Obstacle::Trouble(protocol(Step::Auth, "the account has nothing to log in with".into()));
        met.into_iter().nth(index).map_or_else(none, |(_, obstacle)| obstacle)
    }
}

/// Whether the smarthost has refused the login for good.
fn is_refused_login(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Refused { step: Step::Auth, reply } if !reply.is_transient())
}

fn step(obstacle: &Obstacle) -> Step {
    match obstacle {
        Obstacle::Refused { step, .. } | Obstacle::Trouble(Trouble { step, .. }) => *step,
    }
}

fn said(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Refused { reply, .. } => reply.to_string(),
        Obstacle::Trouble(trouble) => trouble.to_string(),
    }
}

#[cfg(test)]
mod tests;
