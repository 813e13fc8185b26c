//! What is the matter, from what is seen of lanes, caps, the queue, the disk and the dates on which secrets end.

use std::time::Duration;

use super::{Condition, Kind, Nature};
use crate::ids::AccountName;
use crate::provider::{Cap, Counted};
use crate::schedule::cap::LONG_WINDOW;
use crate::schedule::lane::{CauseKind, Lane, Standing};
use crate::time::{Timestamp, spoken};

/// From when on it is trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// How much of a cap of an hour or more may be used.
    pub quota_percent: u32,
    /// How long a message may wait.
    pub queue_age: Duration,
}

/// What is seen.
#[derive(Clone, Debug)]
pub struct Sight {
    /// How each account stands.
    pub lanes: Vec<(AccountName, Lane)>,
    /// How much of each cap is used. Accounts with one login have one ledger: the first of them is named.
    pub quotas: Vec<Quota>,
    /// How long the oldest message has waited.
    pub oldest: Option<Duration>,
    /// How much room there is.
    pub room: Room,
    /// What ends on a known day.
    pub endings: Vec<Ending>,
}

/// How much of a cap is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of this account.
    pub account: AccountName,
    /// The cap.
    pub cap: Cap,
    /// What occupies it.
    pub used: u64,
}

/// How much room there is for mail, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Mail that is kept.
    pub live: u64,
    /// Beyond which clients are refused.
    pub max_bytes: u64,
    /// Free where the queue lies; none where that cannot be told.
    pub free: Option<u64>,
    /// Below which clients are refused.
    pub min_free: u64,
}

/// Something that ends on a known day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What kind of alarm it is.
    pub kind: Kind,
    /// Whose.
    pub subject: String,
    /// What ends: `the password of account m365`.
    pub what: String,
    /// When.
    pub ends: Timestamp,
    /// What to do.
    pub remedy: &'static str,
}

/// What is the matter now. Days are counted by the clock on the wall.
pub fn conditions(sight: &Sight, thresholds: Thresholds, now: Timestamp, wall: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<Condition> =
        sight.lanes.iter().filter_map(|(account, lane)| stopped(account, lane)).collect();
    // A lane that rests because its quota is spent has been told of.
    for quota in &sight.quotas {
        let told =
            conditions.iter().any(|one| one.kind == Kind::QuotaNearlySpent && (one.subject == quota.account.as_str()));
        conditions.extend(nearly_spent(quota, thresholds, now).filter(|_| !told));
    }
    conditions.extend(short(&sight.room, now));
    conditions.extend(sight.oldest.filter(|oldest| *oldest > thresholds.queue_age).map(|oldest| old(oldest, now)));
    conditions.extend(sight.endings.iter().filter_map(|ending| ends(ending, now, wall)));
    conditions
}

/// When Microsoft switches password logins for SMTP off by default: 2027-01-01 (techcommunity.microsoft.com, *Updated Exchange
/// Online SMTP AUTH Basic Authentication Deprecation Timeline*, January 2026).
pub const PASSWORD_LOGINS_END: Timestamp = Timestamp::from_secs(1_798_761_600);

/// An operator knows of a pause of his own; a rest for rate is a matter of seconds.
fn stopped(account: &AccountName, lane: &Lane) -> Option<Condition> {
    let stop = lane.stop()?;
    let (kind, patience, stage) = match stop.cause.kind {
        CauseKind::Operator | CauseKind::Rate => return None,
        CauseKind::Quota => (Kind::QuotaNearlySpent, Duration::ZERO, 0),
        CauseKind::Connect | CauseKind::LoginLater => (Kind::LanePaused, PASSES_BY_ITSELF, 1),
        CauseKind::Login | CauseKind::Account | CauseKind::Suspicion => (Kind::LanePaused, Duration::ZERO, 0),
    };
    let stands = match lane.standing {
        Standing::Resting(_) => "rests",
        _ => "is paused",
    };
    let reply = stop.cause.reply.as_deref().map(|reply| format!(" The provider said: {reply}")).unwrap_or_default();
    Some(Condition {
        kind,
        subject: account.as_str().into(),
        nature: Nature::Lasts,
        sentence: format!("Account {account} {stands} and its mail is kept: {}{reply}", stop.cause.sentence),
        since: stop.since,
        patience,
        stage,
        account: Some(account.clone()),
    })
}

