//! Requests for tokens and device codes: who asks, by which grant, for what.

use std::collections::HashMap;

use secrecy::ExposeSecret;
use serde_json::json;

use super::Issuer;
use super::answer::Answer;
use crate::sandbox::fault::{Denial, Effect, Fault, FaultRule, Step, entra};
use crate::sandbox::keys::Grant;
use crate::sandbox::profile::Service;

/// A request, read from its form and header fields.
pub(super) struct Request {
    pub(super) form: HashMap<String, String>,
    /// The application and its secret by HTTP Basic (RFC 6749 §2.3.1).
    pub(super) basic: Option<(String, String)>,
    /// The tenant in the path; none where the path names none.
    pub(super) tenant: Option<String>,
    /// The address by which the request came: what an assertion must be meant for.
    pub(super) address: String,
}

/// For whom tokens are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The application itself, which gets no refresh token.
    Application,
    /// The mailbox's user.
    User,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    fn client_id(&self) -> &str {
        self.basic.as_ref().map_or_else(|| self.field("client_id"), |(client_id, _)| client_id)
    }

    fn scopes(&self) -> Vec<&str> {
        self.field("scope").split_whitespace().collect()
    }
}

impl Issuer {
    /// Answers a request for a token.
    pub(super) async fn token(&self, request: Request) -> Answer {
        let grant = request.field("grant_type");
        let (count, step): (fn(&mut crate::sandbox::Counters) -> &mut u64, _) = match grant {
            "client_credentials" => (|counters| &mut counters.client_credentials, None),
            "refresh_token" => (|counters| &mut counters.refreshes, Some(Step::Refresh)),
            DEVICE => (|counters| &mut counters.polls, Some(Step::Poll)),
            _ => return self.denied(&request, &entra::WRONG_GRANT),
        };
        self.mailbox.count(|counters| *count(counters) += 1);
        for step in [Some(Step::Token), step].into_iter().flatten() {
            if let Some(answer) = self.strike(step, &request).await {
                return answer;
            }
        }
        let granted = match grant {
            "client_credentials" => self.client_credentials(&request),
            "refresh_token" => self.refresh(&request),
            _ => self.poll(&request),
        };
        let answer = match granted {
            Ok(holder) => self.granted(holder, &request),
            Err(denial) => return self.denied(&request, denial),
        };
        tracing::debug!(event = "sandbox_token", grant);
        answer
    }

    /// Answers a request for a device code.
    pub(super) fn device(&self, request: &Request) -> Answer {
        let scopes = request.scopes();
        if let Err(denial) = self.known(request).and_then(|()| self.user_scopes(&scopes)) {
            return self.denied(request, denial);
        }
        let (lifetime, interval) = (self.config.code_lifetime, self.config.code_interval);
        let (device_code, user_code) = self.codes.issue(self.mailbox.now(), lifetime, interval);
        self.mailbox.count(|counters| counters.device_codes += 1);
        let page = self.verification_url();
        // Google's name for the same, in its documents and answers.
        let key = if self.service == Service::Google { "verification_url" } else { "verification_uri" };
        Answer::granted(json!({
            "user_code": user_code,
            "device_code": device_code,
            key: page,
            "expires_in": lifetime.as_secs(),
            "interval": interval.as_secs(),
            "message": format!(
                "To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."
            ),
        }))
    }

