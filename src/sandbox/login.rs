//! AUTH (RFC 4954) by LOGIN, PLAIN and XOAUTH2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::config::{Mechanism, SandboxConfig};
use super::connection::{Connection, Standing, Struck};
use super::fault::Step;
use super::replies;
use super::wire::Leave;

/// Whether the credentials open the mailbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
}

/// The exchange ended before there were credentials: say this.
struct Broken(&'static str);

const BAD_BASE64: Broken = Broken("501 5.5.2 Cannot Base64-decode Client responses");

impl Connection {
    /// `AUTH mechanism [initial-response]`.
    pub(super) async fn auth(&mut self, argument: &str) -> Result<(), Leave> {
        if self.lacks_tls() {
            return self.complain(replies::STARTTLS_FIRST);
        }
        match self.standing {
            Standing::New => return self.complain(replies::HELLO_FIRST),
            Standing::Ready(_) => return self.complain("503 5.5.1 Already authenticated, or no login is wanted"),
            Standing::Greeted => {}
        }
        let mut words = argument.split_whitespace();
        let name = words.next().unwrap_or_default();
        let offered = &self.server.config.profile.mechanisms;
        let Some(mechanism) = offered.iter().copied().find(|offer| name.eq_ignore_ascii_case(&offer.to_string()))
        else {
            return self.complain(replies::UNKNOWN_MECHANISM);
        };
        let verdict = match self.exchange(mechanism, words.next()).await? {
            Ok(verdict) => verdict,
            Err(Broken(reply)) => return self.complain(reply),
        };
        if let Struck::Refused = self.strike(Step::Auth, |_| false)? {
            self.server.mailbox.count(|counters| counters.failed_logins += 1);
            return Ok(());
        }
        let number = self.number;
        tracing::debug!(event = "sandbox_login", connection = number, %mechanism, accepted = verdict == Verdict::Right);
        match (verdict, mechanism) {
            (Verdict::Right, _) => {
                self.standing = Standing::Ready(None);
                self.server.mailbox.count(|counters| counters.logins += 1);
                self.say(replies::LOGGED_IN)
            }
            (Verdict::Wrong, mechanism) => {
                self.server.mailbox.count(|counters| counters.failed_logins += 1);
                let token = mechanism == Mechanism::Xoauth2;
                self.say(if token { replies::BAD_TOKEN } else { replies::BAD_CREDENTIALS })
            }
        }
    }

    async fn exchange(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&str>,
    ) -> Result<Result<Verdict, Broken>, Leave> {
        let first = match (initial, mechanism) {
            (Some("="), _) => Ok(Vec::new()),
            (Some(initial), _) => STANDARD.decode(initial).map_err(|_| BAD_BASE64),
            (None, Mechanism::Login) => self.ask(USERNAME).await?,
            (None, Mechanism::Plain | Mechanism::Xoauth2) => self.ask("").await?,
        };
        let first = match first {
            Ok(first) => first,
            Err(broken) => return Ok(Err(broken)),
        };
        let mut second = Vec::new();
        if mechanism == Mechanism::Login {
            match self.ask(PASSWORD).await? {
                Ok(password) => second = password,
                Err(broken) => return Ok(Err(broken)),
            }
        }
        Ok(Ok(judge(&self.server.config, mechanism, &first, &second)))
    }

    /// Sends a challenge and reads what the client says to it.
    async fn ask(&mut self, challenge: &str) -> Result<Result<Vec<u8>, Broken>, Leave> {
        self.wire.send(format!("334 {challenge}\r\n").as_bytes());
        match self.wire.line().await?.as_deref() {
            Some(b"*") => Ok(Err(Broken("501 5.7.0 Authentication canceled"))),
            Some(response) => Ok(STANDARD.decode(response).map_err(|_| BAD_BASE64)),
            None => Err(Leave::Gone),
        }
    }
}

/// `Username:` and `Password:`.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

fn judge(config: &SandboxConfig, mechanism: Mechanism, first: &[u8], second: &[u8]) -> Verdict {
    let is_user = |user: &[u8]| user.eq_ignore_ascii_case(config.user.as_bytes());
    let is_password = |password: &[u8]| password == config.password.expose_secret().as_bytes();
    let right = match mechanism {
        Mechanism::Login => is_user(first) && is_password(second),
        Mechanism::Plain => {
            let parts: Vec<&[u8]> = first.split(|byte| *byte == 0).collect();
            matches!(parts[..], [_, user, password] if is_user(user) && is_password(password))
        }
        Mechanism::Xoauth2 => config.token.as_ref().is_some_and(|token| {
            let wanted = format!("\u{1}auth=Bearer {}\u{1}\u{1}", token.expose_secret());
            let user = first.strip_prefix(b"user=").and_then(|rest| rest.strip_suffix(wanted.as_bytes()));
            user.is_some_and(is_user)
        }),
    };
    if right { Verdict::Right } else { Verdict::Wrong }
}
