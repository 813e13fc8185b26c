//! The contract of `QueueStore`, which every store must keep: its promises, each of them a named test below. A store joins
//! with a factory of harnesses and one line of `holds_for!`.

use std::time::Duration;

use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::provider::{Cap, Caps, Counted};
use mailsluice::queue::record::{
    Claim, ClaimRequest, Fate, ListRequest, Listed, NewMessage, Operated, Operation, Settled, Settlement, Stats,
};
use mailsluice::queue::sqlite::{Machine, SqliteStore};
use mailsluice::queue::{QueueReader, QueueStore, StoreError};
use mailsluice::route::Priority;
use mailsluice::schedule::attempt::Step;
use mailsluice::schedule::cap::Ledger;
use mailsluice::schedule::verdict::{Charge, Heard, Outcome};
use mailsluice::smtp::{Envelope, ReversePath};
use mailsluice::time::Timestamp;

mod ages;
mod claims;
mod keeping;
mod model;
mod operations;
mod reading;
mod settlements;

macro_rules! holds_for {
    ($store:ident: $($part:ident { $($promise:ident)* })*) => {
        mod $store {
            $($(#[test] fn $promise() { super::$part::$promise(&super::$store); })*)*
        }
    };
}

holds_for! { sqlite:
    keeping {
        what_was_committed_is_there_after_a_crash
        what_was_undone_or_cut_off_never_was
        a_message_is_kept_whole
        parts_without_a_message_are_swept_at_opening
        parts_of_a_message_that_never_came_are_forgotten
        content_is_kept_until_everybody_has_it_or_nobody_is_to
        history_and_failed_messages_are_kept_for_thirty_days
        there_is_room_for_max_bytes_of_live_mail
        the_time_of_the_newest_commit_never_runs_backwards
        what_is_kept_by_name_is_there_after_a_crash
    }
    claims {
        a_delivery_is_claimed_by_one_at_a_time
        a_late_settlement_writes_nothing_but_the_end_of_its_charge
        a_charge_is_never_taken_for_another
        a_charge_ends_whatever_its_account_logs_in_with_by_then
        a_lease_is_renewed_by_its_holder_alone
        caps_are_looked_at_again_at_the_claim
        connections_are_counted_by_login
        accounts_with_one_login_share_a_ledger
        a_client_has_no_more_than_its_share_of_a_login_s_caps
        a_share_takes_nothing_from_others
        a_message_is_split_where_its_client_s_share_has_less_room
        whose_a_charge_is_is_remembered_after_a_crash
        what_was_charged_is_remembered_after_a_crash
        a_charge_that_a_crash_left_open_ends_at_the_opening
        a_refunded_charge_leaves_no_trace
        a_claim_takes_as_many_recipients_as_go
        the_oldest_of_a_flow_goes_first_and_what_is_tried_again_keeps_its_place
        a_claim_takes_of_its_own_flow_alone
    }
    settlements {
        every_recipient_has_a_fate_of_its_own
        a_delivery_waits_while_one_of_its_recipients_does
        recipients_are_tried_when_they_are_due
        what_a_dead_holder_leaves_is_sent_again_or_held
        leases_that_run_are_not_reclaimed
        doubted_deliveries_wake_when_the_lane_delivers
        what_was_put_off_can_be_hastened
        lanes_stand_as_they_stood
        what_has_failed_is_due_for_a_report_until_somebody_is_told
        what_an_operator_decides_is_not_reported
    }
    ages {
        stopped_time_does_not_age
        downtime_does_not_age
        a_route_that_is_stopped_stays_so_through_downtime
        what_fails_and_is_retried_is_young_again
    }
    operations {
        hold_and_release
        retry_tries_at_once_and_once_more_what_failed
        delete_gives_up_what_is_not_delivered
        a_person_settles_what_is_uncertain
        nothing_is_done_to_what_is_being_sent
        what_cannot_be_done_is_refused
    }
    reading {
        a_list_comes_in_pages
        a_list_is_filtered_by_fate
        a_message_is_shown_with_its_recipients_and_history
        history_tells_who_heard_what
        what_is_said_again_is_counted
        what_was_not_heard_is_no_history
        stats_count_deliveries_by_state
        what_waits_is_seen_by_flow
    }
    model {
        any_course_of_events_agrees_with_the_model
    }
}

/// What a store is tried with: opened anew after each crash, told the time by hand.
pub(crate) struct Harness {
    pub(crate) now: Timestamp,
    opened: Option<Opened>,
    open: Box<dyn Fn(Timestamp) -> Opened>,
}

type Opened = (Box<dyn QueueStore>, Box<dyn QueueReader>);
/// Makes a new queue that may hold [`MAX_BYTES`].
type Factory = dyn Fn() -> Harness;

pub(crate) const MAX_BYTES: u64 = 1 << 20;
pub(crate) const LEASE: Duration = Duration::from_secs(60);

fn sqlite() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    Harness::new(move |now| {
        let options = mailsluice::queue::sqlite::Options { max_bytes: MAX_BYTES, ..crate::support::options(&folder) };
        let mut store = SqliteStore::open(options).unwrap();
        // The machine is up all along.
        let machine = Machine { boot: "one".into(), up: now.since(Timestamp::EPOCH) };
        store.take_up(now, &machine).unwrap();
        let reader = store.reader().unwrap();
        (Box::new(store), Box::new(reader))
    })
}

impl Harness {
    fn new(open: impl Fn(Timestamp) -> Opened + 'static) -> Self {
        let now = Timestamp::from_secs(1_800_000_000);
        Self { now, opened: Some(open(now)), open: Box::new(open) }
    }

    pub(crate) fn store(&mut self) -> &mut dyn QueueStore {
        self.opened.as_mut().unwrap().0.as_mut()
    }

    pub(crate) fn reader(&mut self) -> &mut dyn QueueReader {
        self.opened.as_mut().unwrap().1.as_mut()
    }

    /// Drops the store, whatever it is in the middle of, and opens it anew.
    pub(crate) fn crash(&mut self) {
        drop(self.opened.take());
        self.opened = Some((self.open)(self.now));
    }

    pub(crate) fn pass(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
    }

    /// Does something in a transaction of its own.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(&mut dyn QueueStore, Timestamp) -> Result<T, StoreError>) -> T {
        let now = self.now;
        let store = self.store();
        store.begin().unwrap();
        let done = work(store, now).unwrap();
        store.commit(now).unwrap();
        done
    }

    pub(crate) fn enqueue(&mut self, message: &NewMessage) {
        self.write(|store, now| store.enqueue(message, now));
    }

    pub(crate) fn claim(&mut self, by: &By) -> Option<Claim> {
        // What is due becomes ready when the scheduler looks.
        self.write(|store, now| {
            store.view(1, now)?;
            by.request(|request| store.claim(request, now))
        })
    }

    pub(crate) fn settle(&mut self, claim: &Claim, settlement: &Settlement) -> Settled {
        self.write(|store, now| store.settle(claim, settlement, now))
    }

    /// Claims what is next and settles all its recipients alike.
    pub(crate) fn attempt(&mut self, outcome: Outcome) -> Claim {
        let claim = self.claim(&By::default()).expect("something to claim");
        let settlement = settlement(claim.recipients.iter().map(|_| outcome.clone()).collect());
        assert!(matches!(self.settle(&claim, &settlement), Settled::Written { .. }));
        claim
    }

    pub(crate) fn reclaim(&mut self, everything: bool, hold: bool) -> usize {
        self.write(|store, now| store.reclaim(everything, &|_| hold, now)).len()
    }

    pub(crate) fn operate(&mut self, id: i64, operation: Operation) -> Operated {
        self.write(|store, now| store.operate(MessageId(id), operation, now))
    }

    pub(crate) fn run_clock(&mut self, runs: bool) {
        self.write(|store, now| store.run_clock(&"default".into(), runs, now));
    }

    /// What was charged to a login within the last hour.
    pub(crate) fn used(&mut self, login: &str, counted: Counted) -> u64 {
        let now = self.now;
        let cap = Cap { counted, count: 1000, window: Duration::from_secs(3600) };
        self.write(|store, _| Ok(store.ledger(&LoginKey(login.into())).map_or(0, |ledger| ledger.used(&cap, now))))
    }

    /// How much of it for a client's mail.
    pub(crate) fn used_by(&mut self, login: &str, client: &str, counted: Counted) -> u64 {
        let now = self.now;
        let cap = Cap { counted, count: 1000, window: Duration::from_secs(3600) };
        let used = |ledger: &Ledger| ledger.used_by(&client.into(), &cap, now);
        self.write(|store, _| Ok(store.ledger(&LoginKey(login.into())).map_or(0, used)))
    }

    pub(crate) fn fates(&mut self, id: i64) -> Vec<Fate> {
        let now = self.now;
        let shown = self.reader().show(MessageId(id), now).unwrap();
        shown.map(|shown| shown.each.iter().map(|one| one.fate).collect()).unwrap_or_default()
    }

    pub(crate) fn list(&mut self, after: Option<i64>, limit: u32, fate: Option<Fate>) -> Vec<Listed> {
        let now = self.now;
        let request = ListRequest { after: after.map(MessageId), limit, fate };
        self.reader().list(&request, now).unwrap()
    }

    pub(crate) fn stats(&mut self) -> Stats {
        let now = self.now;
        self.reader().stats(now).unwrap()
    }

    pub(crate) fn content(&mut self, id: i64) -> Option<Vec<u8>> {
        self.reader().content(MessageId(id)).unwrap()
    }
}

