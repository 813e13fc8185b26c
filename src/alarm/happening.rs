//! What other parts of the program say has happened, as conditions. What happens lasts until an hour has passed without another;
//! what begins lasts until it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Condition, Kind, Nature};
use crate::time::Timestamp;

/// Something that happened, began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub kind: Kind,
    /// Of whom or what.
    pub subject: String,
    /// The last one, in a sentence.
    pub sentence: String,
    /// Which.
    pub what: What,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It happened so many times.
    Happened(u64),
    /// It began.
    Began,
    /// It ended.
    Ended,
}

/// What is so, or has happened of late; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happenings {
    each: Vec<Happening>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Happening {
    kind: Kind,
    subject: String,
    nature: Nature,
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
            one.what = match (one.what, event.what) {
                (What::Happened(before), What::Happened(count)) => What::Happened(before.saturating_add(count)),
                (_, what) => what,
            };
        }
        None => collected.push(Event { subject, ..event }),
    }
}

impl Happenings {
    /// Notes what has happened.
    pub fn note(&mut self, event: Event, now: Timestamp) {
        let subject = told_apart(self.each.iter().map(|one| (&one.kind, one.subject.as_str())), &event);
        let (nature, count) = match event.what {
            What::Happened(count) => (Nature::Happens, count),
            What::Began => (Nature::Lasts, 1),
            What::Ended => return self.each.retain(|one| one.kind != event.kind || one.subject != subject),
        };
        match self.each.iter_mut().find(|one| one.kind == event.kind && one.subject == subject) {
            Some(one) => {
                one.sentence = event.sentence;
                one.nature = nature;
                one.count = one.count.saturating_add(count);
                one.last = now;
            }
            None => self.each.push(Happening {
                kind: event.kind,
                subject,
                nature,
                sentence: event.sentence,
                count,
                first: now,
                last: now,
            }),
        }
    }

    /// What had begun in a process that has ended is not known to go on; where it does, it begins again.
    pub fn after_restart(&mut self) {
        self.each.retain(|one| one.nature == Nature::Happens);
    }

    /// What is so, and what has happened within the last hour; what has not is forgotten.
    pub fn conditions(&mut self, now: Timestamp) -> Vec<Condition> {
        self.each.retain(|one| one.nature == Nature::Lasts || now.since(one.last) < QUIET);
        let conditions = self.each.iter().map(|one| Condition {
            kind: one.kind.clone(),
            subject: one.subject.clone(),
            nature: one.nature,
            sentence: match (one.nature, one.count) {
                (Nature::Happens, 2..) => format!("{} ({} times since {})", one.sentence, one.count, one.first),
                _ => one.sentence.clone(),
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
        let passing = self.each.iter().filter(|one| one.nature == Nature::Happens);
        passing.map(|one| one.last.after(QUIET)).min()
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
        Event { kind: Kind::ClientRefused, subject: client.into(), sentence, what: What::Happened(1) }
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
        assert_eq!((collected.len(), collected[100].what), (101, What::Happened(900)));
    }

    #[test]
    fn what_began_lasts_until_it_ends_or_the_process_does() {
        let mut happenings = Happenings::default();
        let full = |what| Event {
            kind: Kind::Other("disk_full".into()),
            subject: "claims".into(),
            sentence: "The disk is full.".into(),
            what,
        };
        happenings.note(full(What::Began), at(0));
        happenings.note(refused("camera"), at(0));
        assert_eq!(happenings.next(), Some(at(3600)));
        let conditions = happenings.conditions(at(86_400));
        assert_eq!((conditions.len(), conditions[0].nature), (1, Nature::Lasts));
        let mut restarted = happenings.clone();
        restarted.after_restart();
        assert_eq!(restarted.conditions(at(86_400)), []);
        happenings.note(full(What::Ended), at(86_401));
        assert_eq!(happenings.conditions(at(86_401)), []);

        let mut collected = vec![];
        collect(&mut collected, full(What::Began));
        collect(&mut collected, full(What::Ended));
        assert_eq!((collected.len(), collected[0].what), (1, What::Ended));
    }
}
