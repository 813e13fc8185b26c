//! `mailsluice queue …`.

mod backup;
mod recover;

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::output::{counted, say};
use super::reach::{ask, ask_whom, print_json, unexpected};
use super::{Failure, table};
use crate::config::secret::quoted;
use crate::control::request::{Answer, Request};
use crate::ids::MessageId;
use crate::observe::metrics::Counts;
use crate::queue::record::{Fate, ListRequest, Listed, Operated, Operation, Shown, ShownAttempt, Stats};
use crate::time::spoken;

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// List messages, the oldest first: all that are not done, or those that stand as --fate says
    List {
        /// Only messages that stand like this
        #[arg(long, value_enum)]
        fate: Option<Fate>,
        /// At most so many
        #[arg(long, default_value_t = PAGE)]
        limit: u32,
        /// Those after this queue id, to go on where a page ended
        #[arg(long, value_name = "ID")]
        after: Option<MessageId>,
        /// JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Everything about a message but its content: recipients, attempts, replies
    Show {
        /// Its queue id
        id: MessageId,
        /// JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Try now what waits or has failed
    Retry {
        /// Queue ids
        #[arg(required_unless_present = "all")]
        ids: Vec<MessageId>,
        /// Everything that was put off
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Do not try until released
    Hold {
        /// Queue ids
        #[arg(required = true)]
        ids: Vec<MessageId>,
    },
    /// Undo hold
    Release {
        /// Queue ids
        #[arg(required = true)]
        ids: Vec<MessageId>,
    },
    /// Give up what has not been delivered, and forget the content
    Delete {
        /// Queue ids
        #[arg(required = true)]
        ids: Vec<MessageId>,
    },
    /// Say what became of a message of which the relay does not know whether it was delivered
    Settle {
        /// Its queue id
        id: MessageId,
        /// What became of it
        outcome: Settled,
    },
    /// Write a copy of the queue as it is now to FILE, beside the running daemon. Holds every message that was acknowledged
    /// before
    Backup(backup::Backup),
    /// Make a new queue of what can be read of a damaged one, and say what cannot. The daemon must be stopped; the damaged
    /// file is kept. Changes nothing where nothing is damaged
    Recover(recover::Recover),
    /// How much there is, and how old
    Stats {
        /// JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Settled {
    Delivered,
    Failed,
}

impl QueueCommand {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        match self {
            Self::List { fate, limit, after, json } => list(config, fate, limit, after, json),
            Self::Show { id, json } => show(config, id, json),
            Self::Retry { all: true, .. } => retry_all(config),
            Self::Retry { ids, .. } => operate(config, &ids, Operation::Retry),
            Self::Hold { ids } => operate(config, &ids, Operation::Hold),
            Self::Release { ids } => operate(config, &ids, Operation::Release),
            Self::Delete { ids } => operate(config, &ids, Operation::Delete),
            Self::Settle { id, outcome: Settled::Delivered } => operate(config, &[id], Operation::SettleDelivered),
            Self::Settle { id, outcome: Settled::Failed } => operate(config, &[id], Operation::SettleFailed),
            Self::Backup(backup) => backup.run(config),
            Self::Recover(recover) => recover.run(config),
            Self::Stats { json } => stats(config, json),
        }
    }
}

fn list(config: &Path, fate: Option<Fate>, limit: u32, after: Option<MessageId>, json: bool) -> Result<(), Failure> {
    let limit = limit.clamp(1, 10_000);
    let Answer::Listed(listed) = ask(config, Request::List(ListRequest { after, limit, fate }))? else {
        return Err(unexpected());
    };
    if json {
        return print_json(&listed);
    }
    if listed.is_empty() {
        return say!("nothing");
    }
    print(config, fate, limit, &listed)
}

/// What `mailq` has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Messages,
    /// There are none.
    Nothing,
}

/// Lists messages as [`QueueCommand::List`] does where nothing else is said.
pub(super) fn list_waiting(config: &Path) -> Result<Page, Failure> {
    let Answer::Listed(listed) = ask(config, Request::List(ListRequest { after: None, limit: PAGE, fate: None }))?
    else {
        return Err(unexpected());
    };
    if listed.is_empty() {
        return Ok(Page::Nothing);
    }
    print(config, None, PAGE, &listed).map(|()| Page::Messages)
}

/// How many messages are listed, unless somebody wants more.
const PAGE: u32 = 100;

fn print(config: &Path, fate: Option<Fate>, limit: u32, listed: &[Listed]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    table::print(
        &["QUEUE ID", "FATE", "CLIENT", "PRIORITY", "AGE", "SIZE", "FROM", "TO", "NEXT", "LAST REPLY"],
        &rows,
    )?;
    if let Some(last) = listed.last().filter(|_| listed.len() == limit as usize) {
        let fate = fate.map_or_else(String::new, |fate| format!(" --fate {}", fate.as_str()));
        let (config, after) = (quoted(config), last.queue_id);
        say!("more: mailsluice --config {config} queue list{fate} --limit {limit} --after {after}")?;
    }
    Ok(())
}

fn row(listed: &Listed) -> Vec<String> {
    let to = match listed.recipients {
        0 | 1 => listed.to.clone(),
        more => format!("{} +{}", listed.to, more - 1),
    };
    let next = match (listed.fate, listed.next_attempt_in) {
        (Fate::Waiting, Some(seconds)) => format!("in {}", seconds_spoken(seconds)),
        (Fate::Waiting, None) => "now".into(),
        _ => String::new(),
    };
    vec![
        listed.queue_id.to_string(),
        listed.fate.as_str().into(),
        listed.client.to_string(),
        listed.priority.as_str().into(),
        seconds_spoken(listed.age_seconds),
        listed.size.to_string(),
        listed.from.to_string(),
        to,
        next,
        listed.last_reply.clone().unwrap_or_default(),
    ]
}

fn seconds_spoken(seconds: u64) -> String {
    spoken(Duration::from_secs(seconds))
}

fn show(config: &Path, id: MessageId, json: bool) -> Result<(), Failure> {
    let Answer::Shown(shown) = ask(config, Request::Show(id))? else { return Err(unexpected()) };
    let Some(shown) = shown else { return Err(unknown(id)) };
    if json {
        return print_json(&shown);
    }
    let Shown { listed, address, message_id, received, route, each, history, waits_for } = *shown;
    say!("{}  {}", listed.queue_id, listed.fate.as_str())?;
    say!("received    {received} from {} ({address}), {} priority", listed.client, listed.priority.as_str())?;
    say!("from        {}", listed.from)?;
    say!("message-id  {message_id}")?;
    let attempts = counted(u64::from(listed.attempts), "attempt");
    say!("size        {} octets, route {route}, {attempts}", listed.size)?;
    if let Some(seconds) = listed.next_attempt_in {
        say!("next        in {}", seconds_spoken(seconds))?;
    }
    for stopped in &waits_for {
        let probe = stopped.next_probe_in.map_or_else(
            || "until it is resumed".into(),
            |seconds| format!("one message tries in {}", seconds_spoken(seconds)),
        );
        say!("waits for   {}, which is {}, {probe}: {}", stopped.account, stopped.standing, stopped.cause)?;
    }
    say!("")?;
    let rows: Vec<Vec<String>> = each
        .into_iter()
        .map(|one| vec![one.address, one.fate.as_str().into(), one.attempts.to_string(), one.reply.unwrap_or_default()])
        .collect();
    table::print(&["RECIPIENT", "FATE", "ATTEMPTS", "LAST REPLY"], &rows)?;
    history.iter().try_for_each(heard)
}

/// What was said in an attempt: its reply is too long for a table, and its sentence longer.
fn heard(one: &ShownAttempt) -> Result<(), Failure> {
    let step = one.step.as_ref().map_or_else(String::new, |step| format!(", {step}"));
    let again = match one.times {
        0 | 1 => String::new(),
        times => format!(", {times} times since {}", one.first),
    };
    say!("")?;
    say!("{} ({} ago){again}", one.time, seconds_spoken(one.ago_seconds))?;
    say!("  by     {} at {}{step}", one.account, one.host)?;
    if let Some(more) = one.recipients.checked_sub(u32::try_from(one.to.len()).unwrap_or(u32::MAX)) {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if !one.to.is_empty() {
            say!("  for    {}{more}", one.to.join(", "))?;
        }
    }
    if one.reply != one.sentence {
        say!("  reply  {}", one.reply)?;
    }
    say!("  means  {}", one.sentence)
}

fn unknown(id: MessageId) -> Failure {
    Failure::Said(format!("{id}: there is no such message; history is kept for 30 days"))
}

fn operate(config: &Path, ids: &[MessageId], operation: Operation) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for id in ids {
        let Answer::Operated(operated) = ask(config, Request::Operate { id: *id, operation })? else {
            return Err(unexpected());
        };
        match operated {
            Operated::Done { recipients, .. } => {
                let recipients = counted(recipients.len() as u64, "recipient");
                say!("{id}: {}, {recipients}", outcome(operation))?;
            }
            Operated::Unknown => refused.push(unknown(*id).text()),
            Operated::Busy => refused.push(format!("{id}: is being sent right now; try again in a moment")),
            Operated::Nothing(why) => refused.push(format!("{id}: nothing to do: {why}")),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Said(refused.join("\n"))) }
}

