//! Whether anything grows with what waits: the same figures at more and more waiting messages of 1 KB, up to a million.

use std::time::Duration;

use crate::Result;
use crate::case::{CONNECTIONS, Record};
use crate::peers::{Load, Sink, per_second};
use crate::plan::Plan;
use crate::queued::{drain, fill, mebibytes, milliseconds};
use crate::relay::{Candidate, Relay};
use crate::table::Row;

/// Each level in a fresh folder: filled, restarted, let out a little, filled up again.
pub(crate) fn measure(plan: &Plan, candidate: &dyn Candidate, record: &mut Record) -> Result<()> {
    let (mut accepted, mut drained) = (Vec::new(), Vec::new());
    for &level in &plan.levels {
        let last = Some(&level) == plan.levels.last();
        let aim = |text| if last { text } else { "" };
        let mut relay = Relay::listening(candidate, plan, CONNECTIONS)?;
        if level > 0 {
            fill(&relay, LOAD, level)?;
            relay.restart()?;
            let banner = relay.banner()?;
            let list = relay.list()?;
            relay.settle()?;
            record(Row::new(format!("{level} queued: start to banner, ms"), aim("≤ 50")), milliseconds(banner));
            record(Row::new(format!("{level} queued: first page of the list, ms"), aim("≤ 50")), milliseconds(list));
            record(Row::new(format!("{level} queued: memory, MiB"), aim("≤ 20")), mebibytes(relay.memory()));
            let rate = let_out(&relay, level.min(plan.sample))?;
            record(Row::new(format!("{level} queued: drained/s"), ""), rate);
            drained.push((level, rate));
        }
        let rate = per_second(plan.sample, fill(&relay, LOAD, plan.sample)?);
        record(Row::new(format!("{level} queued: accepted/s"), ""), rate);
        accepted.push(rate);
        relay.settle()?;
        record(Row::new(format!("{level} queued: memory after that, MiB"), ""), mebibytes(relay.memory()));
        relay.stop()?;
    }
    if let [empty, .., most] = accepted.as_slice() {
        record(Row::new("accepted at the most, part of the rate when empty", "≥ 0.8"), most / empty);
    }
    let usual = drained.iter().find(|(level, _)| *level >= plan.sample);
    if let (Some((_, usual)), Some((_, most))) = (usual, drained.last()) {
        record(Row::new(format!("drained at the most, part of the rate at {}", plan.sample), "≥ 0.8"), most / usual);
    }
    Ok(())
}

/// How fast so many leave; then the sink is down again.
fn let_out(relay: &Relay, count: usize) -> Result<f64> {
    let sink = Sink::start(relay.place().sink, relay.place().folder())?;
    let (count, took) = drain(relay, &sink, count)?;
    drop(sink);
    // What was under way meets a sink that is gone, and waits again.
    std::thread::sleep(Duration::from_millis(100));
    relay.settle()?;
    Ok(per_second(count, took))
}

const LOAD: Load = Load { size: 1 << 10, sessions: 50, connections: crate::peers::Connections::Kept };
