//! The door for what befalls clients that hand in mail: refusals, habits, waits. Each is counted; what comes over and over is
//! not written each time, since a device that tries again every second would fill the log.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::Observer;
use super::fate::count;
use super::lines::{Line, Lines};
use crate::alarm::Kind;
use crate::alarm::happening::What;
use crate::ids::ClientName;
use crate::route::{Client, Origin};
use crate::session::{LoneDot, Quirk};
use crate::smtp::{Address, Reply, ReversePath};
use crate::time::{since_boot, spoken};

/// What was told of clients, so that it is not told again.
#[derive(Debug, Default)]
pub(super) struct Told {
    refusals: Mutex<Lines>,
    quirks: Mutex<HashSet<(ClientName, Quirk)>>,
}

/// A client was refused.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Who.
    pub client: &'a ClientName,
    /// From where.
    pub origin: Origin,
    /// At which step: `connect`, `mail`, `rcpt`, `data`, `content`, ….
    pub step: &'a str,
    /// With what.
    pub reply: &'a Reply,
    /// As whom it wanted to log in, where that was refused.
    pub user: Option<&'a str>,
    /// From whom the mail would have been.
    pub from: Option<&'a ReversePath>,
    /// To whom.
    pub recipient: Option<&'a Address>,
}

impl Observer {
    /// A client was refused: perhaps a message is lost, since devices do not try again.
    pub fn refused(&self, refused: &Refused<'_>) {
        self.refused_quietly(refused);
        let Refused { client, step, reply, .. } = refused;
        let Some((unwritten, remark)) = self.line(client) else { return };
        let user = refused.user.map(|user| format!(" as user {user}")).unwrap_or_default();
        warn!(
            event = "refused",
            client = %client,
            address = %refused.origin,
            step,
            user = refused.user,
            from = refused.from.map(tracing::field::display),
            to = refused.recipient.map(tracing::field::display),
            reply = %reply,
            status = reply.status().map(tracing::field::display),
            unwritten,
            "refused {client} at {step}{user}: {reply}{remark}",
        );
    }

    /// A client was refused as it was a moment ago: this is counted alone.
    pub fn refused_quietly(&self, refused: &Refused<'_>) {
        let Refused { client, step, reply, .. } = refused;
        self.perhaps_lost(
            client,
            format!(
                "Client {client} was refused at {step} with {reply}. Perhaps a message is lost: devices do not try again."
            ),
        );
    }

    /// A client ended its content in a way that could smuggle mail, got no reply, and left.
    pub fn unterminated(&self, client: &ClientName, origin: Origin, from: &ReversePath, dot: LoneDot) {
        count(&self.counters.unterminated);
        let stood = match dot {
            LoneDot::BetweenLfs => "between bare LFs",
            LoneDot::BesideCrLf => "with CRLF on one side and a bare LF on the other",
        };
        let advice = match (dot, origin) {
            (LoneDot::BetweenLfs, Origin::Ip(address)) => {
                format!("if this is a device of yours, `lf_end = true` in a [[client]] for {address} takes it")
            }
            (LoneDot::BetweenLfs, Origin::Local(user)) => {
                format!("if this is a program of yours, `lf_end = true` in a [[client]] with `user = {user}` takes it")
            }
            (LoneDot::BesideCrLf, _) => "its software has to send CRLF before and behind the dot".to_owned(),
        };
        let sentence = format!(
            "client {client} ended a message with a dot {stood}, which ends none, and left: the message is lost; {advice}"
        );
        self.perhaps_lost(client, sentence.clone());
        let Some((unwritten, remark)) = self.line(client) else { return };
        warn!(
            event = "unterminated",
            client = %client, address = %origin, from = %from, unwritten, "{sentence}{remark}",
        );
    }

    /// A client left, or its connection broke, in the middle of a message.
    pub fn cut_off(&self, client: &ClientName, origin: Origin, from: &ReversePath) {
        let sentence = format!(
            "client {client} hung up in the middle of a message, which is lost unless it sends it again: does it wait long \
             enough, and is its network sound?"
        );
        self.perhaps_lost(client, sentence.clone());
        let Some((unwritten, remark)) = self.line(client) else { return };
        warn!(
            event = "cut_off",
            client = %client, address = %origin, from = %from, unwritten, "{sentence}{remark}",
        );
    }

    /// A client did something beside the rules and was let do it. Told once for each client and habit.
    pub fn quirk(&self, client: &Client, origin: Origin, quirk: Quirk) {
        count(&self.counters.quirks);
        if !self.told.is_news(client, quirk) {
            return;
        }
        let (name, word, told) = (&client.name, quirk.as_str(), quirk.told());
        let sentence = format!("client {name} {told}; it is understood all the same");
        if quirk == Quirk::NoQuit {
            // Many devices go this way, by design: nothing is amiss.
            debug!(event = "quirk", client = %name, address = %origin, quirk = word, "{sentence}");
        } else {
            info!(event = "quirk", client = %name, address = %origin, quirk = word, "{sentence}");
        }
    }