fn nearly_spent(quota: &Quota, thresholds: Thresholds, now: Timestamp) -> Option<Condition> {
    let Quota { account, cap, used } = quota;
    let percent = used.saturating_mul(100) / u64::from(cap.count.max(1));
    if cap.window < LONG_WINDOW || percent < u64::from(thresholds.quota_percent) {
        return None;
    }
    let counted = match cap.counted {
        Counted::Messages => "messages",
        Counted::Recipients => "recipients",
    };
    let sentence = format!(
        "Account {account} has used {used} of the {} {counted} that it may send in {}: once nine tenths are used, only mail of \
         high priority goes on.",
        cap.count,
        spoken(cap.window),
    );
    let (kind, account) = (Kind::QuotaNearlySpent, Some(account.clone()));
    Some(Condition { subject: quota.account.as_str().into(), account, ..plain(kind, sentence, now) })
}

fn short(room: &Room, now: Timestamp) -> Option<Condition> {
    let kept = room.max_bytes - room.max_bytes / 5;
    let sentence = match room.free {
        Some(free) if free < room.min_free.saturating_mul(2) => format!(
            "The disk that holds the queue has {} left. Below {} (`queue.min_free`) clients are refused: free some room.",
            octets(free),
            octets(room.min_free)
        ),
        _ if room.live >= kept => format!(
            "The queue holds {} of mail. Beyond {} (`queue.max_bytes`) clients are refused: see what waits with `mailsluice \
             queue list`, or raise the limit.",
            octets(room.live),
            octets(room.max_bytes)
        ),
        _ => return None,
    };
    Some(plain(Kind::DiskShort, sentence, now))
}

fn old(oldest: Duration, now: Timestamp) -> Condition {
    let sentence = format!(
        "The oldest message has waited for {}: `mailsluice account list` says what it waits for.",
        spoken(Duration::from_secs(oldest.as_secs() / 60 * 60))
    );
    plain(Kind::QueueOld, sentence, now)
}

fn ends(ending: &Ending, now: Timestamp, wall: Timestamp) -> Option<Condition> {
    let Ending { kind, subject, what, ends, remedy } = ending;
    let over = *ends <= wall;
    let left = ends.since(wall);
    let days = u32::try_from(left.as_secs().div_ceil(DAY)).unwrap_or(u32::MAX);
    let announced = *kind == Kind::PasswordLoginEnds;
    let stage = match days {
        _ if over && announced => return None,
        _ if over => 0,
        0..=1 => 1,
        2..=7 => 7,
        8..=30 => 30,
        // The whole of December 2026.
        31 if announced => 30,
        _ => return None,
    };
    let date = ends.to_string().chars().take(DATE).collect::<String>();
    let verb = if announced { "are switched off by default" } else { "ends" };
    let sentence = match days {
        _ if over => format!("{what} has ended on {date}: {remedy}."),
        1 => format!("{what} {verb} within a day, on {date}: {remedy}."),
        _ => format!("{what} {verb} in {days} days, on {date}: {remedy}."),
    };
    Some(Condition { subject: subject.clone(), stage, ..plain(kind.clone(), sentence, now) })
}

fn plain(kind: Kind, sentence: String, now: Timestamp) -> Condition {
    let (subject, nature, patience) = (String::new(), Nature::Lasts, Duration::ZERO);
    Condition { kind, subject, nature, sentence, since: now, patience, stage: 0, account: None }
}

/// A number of octets as people write it.
fn octets(octets: u64) -> String {
    match octets {
        0..MIB => format!("{} KiB", octets >> 10),
        MIB..GIB => format!("{} MiB", octets >> 20),
        _ => format!("{}.{} GiB", octets >> 30, ((octets & (GIB - 1)) * 10) >> 30),
    }
}

/// What a provider or a network mends by itself, mostly.
const PASSES_BY_ITSELF: Duration = Duration::from_secs(300);
const DAY: u64 = 86_400;
/// Characters of a date: `2027-03-01`.
const DATE: usize = 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[cfg(test)]
mod tests;
