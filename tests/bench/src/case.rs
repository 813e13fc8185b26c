//! What is measured of each relay, one beside the other: each case in a fresh folder.

use crate::peers::{Connections, Load, Sink, per_second};
use crate::plan::Plan;
use crate::relay::{Candidate, Relay};
use crate::table::Row;
use crate::{Group, Result, latency, queued};

/// Where values go.
pub(crate) type Record<'a> = dyn FnMut(Row, f64) + 'a;

/// One run of one relay.
pub(crate) enum Case {
    /// Messages accepted while the sink is down.
    Accept(Load, &'static str),
    /// Messages from client to sink, over so many connections to it.
    Through(usize, usize),
    /// From the final dot to 250, in so many sessions.
    Latency(usize),
    /// What waiting messages cost, and how they leave.
    Queued,
    /// How a few waiting messages leave after a long time.
    Outage,
}

/// Those of the chosen groups.
pub(crate) fn cases(chosen: impl Fn(Group) -> bool) -> Vec<Case> {
    let load = |size, sessions, connections| Load { size, sessions, connections };
    let mut cases = Vec::new();
    if chosen(Group::Accept) {
        for (size, sessions, aim) in [
            (2 << 10, 1, "≥ 4 ×"),
            (2 << 10, 10, "≥ 12 ×"),
            (2 << 10, 50, "≥ 20 ×"),
            (100 << 10, 1, ""),
            (100 << 10, 10, ""),
            (100 << 10, 50, "≥ 2.5 ×"),
        ] {
            cases.push(Case::Accept(load(size, sessions, Connections::Kept), aim));
        }
        cases.extend([1, 10, 50].map(|sessions| Case::Accept(load(2 << 10, sessions, Connections::ForEach), "")));
    }
    if chosen(Group::Through) {
        cases.extend([Case::Through(2 << 10, 3), Case::Through(2 << 10, 20)]);
    }
    if chosen(Group::Latency) {
        cases.extend([Case::Latency(1), Case::Latency(50)]);
    }
    if chosen(Group::Queued) {
        cases.push(Case::Queued);
    }
    if chosen(Group::Outage) {
        cases.push(Case::Outage);
    }
    cases
}

impl Case {
    /// Runs it with this relay.
    pub(crate) fn measure(&self, plan: &Plan, candidate: &dyn Candidate, record: &mut Record) -> Result<()> {
        match *self {
            Self::Accept(load, aim) => accept(plan, candidate, load, aim, record),
            Self::Through(size, connections) => through(plan, candidate, size, connections, record),
            Self::Latency(sessions) => latency::measure(plan, candidate, sessions, record),
            Self::Queued => queued::measure(plan, candidate, record),
            Self::Outage => queued::outage(plan, candidate, record),
        }
    }
}

fn accept(plan: &Plan, candidate: &dyn Candidate, load: Load, aim: &'static str, record: &mut Record) -> Result<()> {
    let mut relay = Relay::listening(candidate, plan, CONNECTIONS)?;
    let to = relay.place().listen;
    let count = load.count_for(plan, |pilot| load.send(to, pilot))?;
    let took = load.send(to, count).map_err(|error| relay.trouble(&error.to_string()))?;
    record(Row::new(format!("accepted/s, {load}"), aim), per_second(count, took));
    relay.stop()
}

/// From the start of the client until the sink has taken the last message. Fails where one is missing, or one too many.
fn through(plan: &Plan, candidate: &dyn Candidate, size: usize, connections: usize, record: &mut Record) -> Result<()> {
    let mut relay = Relay::listening(candidate, plan, connections)?;
    let sink = Sink::start(relay.place().sink, relay.place().folder())?;
    let load = Load::filling(size);
    let mut sent = 0;
    let mut send = |count| {
        let began = std::time::Instant::now();
        load.send(relay.place().listen, count).map_err(|error| relay.trouble(&error.to_string()))?;
        sent += count;
        let arrived = sink.wait_for(sent, None)?.ok_or_else(|| relay.trouble("not every message has arrived"))?;
        Ok(arrived - began)
    };
    let count = load.count_for(plan, &mut send)?;
    let took = send(count)?;
    relay.settle()?;
    if sink.taken()? != sent {
        return Err(relay.trouble(&format!("{} messages have arrived of {sent}", sink.taken()?)));
    }
    let name = format!("end to end/s, {load}, {connections} connections upstream");
    record(Row::new(name, "≥ 5 ×"), per_second(count, took));
    relay.stop()
}

/// Connections upstream where they are not what is measured: what Postfix has by default.
pub(crate) const CONNECTIONS: usize = 20;
