//! Logging in to a smarthost: which mechanism, and what it says (RFC 4954).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use self::echo::Hidden;
use super::trouble::local;
use crate::config::Login;
use crate::provider::Mechanism;
use crate::schedule::attempt::{Step, Trouble};

mod echo;

/// A login whose secret has been read.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    username: String,
    password: SecretString,
}

/// The best mechanism for a password of those offered (names in upper case).
pub(super) fn choose(offered: &[String]) -> Option<Mechanism> {
    let has = |name: &str| offered.iter().any(|mechanism| mechanism == name);
    match () {
        () if has("PLAIN") => Some(Mechanism::Plain),
        () if has("LOGIN") => Some(Mechanism::Login),
        () => None,
    }
}

impl Credentials {
    /// Reads the secret of the login, anew each time.
    pub(super) async fn read(login: &Login) -> Result<Self, Trouble> {
        let Login { username, password, .. } = login.clone();
        let Some(password) = password else {
            return Err(local(Step::Auth, "the account has no password".into()));
        };
        let secret = tokio::task::spawn_blocking(move || password.secret.read()).await;
        match secret {
            Ok(Ok(password)) => Ok(Self { username, password }),
            Ok(Err(error)) => Err(local(Step::Auth, error.to_string())),
            Err(error) => Err(local(Step::Auth, format!("the password could not be read: {error}"))),
        }
    }

    /// What we send, line by line without line ends: each but the last is answered by a challenge (334).
    pub(super) fn exchange(&self, mechanism: Mechanism) -> Vec<SecretString> {
        let password = self.password.expose_secret();
        match mechanism {
            Mechanism::Plain => {
                vec![format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{}\0{password}", self.username))).into()]
            }
            Mechanism::Xoauth2 => Vec::new(),
            Mechanism::Login => {
                vec!["AUTH LOGIN".into(), STANDARD.encode(&self.username).into(), STANDARD.encode(password).into()]
            }
        }
    }

    /// What must not be seen of this login and its exchange.
    pub(super) fn hidden(&self, exchange: &[SecretString]) -> Hidden {
        Hidden::new(self.password.expose_secret(), exchange.iter().map(|line| line.expose_secret()))
    }

    #[cfg(test)]
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self { username: username.into(), password: password.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_preferred_and_microsoft_365_gets_login() {
        let choose = |offered: &[&str]| choose(&offered.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(choose(&["LOGIN", "PLAIN"]), Some(Mechanism::Plain));
        assert_eq!(choose(&["LOGIN", "XOAUTH2"]), Some(Mechanism::Login));
        assert_eq!(choose(&["CRAM-MD5", "XOAUTH2"]), None);
    }

    #[test]
    fn the_lines_are_those_of_the_rfc() {
        let credentials = Credentials::new("tim", "tanstaaftanstaaf"); // RFC 4616 §4
        let lines = |mechanism| {
            let lines = credentials.exchange(mechanism);
            lines.iter().map(|line| line.expose_secret().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines(Mechanism::Plain), ["AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"]);
        assert_eq!(lines(Mechanism::Login), ["AUTH LOGIN", "dGlt", "dGFuc3RhYWZ0YW5zdGFhZg=="]);
    }

    #[test]
    fn what_holds_the_password_does_not_show_it() {
        let shown = format!("{:?}", Credentials::new("tim", "tanstaaf"));
        assert!(shown.contains("tim") && !shown.contains("tanstaaf"), "{shown}");
    }
}
