//! One round of the dispatcher and one settlement: what is done inside a transaction of the queue. No sockets, no tasks.

use std::time::Duration;

use crate::config::{AccountConfig, Config, OnUncertain};
use crate::ids::RouteName;
use crate::provider::Provider;
use crate::provider::refusal::Parties;
use crate::queue::record::{Claim, ClaimRequest, Settled, Settlement};
use crate::queue::{QueueStore, StoreError, tend_clocks};
use crate::route;
use crate::schedule::cap::Ledger;
use crate::schedule::fairness::Fairness;
use crate::schedule::lane::{CauseKind, Change, Event, Lane, Standing};
use crate::schedule::plan::{AccountState, Flow, Plan, RouteState, State, plan};
use crate::schedule::turn::Stance;
use crate::schedule::verdict::{Case, Charge, Elsewhere, Report, Verdict, verdict};
use crate::smtp::ReversePath;
use crate::time::{Timestamp, wall_clock};

/// What a round brought.
#[derive(Debug)]
pub struct Round {
    /// Claims that are ours now, charged and leased, each with its content where that is small.
    pub claims: Vec<(Claim, Option<Vec<u8>>)>,
    /// What was planned.
    pub plan: Plan,
    /// How each account stands.
    pub lanes: Vec<Stance>,
}

/// Looks at what waits, plans, and claims.
///
/// # Errors
/// Where the store has none to give or has failed.
pub fn round(
    store: &mut dyn QueueStore,
    config: &Config,
    fairness: &Fairness,
    now: Timestamp,
) -> Result<Round, StoreError> {
    let heads = config.accounts.iter().map(|account| account.caps.connections).max().unwrap_or(1);
    let view = store.view(heads, now)?;
    let mut lanes = Vec::with_capacity(config.accounts.len());
    for account in &config.accounts {
        lanes.push(store.lane(&account.name)?);
    }
    let none = Ledger::default();
    let accounts = config.accounts.iter().zip(&lanes).map(|(account, lane)| AccountState {
        name: &account.name,
        lane,
        caps: &account.caps,
        ledger: store.ledger(&account.login_key()).unwrap_or(&none),
    });
    let accounts: Vec<AccountState<'_>> = accounts.collect();
    let names = routes_of(&view.flows);
    let routes = names.iter().map(|name| RouteState { name, accounts: on_route(name, &accounts) }).collect();
    let shares = config.clients.iter().filter_map(|client| Some((client.name.clone(), client.share?))).collect();
    let state = State { routes, flows: &view.flows, shares: &shares, next_due: view.next_due, fairness };
    let plan = plan(&state, now);
    let mut claims = Vec::with_capacity(plan.claims.len());
    for wanted in &plan.claims {
        let known = config.accounts.iter().zip(&mut lanes).find(|(account, _)| account.name == wanted.account);
        let Some((account, lane)) = known else { continue };
        let request = ClaimRequest {
            account: &account.name,
            login: &account.login_key(),
            caps: &account.caps,
            share: shares.get(&wanted.client).copied(),
            route: &wanted.route,
            client: &wanted.client,
            priority: wanted.priority,
            lease: LEASE,
        };
        let Some(claim) = store.claim(&request, now)? else { continue };
        if lane.standing != Standing::Open {
            lane.last_probe = Some(claim.client.clone());
            store.set_lane(&account.name, lane)?;
        }
        let content = if claim.size <= SMALL as u64 { store.content(claim.message) } else { None };
        claims.push((claim, content));
    }
    let lanes = config.account_names().zip(&lanes).map(|(account, lane)| Stance::of(account, lane)).collect();
    Ok(Round { claims, plan, lanes })
}

/// The routes of what waits. Those that avoid an account come first: only alarms go by them, a few in an hour, and would find
/// no connection free behind a backlog.
fn routes_of(flows: &[Flow]) -> Vec<RouteName> {
    let mut names: Vec<RouteName> = flows.iter().map(|flow| flow.route.clone()).collect();
    names
        .sort_by(|one, other| route::avoided(one).is_none().cmp(&route::avoided(other).is_none()).then(one.cmp(other)));
    names.dedup();
    names
}

/// The accounts of a route in its order. One that is avoided is left out while another is open, lest its probe take the very
/// mail that tells of it.
fn on_route<'a>(name: &RouteName, accounts: &[AccountState<'a>]) -> Vec<AccountState<'a>> {
    let open = |account: &&AccountState<'_>| account.lane.standing == Standing::Open;
    let is_avoided = |account: &&AccountState<'_>| route::avoided(name) == Some(account.name.as_str());
    let another_is_open = accounts.iter().filter(open).any(|account| !is_avoided(&account));
    let ordered = route::order(name, accounts, |account| account.name).into_iter();
    ordered.filter(|account| !another_is_open || !is_avoided(account)).copied().collect()
}

