//! A mail that shows that mail arrives. It is queued like every other, so it is stored, paced and charged.

use std::net::Ipv4Addr;

use super::request::Answer;
use crate::config::Config;
use crate::intake::{Intake, Submission, Trace};
use crate::route::{Origin, Priority};
use crate::session::Refusal;
use crate::smtp::{Address, Envelope, ReversePath};

/// Queues a test mail, from the first account's own address where no other is given.
pub(super) async fn queue(intake: &Intake, config: &Config, from: Option<Address>, to: Address) -> Answer {
    let own = || config.accounts.iter().find_map(|account| account.sender.from.clone());
    let Some(from) = from.or_else(own) else {
        return Answer::Refused("no account has an address of its own to send from: write one as its `from`".into());
    };
    let hostname = config.listeners.first().map_or("localhost", |listener| &listener.hostname).to_owned();
    let id = intake.next_id();
    let head = content(&hostname, &from, &to).into_bytes();
    let submission = Submission {
        id,
        client: CLIENT.into(),
        priority: Priority::Normal,
        user: None,
        trace: Trace {
            origin: Origin::Ip(Ipv4Addr::LOCALHOST.into()),
            helo: hostname.clone(),
            hostname,
            protocol: "SMTP",
        },
        envelope: Envelope { reverse_path: ReversePath::Address(from), recipients: vec![to] },
        aliased: Vec::new(),
        size: head.len() as u64,
        head,
        chunks: 0,
    };
    match intake.accept(submission).await {
        Ok(id) => Answer::Queued(id),
        Err(refusal) => Answer::Refused(explained(&refusal)),
    }
}

/// All ASCII, lines of fewer than 78 characters but for addresses.
fn content(hostname: &str, from: &Address, to: &Address) -> String {
    format!(
        "From: Mailsluice <{from}>\r\n\
         To: <{to}>\r\n\
         Subject: Test mail of Mailsluice\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         \r\n\
         Mailsluice on {hostname} sent this mail to show that mail arrives.\r\n\
         \r\n\
         It went the way that all mail goes: stored, paced, and delivered by the\r\n\
         account's login. Look at its header too: whether the sender is the one\r\n\
         that people shall see, and whether SPF and DKIM passed.\r\n"
    )
}

fn explained(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Full => "the queue takes nothing more: the disk or max_bytes is full".into(),
        Refusal::SenderNotAllowed { allowed, .. } => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            format!("no account sends for this sender; allowed: {}", allowed.join(", "))
        }
        Refusal::TooManyHops => "the mail goes round in circles".into(),
        Refusal::Unavailable => "the queue has failed: see the log".into(),
    }
}

/// By which the log and lists tell test mails apart.
const CLIENT: &str = "test";