/// Who claims, and of which flow.
#[derive(Clone)]
pub(crate) struct By {
    pub(crate) account: &'static str,
    pub(crate) login: &'static str,
    pub(crate) client: &'static str,
    pub(crate) priority: Priority,
    pub(crate) caps: Caps,
    pub(crate) share: Option<u32>,
}

impl Default for By {
    fn default() -> Self {
        let caps = Caps { windows: vec![], connections: 100, recipients_per_message: 100, message_size: 1 << 20 };
        let priority = Priority::Normal;
        Self { account: "office", login: "user@host", client: "shop", priority, caps, share: None }
    }
}

impl By {
    /// At most so many in half an hour.
    pub(crate) fn capped(counted: Counted, count: u32) -> Self {
        let mut by = Self::default();
        by.caps.windows = vec![Cap { counted, count, window: Duration::from_secs(1800) }];
        by
    }

    fn request<T>(&self, use_it: impl FnOnce(&ClaimRequest<'_>) -> T) -> T {
        use_it(&ClaimRequest {
            account: &self.account.into(),
            login: &LoginKey(self.login.into()),
            caps: &self.caps,
            share: self.share,
            route: &"default".into(),
            client: &self.client.into(),
            priority: self.priority,
            lease: LEASE,
        })
    }
}

/// For some seconds from now on.
pub(crate) fn deferred(harness: &Harness, secs: u64) -> Outcome {
    Outcome::Deferred { until: harness.now.after(Duration::from_secs(secs)), counted: true }
}

/// A message of the shop's to these local parts.
pub(crate) fn mail(id: i64, to: &[&str]) -> NewMessage {
    let head = b"Subject: x\r\n\r\nGood day.\r\n".to_vec();
    NewMessage {
        id: MessageId(id),
        client: "shop".into(),
        address: "192.0.2.1".into(),
        priority: Priority::Normal,
        envelope: Envelope {
            reverse_path: ReversePath::Address("shop@example.com".parse().unwrap()),
            recipients: to.iter().map(|to| format!("{to}@example.org").parse().unwrap()).collect(),
        },
        route: "default".into(),
        header_id: format!("{id}@example.com"),
        received: Timestamp::from_secs(1_800_000_000),
        size: head.len() as u64,
        head,
        chunks: 0,
    }
}

/// What came of an attempt, which all its recipients heard.
pub(crate) fn settlement(outcomes: Vec<Outcome>) -> Settlement {
    let everybody = (0..outcomes.len()).collect();
    Settlement {
        heard: vec![heard(Step::FinalReply, "250 2.0.0 said", everybody)],
        outcomes: outcomes.into_iter().map(|outcome| (outcome, "250 2.0.0 said".into())).collect(),
        charge: Charge::Kept,
        doubt: None,
        wakes_doubted: false,
        host: "smtp.example.net".into(),
        wall: Timestamp::from_secs(1_900_000_000),
    }
}

pub(crate) fn heard(step: Step, reply: &str, recipients: Vec<usize>) -> Heard {
    Heard { step: Some(step), reply: reply.into(), sentence: "Something happened.".into(), recipients }
}
