//! AUTH (RFC 4954) by LOGIN, PLAIN and XOAUTH2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connection::{Connection, Standing, Struck};
use super::fault::Step;
use super::profile::{ClearLogins, Mechanism};
use super::wire::Leave;

/// Whether the credentials open the mailbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
}

/// The exchange ended before there were credentials: say this.
struct Broken(&'static str);

impl Connection {
    /// `AUTH mechanism [initial-response]`.
    pub(super) async fn auth(&mut self, argument: &str) -> Result<(), Leave> {
        if self.lacks_tls() {
            self.server.mailbox.count(|counters| counters.plaintext_logins += 1);
            if self.server.config.profile.clear_logins != ClearLogins::Take {
                return self.complain(self.words().starttls_first);
            }
        }
        match self.standing {
            Standing::New => return self.complain(self.words().hello_first),
            Standing::Ready(_) => return self.complain(self.words().logged_in_already),
            Standing::Greeted => {}
        }
        let mut words = argument.split_whitespace();
        let name = words.next().unwrap_or_default();
        let offered = &self.server.config.profile.mechanisms;
        let mechanism = match offered.iter().find(|offer| name.eq_ignore_ascii_case(&offer.to_string())) {
            None | Some(Mechanism::Named(_)) => return self.complain(self.words().unknown_mechanism),
            Some(mechanism) => *mechanism,
        };
        let verdict = match self.exchange(mechanism, words.next()).await? {
            Ok(verdict) => verdict,
            Err(Broken(reply)) => return self.complain(reply),
        };
        let kind = if mechanism == Mechanism::Xoauth2 { Step::Bearer } else { Step::Password };
        for step in [Step::Auth, kind] {
            if let Struck::Refused = self.strike(step, |_| false)? {
                self.server.mailbox.count(|counters| counters.failed_logins += 1);
                return Ok(());
            }
        }
        let number = self.number;
        tracing::debug!(event = "sandbox_login", connection = number, %mechanism, accepted = verdict == Verdict::Right);
        match verdict {
            Verdict::Right => {
                self.standing = Standing::Ready(None);
                self.server.mailbox.count(|counters| {
                    counters.logins += 1;
                    counters.bearer_logins += u64::from(mechanism == Mechanism::Xoauth2);
                });
                self.say(self.words().logged_in)
            }
            Verdict::Wrong => {
                self.server.mailbox.count(|counters| counters.failed_logins += 1);
                if mechanism != Mechanism::Xoauth2 {
                    return self.say(self.words().bad_credentials);
                }
                if let Some(challenge) = self.words().token_challenge {
                    // Whatever is said to it, the refusal follows.
                    self.wire.send(format!("334 {}\r\n", STANDARD.encode(challenge)).as_bytes());
                    self.wire.line().await?;
                }
                self.say(self.words().bad_token)
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
            (Some(initial), _) => STANDARD.decode(initial).map_err(|_| Broken(self.words().bad_base64)),
            (None, Mechanism::Login) => self.ask(USERNAME).await?,
            (None, Mechanism::Plain | Mechanism::Xoauth2 | Mechanism::Named(_)) => self.ask("").await?,
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
        Ok(Ok(self.judge(mechanism, &first, &second)))
    }

    /// Sends a challenge and reads what the client says to it.
    async fn ask(&mut self, challenge: &str) -> Result<Result<Vec<u8>, Broken>, Leave> {
        self.wire.send(format!("334 {challenge}\r\n").as_bytes());
        match self.wire.line().await?.as_deref() {
            Some(b"*") => Ok(Err(Broken(self.words().login_canceled))),
            Some(response) => Ok(STANDARD.decode(response).map_err(|_| Broken(self.words().bad_base64))),
            None => Err(Leave::Gone),
        }
    }

    fn judge(&self, mechanism: Mechanism, first: &[u8], second: &[u8]) -> Verdict {
        let keys = &self.server.keys;
        let right = match mechanism {
            Mechanism::Login => keys.password_opens(first, second),
            Mechanism::Plain => {
                let parts: Vec<&[u8]> = first.split(|byte| *byte == 0).collect();
                matches!(parts[..], [_, user, password] if keys.password_opens(user, password))
            }
            Mechanism::Xoauth2 => keys.token_opens(first, self.server.mailbox.now()),
            Mechanism::Named(_) => false,
        };
        if right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// `Username:` and `Password:`.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";