    fn client_credentials(&self, request: &Request) -> Result<Holder, &'static Denial> {
        self.known(request)?;
        self.proven(request)?;
        if request.field("scope") != APPLICATION {
            return Err(&entra::WRONG_SCOPE);
        }
        Ok(Holder::Application)
    }

    fn refresh(&self, request: &Request) -> Result<Holder, &'static Denial> {
        self.known(request)?;
        self.proven_or_public(request)?;
        let scopes = request.scopes();
        if !scopes.is_empty() && !scopes.contains(&self.user_scope()) {
            return Err(&entra::WRONG_SCOPE);
        }
        match self.keys.present(request.field("refresh_token")) {
            Grant::Good => Ok(Holder::User),
            Grant::Revoked => Err(&entra::GRANT_REVOKED),
            Grant::Unknown => Err(&entra::GRANT_UNKNOWN),
        }
    }

    fn poll(&self, request: &Request) -> Result<Holder, &'static Denial> {
        self.known(request)?;
        self.proven_or_public(request)?;
        self.codes.redeem(request.field("device_code"), self.mailbox.now())?;
        Ok(Holder::User)
    }

    fn granted(&self, holder: Holder, request: &Request) -> Answer {
        let now = self.mailbox.now();
        let seconds = self.config.lifetime.as_secs();
        let token = self.keys.issue_access(now, now.after(self.config.lifetime));
        self.mailbox.count(|counters| counters.tokens += 1);
        let scope = match request.field("scope") {
            "" => self.user_scope(),
            scope => scope,
        };
        let mut body = json!({
            "token_type": "Bearer",
            "scope": scope,
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": token,
        });
        if holder == Holder::User {
            body["refresh_token"] = self.keys.issue_refresh().into();
        }
        Answer::granted(body)
    }

    /// Whether this application of this tenant is registered.
    fn known(&self, request: &Request) -> Result<(), &'static Denial> {
        if request.tenant.as_ref().is_some_and(|tenant| !tenant.eq_ignore_ascii_case(&self.config.tenant)) {
            return Err(&entra::TENANT_UNKNOWN);
        }
        if request.client_id() == self.config.client_id { Ok(()) } else { Err(&entra::APP_UNKNOWN) }
    }

    /// Whether the application has shown that it is itself.
    fn proven(&self, request: &Request) -> Result<(), &'static Denial> {
        let secret = match &request.basic {
            Some((_, secret)) => Some(secret.as_str()),
            None => request.form.get("client_secret").map(String::as_str),
        };
        if let Some(secret) = secret {
            let right = secret == self.config.client_secret.expose_secret();
            return if right { Ok(()) } else { Err(&entra::WRONG_SECRET) };
        }
        let Some(assertion) = request.form.get("client_assertion") else { return Err(&entra::NO_PROOF) };
        if request.field("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return Err(&entra::NO_PROOF);
        }
        let certificate = self.certificate.as_ref().ok_or(&entra::UNKNOWN_CERTIFICATE)?;
        let now = self.mailbox.now().as_micros() / 1_000_000;
        certificate.check(assertion, &self.config.client_id, &request.address, now)
    }

    /// The same of one that may also be public: a device that keeps no secret.
    fn proven_or_public(&self, request: &Request) -> Result<(), &'static Denial> {
        let shown = request.basic.is_some()
            || ["client_secret", "client_assertion"].iter().any(|key| request.form.contains_key(*key));
        if shown { self.proven(request) } else { Ok(()) }
    }

    fn user_scopes(&self, scopes: &[&str]) -> Result<(), &'static Denial> {
        let offline = self.service == Service::Google || scopes.contains(&"offline_access");
        if scopes.contains(&self.user_scope()) && offline { Ok(()) } else { Err(&entra::WRONG_SCOPE) }
    }

    fn user_scope(&self) -> &'static str {
        if self.service == Service::Google {
            "https://mail.google.com/"
        } else {
            "https://outlook.office.com/SMTP.Send"
        }
    }

    /// What the fault, if it strikes here, has for an answer.
    async fn strike(&self, step: Step, request: &Request) -> Option<Answer> {
        let rule = self.mailbox.strike(step, |_| true, |_| false)?;
        match rule.fault.effect() {
            Effect::Deny(_, denial) => {
                let answer = self.denied(request, denial);
                Some(if rule.fault == Fault::TokenThrottled { answer.after(rule.delay) } else { answer })
            }
            Effect::Cut(_) => Some(Answer::Cut),
            Effect::Special(_) | Effect::Refuse(..) => {
                let FaultRule { delay, .. } = rule;
                tokio::time::sleep(delay).await;
                None
            }
        }
    }

    fn denied(&self, request: &Request, denial: &Denial) -> Answer {
        tracing::debug!(event = "sandbox_token_denied", error = denial.error, number = denial.number);
        let tenant = request.tenant.as_deref().unwrap_or(&self.config.tenant);
        Answer::denied(denial, request.client_id(), tenant)
    }
}

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The scope of an application's own token.
const APPLICATION: &str = "https://outlook.office365.com/.default";
