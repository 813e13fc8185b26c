//! What waiting messages cost, and how they leave once the sink is back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::case::{CONNECTIONS, Record};
use crate::peers::{Load, Sink, per_second};
use crate::plan::Plan;
use crate::relay::{Candidate, Relay};
use crate::table::Row;

/// Fills a queue; looks at it, also after a restart; then lets it out.
pub(crate) fn measure(plan: &Plan, candidate: &dyn Candidate, record: &mut Record) -> Result<()> {
    let mut relay = Relay::start(candidate, plan, CONNECTIONS)?;
    // Nobody has connected yet.
    relay.settle()?;
    record(Row::new("memory idle, MiB", "≤ 8"), mebibytes(relay.memory()));
    relay.banner()?;
    let empty = relay.disk()?;
    fill(&relay, Load::filling(2 << 10), plan.queued)?;
    relay.settle()?;
    let queued = format!("{} × 2 KB queued", plan.queued);
    record(Row::new(format!("memory, {queued}, as they have come, MiB"), "≤ 10"), mebibytes(relay.memory()));
    record(Row::new(format!("disk, {queued}, octets each"), "≤ 4,500"), each(relay.disk()? - empty, plan.queued));

    relay.restart()?;
    let banner = relay.banner()?;
    record(Row::new(format!("start to banner, {queued}, ms"), "≤ 20"), milliseconds(banner));
    relay.settle()?;
    record(Row::new(format!("memory, {queued}, after the restart, MiB"), "≤ 10"), mebibytes(relay.memory()));

    let sink = back(plan, &relay, plan.outage, record)?;
    let (count, took) = drain(&relay, &sink, plan.queued)?;
    record(Row::new(format!("drained/s, {queued}, {CONNECTIONS} connections upstream"), ""), per_second(count, took));
    relay.settle()?;
    if sink.taken()? != plan.queued {
        return Err(relay.trouble(&format!("{} messages have arrived of {}", sink.taken()?, plan.queued)));
    }
    relay.stop()
}

/// A few messages, and a sink that is down for long.
pub(crate) fn outage(plan: &Plan, candidate: &dyn Candidate, record: &mut Record) -> Result<()> {
    let mut relay = Relay::listening(candidate, plan, CONNECTIONS)?;
    fill(&relay, Load::filling(2 << 10), 100)?;
    drop(back(plan, &relay, plan.long_outage, record)?);
    relay.stop()
}

/// Sends so many messages to a relay.
pub(crate) fn fill(relay: &Relay, load: Load, count: usize) -> Result<Duration> {
    load.send(relay.place().listen, count).map_err(|error| relay.trouble(&error.to_string()))
}

/// Starts the sink when the relay has run for so long without, and waits for the first message; where none comes in time,
/// the relay is told to try.
fn back(plan: &Plan, relay: &Relay, outage: Duration, record: &mut Record) -> Result<Sink> {
    // A relay may look at whole seconds of its own: it must not be met at one of them each time.
    let part = Duration::from_millis(u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_millis()) % 500);
    std::thread::sleep((outage + part).saturating_sub(relay.started().elapsed()));
    let sink = Sink::start(relay.place().sink, relay.place().folder())?;
    let first = sink.wait_for(1, Some(sink.since + plan.patience))?;
    let (outage, patience) = (outage.as_secs_f64(), plan.patience.as_secs_f64());
    let name = format!("first message out after {outage} s without the sink, of {patience} s waited, s");
    let waited = first.map_or(f64::INFINITY, |first| (first - sink.since).as_secs_f64());
    record(Row::new(name, "≤ 1"), waited);
    if first.is_none() {
        relay.flush()?;
    }
    Ok(sink)
}

/// Waits until so many have arrived; how many came after the first one that was seen, and in what time.
pub(crate) fn drain(relay: &Relay, sink: &Sink, count: usize) -> Result<(usize, Duration)> {
    let arrival = |count| sink.wait_for(count, None)?.ok_or_else(|| relay.trouble("messages do not leave"));
    arrival(1)?;
    let (before, began) = (sink.taken()?, Instant::now());
    let ended = arrival(count)?;
    // Those that came between two looks.
    Ok((sink.taken()?.min(count).saturating_sub(before).max(1), ended.saturating_duration_since(began).max(TICK)))
}

/// In the units of the rows.
pub(crate) fn mebibytes(octets: u64) -> f64 {
    each(octets, 1 << 20)
}

/// Likewise.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "octets of a disk are below 2^52")]
fn each(octets: u64, count: usize) -> f64 {
    octets as f64 / count as f64
}

/// How often the sink is looked at.
const TICK: Duration = Duration::from_millis(1);
