//! What ends by itself: secrets, certificates, and password logins at Microsoft. The alarms know them; here they are judged
//! as of now.

use super::Finding;
use crate::alarm::Kind;
use crate::alarm::sight::Ending;
use crate::config::Config;
use crate::config::certificate::days_until;
use crate::notify::endings;
use crate::time::Timestamp;

/// Judges everything of the configuration that ends. Reads certificates; blocking.
pub fn judge(config: &Config, now: Timestamp) -> Vec<Finding> {
    endings::read(config).iter().map(|ending| judge_one(ending, now)).collect()
}

fn judge_one(ending: &Ending, now: Timestamp) -> Finding {
    let Ending { kind, what, ends, remedy, .. } = ending;
    // The date of the time in UTC.
    let day: String = ends.to_string().chars().take("2026-11-24".len()).collect();
    let left = days_until(*ends, now);
    match (kind, left) {
        // An administrator may have switched them on again.
        (Kind::PasswordLoginEnds, ..0) => {
            Finding::warning(CHECK, format!("{what} are off by default since {day}"), *remedy)
        }
        (Kind::PasswordLoginEnds, _) => {
            Finding::warning(CHECK, format!("{what} are off by default from {day} on, in {left} days"), *remedy)
        }
        (_, ..0) => Finding::failed(CHECK, format!("{what} ended on {day}"), *remedy),
        (_, 0..=WARNED) => Finding::warning(CHECK, format!("{what} ends on {day}, in {left} days"), *remedy),
        _ => Finding::ok(CHECK, format!("{what} ends on {day}, in {left} days")),
    }
}

const CHECK: &str = "dates";
const WARNED: i64 = 30;

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;
    use crate::config::Surroundings;
    use crate::time::day_begins;

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
            let ends = day_begins(year, month, day).unwrap();
            let ending = Ending {
                kind: Kind::SecretExpires,
                subject: "m365".into(),
                what: "The password".into(),
                ends,
                remedy: "renew it",
            };
            let finding = judge_one(&ending, now());
            assert!(finding.standing == standing && finding.seen.contains(wanted), "{finding:?}");
        }
    }

    #[test]
    fn a_password_at_microsoft_is_warned_of_until_there_is_oauth() {
        let password = "password = { env = \"P\" }\n";
        let [finding] = &judge(&config(password), now())[..] else { panic!() };
        assert!(finding.standing == Standing::Warning && finding.seen.contains("in 38 days"), "{finding:?}");
        let oauth = "[account.oauth]\ntenant = \"example.com\"\nclient_id = \"x\"\nclient_secret = { env = \"S\" }\nexpires = 2026-12-01\n";
        let findings = judge(&config(&format!("{password}{oauth}")), now());
        let standings: Vec<_> = findings.iter().map(|one| one.standing).collect();
        assert_eq!(standings, [Standing::Warning], "{findings:?}");
        assert!(findings[0].seen.contains("client secret") && findings[0].seen.contains("in 7 days"), "{findings:?}");
    }
}
