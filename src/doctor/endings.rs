//! What ends by itself: secrets, certificates, and password logins at Microsoft.

use std::path::PathBuf;

use super::Finding;
use crate::config::certificate::{Certificate, days_until};
use crate::config::{AccountConfig, ClientProof, Config, Destination, SmtpEndpoint};
use crate::provider::Provider;
use crate::time::{Timestamp, day_begins};

/// Judges everything of the configuration that ends. Reads certificates; blocking.
pub fn judge(config: &Config, now: Timestamp) -> Vec<Finding> {
    let of_account = |account: &AccountConfig| match &account.destination {
        Destination::Smtp(endpoint) => of_endpoint(account, endpoint, now),
        Destination::Directory(_) => Vec::new(),
    };
    config.accounts.iter().flat_map(of_account).collect()
}

fn of_endpoint(account: &AccountConfig, endpoint: &SmtpEndpoint, now: Timestamp) -> Vec<Finding> {
    let name = &account.name;
    let mut findings = Vec::new();
    let mut certificates: Vec<&PathBuf> = Vec::new();
    certificates.extend(endpoint.certificate.as_ref().map(|own| &own.certificate));
    if let Some(login) = &endpoint.login {
        if let Some(expires) = login.password.as_ref().and_then(|password| password.expires) {
            findings.push(ending(&format!("the password of account {name}"), expires, now, RENEW));
        }
        if let Some(oauth) = &login.oauth {
            findings.extend(
                oauth.expires.map(|at| ending(&format!("the client secret of account {name}"), at, now, RENEW_SECRET)),
            );
            if let ClientProof::Certificate { certificate, .. } = &oauth.proof {
                certificates.push(certificate);
            }
        }
        if account.provider == Provider::Microsoft365 && login.password.is_some() {
            findings.push(basic_authentication(account, login.oauth.is_some(), now));
        }
    }
    findings.extend(certificates.into_iter().map(|path| match Certificate::of_file(path) {
        Ok(found) if found.begins > now => Finding::failed(
            CHECK,
            format!("the certificate {} of account {name} counts from {} on only", path.display(), day(found.begins)),
            "wait, or set the clock if it is wrong",
        ),
        Ok(found) => ending(&format!("the certificate {} of account {name}", path.display()), found.ends, now, RENEW),
        Err(why) => Finding::failed(CHECK, format!("account {name}: {why}"), "name a PEM file with the certificate"),
    }));
    findings
}

/// Something that ends at `ends`.
pub fn ending(what: &str, ends: Timestamp, now: Timestamp, advice: &str) -> Finding {
    let day = day(ends);
    match days_until(ends, now) {
        ..0 => Finding::failed(CHECK, format!("{what} ended on {day}"), advice),
        left @ 0..=WARNED => Finding::warning(CHECK, format!("{what} ends on {day}, in {left} days"), advice),
        left => Finding::ok(CHECK, format!("{what} ends on {day}, in {left} days")),
    }
}

/// What Microsoft announced in January 2026 of password logins.
fn basic_authentication(account: &AccountConfig, has_oauth: bool, now: Timestamp) -> Finding {
    let name = &account.name;
    if has_oauth {
        return Finding::ok(CHECK, format!("account {name} has OAuth beside its password, for when passwords end"));
    }
    let end = day_begins(2026, 12, 31).unwrap_or(Timestamp::EPOCH);
    let when = if end > now { format!("in {} days", days_until(end, now)) } else { "now".into() };
    Finding::warning(
        CHECK,
        format!(
            "account {name} logs in with a password, which Microsoft 365 switches off by default at the end of 2026 ({when})"
        ),
        "move to OAuth: README.md, \"Move to OAuth\"; an administrator can switch passwords on again for a while",
    )
}

/// The date of a time, in UTC.
fn day(time: Timestamp) -> String {
    time.to_string().chars().take("2026-11-24".len()).collect()
}

const CHECK: &str = "dates";
const WARNED: i64 = 30;
const RENEW: &str = "renew it, and put the new one in its place: it counts without a restart";
const RENEW_SECRET: &str = "make a new client secret in Entra (App registrations, Certificates & secrets), put it in its file, change `expires`";

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;
    use crate::config::Surroundings;

    fn config(account: &str) -> Config {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[account]]\nname = \"m365\"\nprovider = \"microsoft365\"\n\
             username = \"web@example.com\"\n{account}"
        );
        let around = Surroundings {
            folder: "/etc/mailsluice".into(),
            hostname: "relay".into(),
            variable: |_| None,
            reads_secrets: false,
        };
        Config::parse(&text, "config.toml", &around).unwrap()
    }

    fn now() -> Timestamp {
        day_begins(2026, 11, 24).unwrap()
    }

    #[test]
    fn days_are_counted_to_the_end() {
        for (date, standing, wanted) in [
            ((2026, 11, 23), Standing::Failed, "ended on 2026-11-23"),
            ((2026, 11, 24), Standing::Warning, "in 0 days"),
            ((2026, 12, 24), Standing::Warning, "in 30 days"),
            ((2026, 12, 25), Standing::Ok, "in 31 days"),
        ] {
            let (year, month, day) = date;
            let finding = ending("x", day_begins(year, month, day).unwrap(), now(), RENEW);
            assert!(finding.standing == standing && finding.seen.contains(wanted), "{finding:?}");
        }
    }

    #[test]
    fn a_password_at_microsoft_is_warned_of_until_there_is_oauth() {
        let password = "password = { env = \"P\" }\n";
        let [finding] = &judge(&config(password), now())[..] else { panic!() };
        assert!(finding.standing == Standing::Warning && finding.seen.contains("in 37 days"), "{finding:?}");
        let oauth = "[account.oauth]\ntenant = \"example.com\"\nclient_id = \"x\"\nclient_secret = { env = \"S\" }\nexpires = 2026-12-01\n";
        let findings = judge(&config(&format!("{password}{oauth}")), now());
        let standings: Vec<_> = findings.iter().map(|one| one.standing).collect();
        assert_eq!(standings, [Standing::Warning, Standing::Ok], "{findings:?}");
        assert!(findings[0].seen.contains("client secret") && findings[0].seen.contains("in 7 days"), "{findings:?}");
    }
}
