//! Logging in to a smarthost: which mechanism, and what it says (RFC 4954).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::trouble::local;
use crate::config::{Password, PasswordForm};
use crate::provider::Mechanism;
use crate::schedule::attempt::{Step, Trouble};
use crate::tokens::Hidden;

mod ses;

/// A login whose secret is at hand.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    username: String,
    secret: SecretString,
    kind: Kind,
    /// The mechanisms that may be used, the preferred first.
    allowed: Vec<Mechanism>,
}

/// What opens the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Password,
    Token,
}

impl Credentials {
    /// Reads the password, anew each time, and makes of it what the smarthost wants.
    pub(super) async fn read(username: &str, password: &Password, allowed: &[Mechanism]) -> Result<Self, Trouble> {
        let Password { secret, form, .. } = password.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let secret = secret.read()?;
            Ok(match form {
                PasswordForm::AsItIs => secret,
                PasswordForm::SesIam { region } => ses::smtp_password(&secret, &region),
            })
        });
        let failed = |why: String| Err(local(Step::Auth, format!("the password cannot be read: {why}")));
        match reading.await {
            Ok(Ok(secret)) => Ok(Self::with(Kind::Password, username, secret, allowed)),
            Ok(Err(error)) => failed(crate::config::secret::SecretError::to_string(&error)),
            Err(error) => failed(error.to_string()),
        }
    }

    /// With an access token.
    pub(super) fn bearer(username: &str, token: SecretString, allowed: &[Mechanism]) -> Self {
        Self::with(Kind::Token, username, token, allowed)
    }

    fn with(kind: Kind, username: &str, secret: SecretString, allowed: &[Mechanism]) -> Self {
        Self { username: username.into(), secret, kind, allowed: allowed.to_vec() }
    }

    /// The best mechanism of those offered (names in upper case). Where there is none, says what there should be.
    pub(super) fn choose(&self, offered: &[String]) -> Result<Mechanism, String> {
        let fits = |mechanism: &Mechanism| match self.kind {
            Kind::Token => *mechanism == Mechanism::Xoauth2,
            Kind::Password => matches!(mechanism, Mechanism::Plain | Mechanism::Login),
        };
        let usable: Vec<Mechanism> = self.allowed.iter().copied().filter(fits).collect();
        let has = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.as_str());
        usable.iter().copied().find(has).ok_or_else(|| match (self.kind, usable.is_empty()) {
            (Kind::Token, true) => "a token needs XOAUTH2, which the account's `mechanisms` leave out".into(),
            (Kind::Token, false) => "a token needs XOAUTH2".into(),
            (Kind::Password, true) => {
                "a password needs LOGIN or PLAIN, which the account's `mechanisms` leave out".into()
            }
            (Kind::Password, false) => {
                let names: Vec<&str> = usable.iter().map(|mechanism| mechanism.as_str()).collect();
                format!("a password needs {}", names.join(" or "))
            }
        })
    }

    /// What we send, line by line without line ends: each but the last is answered by a challenge (334). A token is too
    /// long for the line of a command (RFC 4954 §4), so it answers a challenge too.
    pub(super) fn exchange(&self, mechanism: Mechanism) -> Vec<SecretString> {
        let (user, secret) = (&self.username, self.secret.expose_secret());
        match mechanism {
            Mechanism::Plain => {
                vec![format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{secret}"))).into()]
            }
            Mechanism::Login => {
                vec!["AUTH LOGIN".into(), STANDARD.encode(user).into(), STANDARD.encode(secret).into()]
            }
            Mechanism::Xoauth2 => {
                let answer = format!("user={user}\x01auth=Bearer {secret}\x01\x01");
                vec!["AUTH XOAUTH2".into(), STANDARD.encode(answer).into()]
            }
        }
    }

    /// What must not be seen of this login and its exchange.
    pub(super) fn hidden(&self, exchange: &[SecretString]) -> Hidden {
        Hidden::new(self.secret.expose_secret(), exchange.iter().map(|line| line.expose_secret()))
    }

    #[cfg(test)]
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self::with(Kind::Password, username, password.into(), &[Mechanism::Plain, Mechanism::Login])
    }
}

