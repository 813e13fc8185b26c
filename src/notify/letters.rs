//! News by mail: never more than four in an hour, by another account than the one in trouble where there is one.

use super::{ALARMS, Notifier, hostname, unless_full};
use crate::alarm::{News, Telling};
use crate::config::{AccountConfig, Config};
use crate::ids::{AccountName, RouteName};
use crate::intake::OwnMail;
use crate::message::letter::{Letterhead, letter};
use crate::queue::record::{Fate, Shown};
use crate::queue::{QueueStore, StoreError, Urgency};
use crate::route::{self, Priority};
use crate::smtp::{Address, Envelope, ReversePath};

impl Notifier {
    /// Mails what is pending where that may be, and keeps what has been told.
    pub(super) async fn mail(&mut self, config: &Config) -> Result<(), StoreError> {
        let now = self.queue.now();
        if let Some(waiting) = self.told.mails.waiting() {
            let shown = self.queue.read(move |reader, now| reader.show(waiting, now)).await?;
            if !still_waits(shown.as_ref()) {
                self.told.mails.left(now);
            }
        }
        if self.told.mails.may_write(now)
            && let Some(mail) = self.compose(config)
        {
            let mut told = self.told.clone();
            let written = self.intake.post(mail, move |store, id| {
                // What this mail tells is told once it is in the queue, and not before.
                told.mails.written(id);
                store.keep(ALARMS, &serde_json::to_string(&told).unwrap_or_default())
            });
            if let Some(id) = unless_full(written.await)? {
                self.told.mails.written(id);
                self.kept = serde_json::to_string(&self.told).unwrap_or_default();
                return Ok(());
            }
        }
        let text = serde_json::to_string(&self.told).unwrap_or_default();
        if text != self.kept {
            let keep = text.clone();
            let work = move |store: &mut dyn QueueStore, _| store.keep(ALARMS, &keep);
            if unless_full(self.queue.write(Urgency::Work, work).await)?.is_some() {
                self.kept = text;
            }
        }
        Ok(())
    }

    /// The next mail; none where no account has an address of its own.
    fn compose(&self, config: &Config) -> Option<OwnMail> {
        let (pending, more) = self.told.mails.pending();
        let troubled = pending.iter().filter(|telling| telling.news != News::Over).find_map(|one| one.account.as_ref());
        let route = troubled.map_or_else(|| route::DEFAULT.into(), route::avoiding);
        let from = own_address(config, &route, None)?;
        let head = Letterhead { hostname: hostname(config), from: &from, to: &config.alarms.to };
        let content = letter(&head, &subject(pending, hostname(config)), &text(pending, more));
        Some(own_mail(config, &from, config.alarms.to.clone(), Priority::High, route, content))
    }
}

pub(super) fn own_mail(
    config: &Config,
    from: &Address,
    to: Vec<Address>,
    priority: Priority,
    route: RouteName,
    content: Vec<u8>,
) -> OwnMail {
    let envelope = Envelope { reverse_path: ReversePath::Address(from.clone()), recipients: to };
    OwnMail { hostname: hostname(config).into(), priority, route, envelope, content }
}

/// The address of this account or, where it has none, of the first of the route that has one.
pub(super) fn own_address(config: &Config, route: &RouteName, account: Option<&AccountName>) -> Option<Address> {
    let preferred = account.and_then(|name| config.account(name));
    let others = route::order(route, &config.accounts, |account: &AccountConfig| &account.name);
    preferred.into_iter().chain(others).find_map(|account| account.sender.from.clone())
}

/// A mail that a person holds or has to settle is out of our hands.
fn still_waits(shown: Option<&Shown>) -> bool {
    shown.is_some_and(|shown| matches!(shown.listed.fate, Fate::Waiting | Fate::Sending))
}

fn subject(pending: &[Telling], hostname: &str) -> String {
    let what = match pending {
        [one] => {
            let news = match one.news {
                News::Raised => "",
                News::Repeated => "still: ",
                News::Over => "over: ",
            };
            let of = if one.subject.is_empty() { String::new() } else { format!(" ({})", one.subject) };
            format!("{news}{}{of}", one.kind.spoken())
        }
        several => format!("{} alarms", several.len()),
    };
    format!("Mailsluice on {hostname}: {what}")
}

fn text(pending: &[Telling], more: u64) -> String {
    let mut text = String::new();
    for telling in pending {
        let Telling { kind, subject, sentence, since, news, .. } = telling;
        let gap = if subject.is_empty() { "" } else { " " };
        text += &format!("{kind}{gap}{subject}, {}, since {since}\n{sentence}\n\n", news.as_str());
    }
    if more > 0 {
        text += &format!("{more} more have come before; the log has them: events `alarm` and `alarm_over`.\n\n");
    }
    text + "What is still so is told again in a day, and there are never more than four of these mails in an hour.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::Kind;
    use crate::time::Timestamp;

    #[test]
    fn a_mail_tells_everything_that_has_waited_for_it() {
        let telling = |subject: &str, news| Telling {
            kind: Kind::LanePaused,
            subject: subject.into(),
            sentence: format!("Account {subject} is paused."),
            since: Timestamp::from_secs(1_800_000_000),
            news,
            account: None,
        };
        let pending = [telling("m365", News::Raised), telling("ses", News::Over)];
        let subject = |pending: &[Telling]| subject(pending, "relay");
        assert_eq!(subject(&pending[..1]), "Mailsluice on relay: an account sends nothing (m365)");
        assert_eq!(subject(&pending[1..]), "Mailsluice on relay: over: an account sends nothing (ses)");
        assert_eq!(subject(&pending), "Mailsluice on relay: 2 alarms");
        let text = text(&pending, 3);
        for wanted in ["lane_paused m365, raised, since 2027-01-15", "Account ses is paused.", "ses, over", "3 more"] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    }
}
