//! Things that happen, as conditions: one that has happened lasts until an hour has passed without another.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Condition, Kind};
use crate::time::Timestamp;

/// Something that happened, perhaps several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub kind: Kind,
    /// Of whom or what.
    pub subject: String,
    /// The last one, in a sentence.
    pub sentence: String,
    /// How many there were.
    pub count: u64,
}

/// What has happened of late; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happenings {
    each: Vec<Happening>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Happening {
    kind: Kind,
    subject: String,
    sentence: String,
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// Adds to what has been collected: of one kind and subject once. Where there are too many subjects of a kind, the others
/// are one.
pub fn collect(collected: &mut Vec<Event>, event: Event) {
    let subject = told_apart(collected.iter().map(|one| (&one.kind, one.subject.as_str())), &event);
    match collected.iter_mut().find(|one| one.kind == event.kind && one.subject == subject) {
        Some(one) => {
            one.sentence = event.sentence;
            one.count = one.count.saturating_add(event.count);
        }
        None => collected.push(Event { subject, ..event }),
    }
}

impl Happenings {
    /// Notes what has happened.
    pub fn note(&mut self, event: Event, now: Timestamp) {
        let subject = told_apart(self.each.iter().map(|one| (&one.kind, one.subject.as_str())), &event);
        match self.each.iter_mut().find(|one| one.kind == event.kind && one.subject == subject) {
            Some(one) => {
                one.sentence = event.sentence;
                one.count = one.count.saturating_add(event.count);
                one.last = now;
            }
            None => self.each.push(Happening {
                kind: event.kind,
                subject,
                sentence: event.sentence,
                count: event.count,
                first: now,
                last: now,
            }),
        }
    }

    /// What has happened within the last hour; what has not is forgotten.
    pub fn conditions(&mut self, now: Timestamp) -> Vec<Condition> {
        self.each.retain(|one| now.since(one.last) < QUIET);
        let conditions = self.each.iter().map(|one| Condition {
            kind: one.kind.clone(),
            subject: one.subject.clone(),
            sentence: match one.count {
                1 => one.sentence.clone(),
                count => format!("{} ({count} times since {})", one.sentence, one.first),
            },
            since: one.first,
            patience: Duration::ZERO,
            stage: 0,
            account: None,
        });
        conditions.collect()
    }

    /// When the next of them is forgotten.
    pub fn next(&self) -> Option<Timestamp> {
        self.each.iter().map(|one| one.last.after(QUIET)).min()
    }
}

/// The subject of an event beside those that are known.
fn told_apart<'a>(known: impl Iterator<Item = (&'a Kind, &'a str)>, event: &Event) -> String {
    let mut of_kind = 0;
    for (_, subject) in known.filter(|(kind, _)| **kind == event.kind) {
        if subject == event.subject {
            return event.subject.clone();
        }
        of_kind += 1;
    }
    if of_kind < SUBJECTS { event.subject.clone() } else { OTHERS.into() }
}

/// How long nothing must happen before it is over.
const QUIET: Duration = Duration::from_secs(3600);
/// Subjects of one kind that are told apart.
const SUBJECTS: usize = 100;
/// All the others.
const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(client: &str) -> Event {
        let sentence = format!("{client} was refused.");
        Event { kind: Kind::ClientRefused, subject: client.into(), sentence, count: 1 }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn what_happens_again_and_again_is_one_condition_until_an_hour_without_it() {
        let mut happenings = Happenings::default();
        for second in 0..5000 {
            happenings.note(refused("camera"), at(second));
        }
        happenings.note(refused("printer"), at(5000));
        let conditions = happenings.conditions(at(5000));
        let told: Vec<&str> = conditions.iter().map(|one| one.sentence.as_str()).collect();
        assert_eq!(told, ["camera was refused. (5000 times since 1970-01-01T00:00:00.000Z)", "printer was refused."]);
        assert_eq!(happenings.next(), Some(at(4999 + 3600)));
        assert_eq!(happenings.conditions(at(4998 + 3600)).len(), 2);
        assert_eq!(happenings.conditions(at(4999 + 3600)).len(), 1);
        assert_eq!(happenings.conditions(at(5000 + 3600)), []);
    }

    #[test]
    fn strangers_without_number_are_one() {
        let (mut happenings, mut collected) = (Happenings::default(), Vec::new());
        for stranger in 0..1000 {
            happenings.note(refused(&format!("10.0.{}.{}", stranger / 256, stranger % 256)), at(0));
            collect(&mut collected, refused(&format!("10.0.{}.{}", stranger / 256, stranger % 256)));
        }
        let conditions = happenings.conditions(at(0));
        assert_eq!((conditions.len(), conditions[100].subject.as_str()), (101, "others"));
        assert!(conditions[100].sentence.contains("(900 times"), "{}", conditions[100].sentence);
        assert_eq!((collected.len(), collected[100].count), (101, 900));
    }
}