/// What a smarthost that refuses a token says before it says so: a challenge that is no question but JSON (Google,
/// *XOAUTH2 Mechanism*, "Error response"). As it can be shown, if it is that.
pub(super) fn error_challenge(challenge: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(challenge.trim()).ok()?).ok()?;
    let shown: String = text.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}

const MOST_SHOWN: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &[Mechanism] = &[Mechanism::Xoauth2, Mechanism::Plain, Mechanism::Login];

    fn chosen(credentials: &Credentials, offered: &[&str]) -> Result<Mechanism, String> {
        credentials.choose(&offered.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_account_s_order_decides_among_what_is_offered() {
        let password = |allowed: &[Mechanism]| Credentials::with(Kind::Password, "tim", "x".into(), allowed);
        assert_eq!(chosen(&password(ANY), &["LOGIN", "PLAIN"]), Ok(Mechanism::Plain));
        assert_eq!(chosen(&password(&[Mechanism::Login, Mechanism::Plain]), &["PLAIN", "LOGIN"]), Ok(Mechanism::Login));
        assert_eq!(chosen(&password(ANY), &["LOGIN", "XOAUTH2"]), Ok(Mechanism::Login));
        assert_eq!(chosen(&password(ANY), &["XOAUTH2"]), Err("a password needs PLAIN or LOGIN".into()));
        assert!(chosen(&password(&[Mechanism::Xoauth2]), &["PLAIN"]).unwrap_err().contains("leave out"));
        let token = |allowed: &[Mechanism]| Credentials::bearer("tim", "x".into(), allowed);
        assert_eq!(chosen(&token(ANY), &["LOGIN", "XOAUTH2"]), Ok(Mechanism::Xoauth2));
        assert_eq!(chosen(&token(ANY), &["LOGIN", "PLAIN"]), Err("a token needs XOAUTH2".into()));
        assert!(chosen(&token(&[Mechanism::Login]), &["XOAUTH2"]).unwrap_err().contains("leave out"));
    }

    #[test]
    fn the_lines_are_those_of_the_rfc_and_of_microsoft() {
        let lines = |credentials: &Credentials, mechanism| {
            let lines = credentials.exchange(mechanism);
            lines.iter().map(|line| line.expose_secret().to_owned()).collect::<Vec<_>>()
        };
        let credentials = Credentials::new("tim", "tanstaaftanstaaf"); // RFC 4616 §4
        assert_eq!(lines(&credentials, Mechanism::Plain), ["AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"]);
        assert_eq!(lines(&credentials, Mechanism::Login), ["AUTH LOGIN", "dGlt", "dGFuc3RhYWZ0YW5zdGFhZg=="]);
        // learn.microsoft.com, *Authenticate an IMAP, POP or SMTP connection using OAuth*, "SASL XOAUTH2".
        let token = "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA";
        let wanted = "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpM\
                      QldaV0NjbFJDM0VvQUEBAQ==";
        let credentials = Credentials::bearer("test@contoso.onmicrosoft.com", token.into(), ANY);
        assert_eq!(lines(&credentials, Mechanism::Xoauth2), ["AUTH XOAUTH2", wanted]);
    }

    #[test]
    fn what_holds_the_secret_does_not_show_it() {
        for credentials in [Credentials::new("tim", "tanstaaf"), Credentials::bearer("tim", "tanstaaf".into(), ANY)] {
            let shown = format!("{credentials:?}");
            assert!(shown.contains("tim") && !shown.contains("tanstaaf"), "{shown}");
        }
    }

    #[test]
    fn an_error_challenge_is_read() {
        let json = r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
        assert_eq!(error_challenge(&STANDARD.encode(json)).as_deref(), Some(json));
        assert_eq!(error_challenge("not base64!"), None);
        assert_eq!(error_challenge(""), None);
    }
}
