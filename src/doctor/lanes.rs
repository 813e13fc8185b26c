//! What the daemon says of itself and of its accounts.

use std::time::Duration;

use super::Finding;
use crate::control::request::AccountStanding;
use crate::time::spoken;

/// How the daemon answered.
#[derive(Clone, Debug)]
pub enum Answered {
    /// It did; its process, and how its accounts stand.
    Yes(Option<u32>, Vec<AccountStanding>),
    /// Nobody did.
    Nobody,
    /// It could not be asked.
    No(String),
}

/// What to make of it.
pub fn judge(answered: &Answered) -> Vec<Finding> {
    match answered {
        Answered::Nobody => vec![Finding::warning(
            DAEMON,
            "no daemon runs with this queue",
            "start it: `systemctl enable --now mailsluice`, or `mailsluice serve`; its log says why it stopped",
        )],
        Answered::No(why) => vec![Finding::failed(DAEMON, why.clone(), "see the daemon's log, or run this as root")],
        Answered::Yes(process, accounts) => {
            let process = process.map(|process| format!(" (pid {process})")).unwrap_or_default();
            let mut findings = vec![Finding::ok(DAEMON, format!("the daemon answers{process}"))];
            findings.extend(accounts.iter().map(lane));
            findings
        }
    }
}

fn lane(account: &AccountStanding) -> Finding {
    let (name, standing) = (&account.account, &account.standing);
    if standing == "open" {
        return Finding::ok(LANE, format!("account {name} is open"));
    }
    let since = account.stopped_seconds.map(|seconds| spoken(Duration::from_secs(seconds))).unwrap_or_default();
    let cause = account.cause.as_deref().unwrap_or("no cause is known");
    let reply = account.reply.as_ref().map(|reply| format!(" The provider said: {reply}")).unwrap_or_default();
    let seen = format!("account {name} is {standing} for {since}; its mail waits. {cause}{reply}");
    if standing == "resting" {
        return Finding::warning(
            LANE,
            seen,
            "nothing: it goes on by itself; find out what else sends with this mailbox",
        );
    }
    Finding::failed(LANE, seen, format!("mend it, then: mailsluice account resume {name}"))
}

const DAEMON: &str = "daemon";
const LANE: &str = "account";

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn account(standing: &str) -> AccountStanding {
        AccountStanding {
            account: "m365".into(),
            provider: "microsoft365".into(),
            login: None,
            host: "smtp.office365.com".into(),
            standing: standing.into(),
            cause: Some("The password is wrong.".into()),
            reply: Some("535 5.7.3 no".into()),
            stopped_seconds: Some(90),
            next_probe_in: None,
            sending: 0,
            connections: 3,
            pace: None,
            caps: vec![],
            shares: vec![],
            next_slot_in: None,
        }
    }

    #[test]
    fn a_stopped_account_is_told_with_its_cause() {
        for (standing, wanted) in [("open", Standing::Ok), ("resting", Standing::Warning), ("paused", Standing::Failed)]
        {
            let findings = judge(&Answered::Yes(Some(7), vec![account(standing)]));
            assert_eq!(findings[0].seen, "the daemon answers (pid 7)");
            assert_eq!(findings[1].standing, wanted, "{findings:?}");
            let cause =
                findings[1].seen.contains("for 90 s; its mail waits. The password is wrong. The provider said: 535");
            assert_eq!(cause, standing != "open", "{findings:?}");
        }
        assert_eq!(judge(&Answered::Nobody)[0].standing, Standing::Warning);
        assert_eq!(judge(&Answered::No("x".into()))[0].standing, Standing::Failed);
    }
}