    /// A connection was no attempt to send mail.
    pub fn probe(&self, client: &ClientName, origin: Origin) {
        count(&self.counters.probes);
        debug!(event = "probe", client = %client, address = %origin, "{client} has looked whether somebody is there");
    }

    /// A client has sent more than its rate, and is not read for so long.
    pub fn slowed(&self, client: &ClientName, origin: Origin, pause: Duration) {
        info!(
            event = "slowed",
            client = %client,
            address = %origin,
            seconds = pause.as_secs_f64(),
            "client {client} sends more than its `rate`: it is read again in {}, and later from now on; nothing is refused",
            spoken(pause),
        );
    }

    /// Counts what may be a lost message.
    fn perhaps_lost(&self, client: &ClientName, sentence: String) {
        count(&self.counters.refused);
        self.happened(Kind::ClientRefused, client.as_str(), sentence, What::Happened(1));
    }

    /// Whether a line of this client is written: how many before it were not, where any were, and what it says of that.
    fn line(&self, client: &ClientName) -> Option<(Option<u64>, String)> {
        let line = self.told.refusals.lock().unwrap_or_else(PoisonError::into_inner).admit(client, since_boot());
        let Line::Written { before, last } = line else { return None };
        let unwritten = (before > 0).then_some(before);
        Some((unwritten, remark(unwritten, last)))
    }
}

impl Told {
    /// Whether this is told for the first time. Of clients without a name, who may be any number, so many habits are told.
    fn is_news(&self, client: &Client, quirk: Quirk) -> bool {
        let mut told = self.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        (client.is_configured() || told.len() < MAX_HABITS) && told.insert((client.name.clone(), quirk))
    }
}

/// What a line says of those that are not written.
fn remark(unwritten: Option<u64>, last: bool) -> String {
    let before = unwritten.map(|count| format!(" ({count} before it not written)")).unwrap_or_default();
    let last = if last { " (more of this client are counted, and two a minute written)" } else { "" };
    before + last
}

/// Habits of clients that are remembered before those of clients without a name are told no more.
const MAX_HABITS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_is_news_once_for_each_client_and_memory_is_bounded() {
        let told = Told::default();
        let camera = Client::named("10.0.0.5".into());
        assert!(told.is_news(&camera, Quirk::BareLfCommand));
        assert!(!told.is_news(&camera, Quirk::BareLfCommand));
        assert!(told.is_news(&camera, Quirk::NoHelo));
        assert!(told.is_news(&Client::named("10.0.0.6".into()), Quirk::BareLfCommand));
        for number in 0..MAX_HABITS {
            told.is_news(&Client::named(format!("stranger-{number}").as_str().into()), Quirk::NoHelo);
        }
        assert!(!told.is_news(&Client::named("10.0.0.7".into()), Quirk::NoHelo));
        assert_eq!(told.quirks.lock().unwrap().len(), MAX_HABITS);
        let networks = vec!["10.0.0.8/32".parse().unwrap()];
        let scanner = Client { networks, ..Client::named("scanner".into()) };
        assert!(told.is_news(&scanner, Quirk::NoHelo), "those with a name are few");
        assert!(!told.is_news(&scanner, Quirk::NoHelo));
    }

    #[test]
    fn each_refusal_is_counted_whether_it_is_written_or_not() {
        let observer = Observer::default();
        let reply = Reply::new(550, "5.7.1 no");
        let client = ClientName::from("camera");
        let origin = Origin::Local(33);
        let refused =
            Refused { client: &client, origin, step: "mail", reply: &reply, user: None, from: None, recipient: None };
        (0..300).for_each(|_| observer.refused(&refused));
        observer.refused_quietly(&refused);
        observer.unterminated(&client, origin, &ReversePath::Null, LoneDot::BetweenLfs);
        let counts = observer.counts();
        assert_eq!((counts.refused, counts.unterminated), (302, 1));
        let told: Vec<What> = observer.take_events().into_iter().map(|event| event.what).collect();
        assert_eq!(told, [What::Happened(302)]);
    }

    #[test]
    fn lf_end_is_advised_only_to_whom_a_client_can_be_made_for() {
        let observer = Observer::default();
        let name = ClientName::from("camera");
        let advises = |origin, dot| {
            observer.unterminated(&name, origin, &ReversePath::Null, dot);
            observer.take_events().iter().any(|event| event.sentence.contains("lf_end"))
        };
        let device = Origin::Ip([10, 0, 0, 5].into());
        assert!(advises(device, LoneDot::BetweenLfs));
        assert!(!advises(device, LoneDot::BesideCrLf));
        assert!(advises(Origin::Local(33), LoneDot::BetweenLfs));
    }
}