/// What a settlement brought.
#[derive(Debug)]
pub struct Booked {
    /// The judgement.
    pub verdict: Verdict,
    /// Whether it was written.
    pub settled: Settled,
    /// What it changed of the lane.
    pub change: Change,
    /// How the lane stands.
    pub lane: Lane,
}

/// Judges what came of a claim and writes it down: outcomes, ledger, lane and the clocks of the routes. `jitter` is a
/// random number in 0 to 1.
///
/// # Errors
/// Where the store has no room or has failed.
pub fn book(
    store: &mut dyn QueueStore,
    config: &Config,
    claim: &Claim,
    report: &Report,
    now: Timestamp,
    jitter: f64,
) -> Result<Booked, StoreError> {
    let account = config.account(&claim.account);
    let mut lane = store.lane(&claim.account)?;
    let elsewhere = elsewhere(store, config, claim)?;
    let tried: Vec<u32> = claim.recipients.iter().map(|recipient| recipient.tried).collect();
    let case = Case {
        provider: account.map_or(Provider::Smtp, |account| account.provider),
        delivery: claim.delivery,
        account: &claim.account,
        client: &claim.client,
        parties: parties(account, claim),
        claimed: claim.claimed,
        tried: &tried,
        age: claim.age + now.since(claim.claimed),
        max_age: config.queue.max_age,
        doubt: claim.doubt.as_ref(),
        when_uncertain: account.map_or(OnUncertain::Resend, |account| account.on_uncertain),
        lane: &lane,
        elsewhere,
    };
    let verdict = verdict(&case, report, now, jitter);
    // Without caps there is nothing to count towards, and a ledger of everything would only grow.
    let charge = match account.is_some_and(|account| account.caps.windows.is_empty()) {
        true => Charge::Refunded,
        false => verdict.charge,
    };
    let settlement = Settlement {
        outcomes: verdict.outcomes.clone(),
        charge,
        doubt: verdict.doubt.clone(),
        wakes_doubted: verdict.event == Some(Event::Delivered),
        heard: verdict.heard.clone(),
        host: account.map_or_else(String::new, |account| account.host().to_owned()),
        wall: wall_clock(),
    };
    let settled = store.settle(claim, &settlement, now)?;
    if let Report::NoSession { refused_logins, .. } = report {
        lane.note_refused_logins(*refused_logins, verdict.event.as_ref(), now);
    }
    if let (Report::Transacted(_), Some(Event::Stopped(cause))) = (report, &verdict.event)
        && cause.kind == CauseKind::Account
    {
        lane.blame(claim.delivery, now);
    }
    let change = match verdict.event.clone() {
        Some(event) => lane.note(event, claim.claimed, now),
        None => Change::None,
    };
    store.set_lane(&claim.account, &lane)?;
    tend_clocks(store, config.account_names(), now)?;
    Ok(Booked { verdict, settled, change, lane })
}

/// Whether an account other than that of the claim takes mail.
fn elsewhere(store: &mut dyn QueueStore, config: &Config, claim: &Claim) -> Result<Elsewhere, StoreError> {
    for name in config.account_names().filter(|name| **name != claim.account) {
        if store.lane(name)?.standing == Standing::Open {
            return Ok(Elsewhere::Open);
        }
    }
    Ok(Elsewhere::Stopped)
}

/// The account may have put its own address in place of the sender.
fn parties<'a>(account: Option<&'a AccountConfig>, claim: &'a Claim) -> Parties<'a> {
    let own = account.and_then(|account| account.sender.from.as_ref());
    let sender = match &claim.reverse_path {
        ReversePath::Null => None,
        ReversePath::Address(address) => Some(address),
    };
    let recipients = claim.recipients.iter().map(|recipient| &recipient.address).collect();
    Parties { senders: own.into_iter().chain(sender).collect(), recipients }
}

/// Octets of a content up to which to change threads for reading and repairing it costs more than to do it at once.
pub(super) const SMALL: usize = 32 * 1024;
/// For how long a claim is ours; renewed while its transaction lives.
pub const LEASE: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Priority;

    #[test]
    fn each_route_is_planned_once_and_those_that_avoid_an_account_first() {
        let flow = |route: &str| Flow {
            route: route.into(),
            client: "shop".into(),
            priority: Priority::Normal,
            heads: Vec::new(),
        };
        let flows = ["avoiding:b", "default", "avoiding:a", "default", "avoiding:b"].map(flow);
        let names = routes_of(&flows);
        assert_eq!(names.iter().map(RouteName::as_str).collect::<Vec<_>>(), ["avoiding:a", "avoiding:b", "default"]);
    }
}