/// What has become of a message by an operation.
fn outcome(operation: Operation) -> &'static str {
    match operation {
        Operation::Retry => "to be tried at once",
        Operation::Hold => "on hold",
        Operation::Release => "off hold",
        Operation::Delete => "deleted",
        Operation::SettleDelivered => "settled as delivered",
        Operation::SettleFailed => "settled as failed",
    }
}

fn retry_all(config: &Path) -> Result<(), Failure> {
    let (Answer::Hastened(count), by) = ask_whom(config, Request::RetryAll)? else { return Err(unexpected()) };
    say!("{}", by.tries(count))
}

fn stats(config: &Path, json: bool) -> Result<(), Failure> {
    let answer = ask(config, Request::Stats)?;
    let Answer::Stats { queue, since_start } = answer else { return Err(unexpected()) };
    if json {
        return print_json(&serde_json::json!({ "queue": queue, "since_start": since_start }));
    }
    print_stats(&queue)?;
    if let Some(counts) = since_start {
        say!("")?;
        print_counts(&counts)?;
    }
    Ok(())
}

fn print_stats(stats: &Stats) -> Result<(), Failure> {
    let oldest = stats.oldest_seconds.map_or_else(|| "-".into(), seconds_spoken);
    let rows = [
        ("ready", stats.ready.to_string()),
        ("put off", stats.deferred.to_string()),
        ("sending", stats.sending.to_string()),
        ("on hold", stats.held.to_string()),
        ("uncertain", stats.uncertain.to_string()),
        ("failed", stats.failed.to_string()),
        ("done (30 days)", stats.done.to_string()),
        ("octets of mail", stats.live_bytes.to_string()),
        ("oldest waits", oldest),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table::print(&["QUEUE", ""], &rows)
}

fn print_counts(counts: &Counts) -> Result<(), Failure> {
    let rows = [
        ("accepted", counts.accepted),
        ("refused", counts.refused),
        ("delivered", counts.delivered),
        ("put off", counts.deferred),
        ("failed", counts.failed),
        ("uncertain", counts.uncertain),
        ("alarms", counts.alarms),
        ("quirks", counts.quirks),
        ("unterminated", counts.unterminated),
        ("probes", counts.probes),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value.to_string()]).collect();
    table::print(&["SINCE START", ""], &rows)
}
