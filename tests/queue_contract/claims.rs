//! Promises 3 and 4: claims are exclusive, and made only where the caps leave room.

use mailsluice::queue::record::Fate;
use mailsluice::schedule::cap::Ledger;
use mailsluice::schedule::verdict::{Charge, Outcome};

use super::*;

pub(crate) fn a_delivery_is_claimed_by_one_at_a_time(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    let first = queue.claim(&By::default()).unwrap();
    assert_eq!(queue.fates(1), [Fate::Sending, Fate::Sending]);
    assert!(queue.claim(&By::default()).is_none());
    assert!(queue.claim(&By { account: "other", login: "other@host", ..By::default() }).is_none());
    let _ = queue.settle(&first, &settlement(vec![Outcome::Untried; 2]));
    let second = queue.claim(&By::default()).unwrap();
    assert_eq!(second.delivery, first.delivery);
    assert_ne!(second.fence, first.fence);
    assert_ne!(second.charge, first.charge);
}

pub(crate) fn a_late_settlement_writes_nothing_but_the_end_of_its_charge(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let late = queue.claim(&By::default()).unwrap();
    queue.pass(61);
    assert_eq!(queue.reclaim(false, false), 1);
    let current = queue.claim(&By { account: "other", login: "other@host", ..By::default() }).unwrap();
    assert_ne!(current.fence, late.fence);
    let before = queue.stats();
    assert_eq!(queue.settle(&late, &settlement(vec![Outcome::Delivered])), Settled::Superseded);
    assert_eq!((queue.fates(1), queue.stats()), (vec![Fate::Sending], before));
    assert!(queue.content(1).is_some());
    assert_eq!(queue.used("user@host", Counted::Messages), 1);
    assert_eq!(queue.store().ledger(&LoginKey("user@host".into())).map_or(0, Ledger::under_way), 0);
    // The one that holds it now is not disturbed; and once it is settled, the late one is late again.
    let deferral = vec![deferred(&queue, 600)];
    assert_eq!(queue.settle(&current, &settlement(deferral)), Settled::Written { waiting: 1, attempts: 2 });
    assert_eq!(queue.settle(&late, &settlement(vec![Outcome::Delivered])), Settled::Superseded);
    assert_eq!(queue.settle(&current, &settlement(vec![Outcome::Failed])), Settled::Superseded);
    assert_eq!(queue.fates(1), [Fate::Waiting]);
}

pub(crate) fn a_charge_is_never_taken_for_another(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let first = queue.claim(&By::default()).unwrap();
    let refunded = Settlement { charge: Charge::Refunded, ..settlement(vec![Outcome::Untried]) };
    assert!(matches!(queue.settle(&first, &refunded), Settled::Written { .. }));
    let store = queue.store();
    store.begin().unwrap();
    store.roll_back().unwrap();
    queue.claim(&By::default()).unwrap();
    assert_eq!(queue.settle(&first, &settlement(vec![Outcome::Delivered])), Settled::Superseded);
    assert_eq!(queue.store().ledger(&LoginKey("user@host".into())).unwrap().under_way(), 1);
}

pub(crate) fn a_charge_ends_whatever_its_account_logs_in_with_by_then(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.enqueue(&mail(2, &["a"]));
    let claims = ["user@host", "other@host"].map(|login| queue.claim(&By { login, ..By::default() }).unwrap());
    let store = queue.store();
    store.begin().unwrap();
    store.roll_back().unwrap();
    let under_way = |queue: &mut Harness| {
        let logins = ["user@host", "other@host"].map(|login| LoginKey(login.into()));
        logins.iter().map(|login| queue.store().ledger(login).map_or(0, Ledger::under_way)).sum::<u32>()
    };
    assert_eq!(under_way(&mut queue), 2);
    for claim in &claims {
        let refunded = Settlement { charge: Charge::Refunded, ..settlement(vec![Outcome::Untried]) };
        assert!(matches!(queue.settle(claim, &refunded), Settled::Written { .. }));
    }
    assert_eq!(under_way(&mut queue), 0);
}

pub(crate) fn a_lease_is_renewed_by_its_holder_alone(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let claim = queue.claim(&By::default()).unwrap();
    queue.pass(50);
    assert!(queue.write(|store, now| store.renew(&claim, LEASE, now)));
    queue.pass(59);
    assert_eq!(queue.reclaim(false, false), 0);
    queue.pass(2);
    assert_eq!(queue.reclaim(false, false), 1);
    assert!(!queue.write(|store, now| store.renew(&claim, LEASE, now)));
    let next = queue.claim(&By::default()).unwrap();
    assert!(!queue.write(|store, now| store.renew(&claim, LEASE, now)));
    assert!(queue.write(|store, now| store.renew(&next, LEASE, now)));
}

pub(crate) fn caps_are_looked_at_again_at_the_claim(new: &Factory) {
    for counted in [Counted::Messages, Counted::Recipients] {
        let mut queue = new();
        for id in 1..=3 {
            queue.enqueue(&mail(id, &["a"]));
        }
        let by = By::capped(counted, 2);
        let first = queue.claim(&by).unwrap();
        let second = queue.claim(&by).unwrap();
        assert!(queue.claim(&by).is_none());
        let _ = queue.settle(&first, &settlement(vec![Outcome::Delivered]));
        queue.pass(10);
        let _ = queue.settle(&second, &settlement(vec![Outcome::Delivered]));
        // A window after the end of the first, and not before.
        queue.pass(1790);
        assert!(queue.claim(&by).is_none());
        queue.now = queue.now.after(Duration::from_micros(1));
        let third = queue.claim(&by).unwrap();
        assert_eq!(third.message, MessageId(3));
    }
}

pub(crate) fn connections_are_counted_by_login(new: &Factory) {
    let mut queue = new();
    for id in 1..=3 {
        queue.enqueue(&mail(id, &["a"]));
    }
    let mut by = By::default();
    by.caps.connections = 2;
    let first = queue.claim(&by).unwrap();
    assert!(queue.claim(&By { account: "twin", ..by.clone() }).is_some());
    assert!(queue.claim(&by).is_none());
    let _ = queue.settle(&first, &settlement(vec![Outcome::Delivered]));
    assert!(queue.claim(&by).is_some());
}

pub(crate) fn accounts_with_one_login_share_a_ledger(new: &Factory) {
    let mut queue = new();
    for id in 1..=2 {
        queue.enqueue(&mail(id, &["a"]));
    }
    let by = By::capped(Counted::Messages, 1);
    assert!(queue.claim(&by).is_some());
    assert!(queue.claim(&By { account: "twin", ..by.clone() }).is_none());
    assert!(queue.claim(&By { login: "other@host", ..by }).is_some());
}

/// As many messages of each client, of one recipient.
fn of_each(queue: &mut Harness, clients: &[&str], count: i64) {
    for id in 1..=count {
        for (n, client) in (0..).zip(clients) {
            queue.enqueue(&NewMessage { client: (*client).into(), ..mail(n * count + id, &["a"]) });
        }
    }
}

pub(crate) fn a_client_has_no_more_than_its_share_of_a_login_s_caps(new: &Factory) {
    for counted in [Counted::Messages, Counted::Recipients] {
        let mut queue = new();
        of_each(&mut queue, &["camera"], 9);
        let camera = By { client: "camera", share: Some(25), ..By::capped(counted, 8) };
        let first = queue.claim(&camera).unwrap();
        let twin = By { account: "twin", ..camera.clone() };
        let second = queue.claim(&twin).unwrap();
        assert!(queue.claim(&camera).is_none() && queue.claim(&twin).is_none());
        assert!(
            queue.claim(&By { login: "other@host", ..camera.clone() }).is_some(),
            "each login's caps by themselves"
        );
        // As with the caps: until a window after the end, and what never began leaves no trace.
        let _ = queue.settle(&first, &settlement(vec![Outcome::Delivered]));
        queue.pass(1800);
        assert!(queue.claim(&camera).is_none());
        queue.now = queue.now.after(Duration::from_micros(1));
        let third = queue.claim(&camera).unwrap();
        assert!(queue.claim(&camera).is_none(), "the second is still under way");
        let refunded = Settlement { charge: Charge::Refunded, ..settlement(vec![Outcome::Untried]) };
        let _ = queue.settle(&third, &refunded);
        assert_eq!(queue.claim(&camera).unwrap().message, third.message);
        assert!(queue.claim(&camera).is_none());
        // Another share counts at once, to either side.
        assert!(queue.claim(&By { share: Some(50), ..camera.clone() }).is_some());
        let _ = queue.settle(&second, &settlement(vec![Outcome::Delivered]));
        assert!(queue.claim(&By { share: Some(1), ..camera.clone() }).is_none());
        assert!(queue.claim(&By { share: None, ..camera }).is_some());
    }
}

pub(crate) fn a_share_takes_nothing_from_others(new: &Factory) {
    let mut queue = new();
    of_each(&mut queue, &["camera", "shop"], 9);
    let shop = By::capped(Counted::Messages, 8);
    let camera = By { client: "camera", share: Some(25), ..shop.clone() };
    let claimed = |queue: &mut Harness, by: &By| std::iter::from_fn(|| queue.claim(by)).count();
    assert_eq!((claimed(&mut queue, &camera), claimed(&mut queue, &shop)), (2, 6));
    queue.pass(1801);
    assert_eq!(queue.reclaim(false, true), 8);
    queue.pass(1801);
    assert_eq!((claimed(&mut queue, &shop), claimed(&mut queue, &camera)), (3, 2), "a share is no right to it either");
    let one = By { share: Some(1), ..By::capped(Counted::Messages, 8) };
    assert!(queue.claim(&By { client: "camera", login: "other@host", ..one }).is_some(), "one goes at least");
}

pub(crate) fn a_message_is_split_where_its_client_s_share_has_less_room(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c", "d", "e"]));
    let by = By { share: Some(20), ..By::capped(Counted::Recipients, 10) };
    let claim = queue.claim(&by).unwrap();
    assert_eq!(claim.recipients.len(), 2);
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Delivered; 2]));
    assert!(queue.claim(&by).is_none());
    assert_eq!(queue.fates(1)[1..], [Fate::Delivered, Fate::Waiting, Fate::Waiting, Fate::Waiting]);
    assert_eq!(queue.used_by("user@host", "shop", Counted::Recipients), 2);
}

pub(crate) fn whose_a_charge_is_is_remembered_after_a_crash(new: &Factory) {
    let mut queue = new();
    of_each(&mut queue, &["camera", "shop"], 3);
    let shop = By::capped(Counted::Messages, 8);
    let camera = By { client: "camera", share: Some(25), ..shop.clone() };
    let ended = queue.claim(&camera).unwrap();
    let _ = queue.settle(&ended, &settlement(vec![Outcome::Delivered]));
    queue.claim(&camera).unwrap();
    queue.claim(&shop).unwrap();
    queue.pass(1000);
    queue.crash();
    assert_eq!(
        ["camera", "shop", "form"].map(|client| queue.used_by("user@host", client, Counted::Messages)),
        [2, 1, 0]
    );
    assert_eq!(queue.reclaim(true, true), 2);
    assert!(queue.claim(&camera).is_none());
    queue.pass(801);
    assert!(queue.claim(&camera).is_some());
    assert!(queue.claim(&camera).is_none(), "what the crash left open ended at the opening");
}

pub(crate) fn what_was_charged_is_remembered_after_a_crash(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c"]));
    queue.attempt(Outcome::Delivered);
    queue.pass(10);
    queue.crash();
    assert_eq!(queue.used("user@host", Counted::Messages), 1);
    assert_eq!(queue.used("user@host", Counted::Recipients), 3);
    queue.pass(3591);
    assert_eq!(queue.used("user@host", Counted::Recipients), 0);
}

pub(crate) fn a_charge_that_a_crash_left_open_ends_at_the_opening(new: &Factory) {
    let mut queue = new();
    for id in 1..=2 {
        queue.enqueue(&mail(id, &["a"]));
    }
    let by = By::capped(Counted::Messages, 1);
    queue.claim(&by).unwrap();
    queue.pass(100_000);
    queue.crash();
    assert_eq!(queue.store().ledger(&LoginKey("user@host".into())).map_or(0, Ledger::under_way), 0);
    assert_eq!(queue.reclaim(true, false), 1);
    queue.pass(1800);
    assert!(queue.claim(&by).is_none());
    queue.pass(1);
    assert!(queue.claim(&by).is_some());
}

pub(crate) fn a_refunded_charge_leaves_no_trace(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let by = By::capped(Counted::Messages, 1);
    let claim = queue.claim(&by).unwrap();
    let refunded = Settlement { charge: Charge::Refunded, ..settlement(vec![Outcome::Untried]) };
    assert_eq!(queue.settle(&claim, &refunded), Settled::Written { waiting: 1, attempts: 0 });
    assert_eq!(queue.used("user@host", Counted::Messages), 0);
    queue.crash();
    assert_eq!(queue.used("user@host", Counted::Messages), 0);
    assert!(queue.claim(&by).is_some());
}

pub(crate) fn a_claim_takes_as_many_recipients_as_go(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c", "d", "e", "f", "g"]));
    let mut by = By::capped(Counted::Recipients, 5);
    by.caps.recipients_per_message = 3;
    let mut claimed = Vec::new();
    for waiting in [4, 2] {
        let claim = queue.claim(&by).unwrap();
        claimed.push(claim.recipients.iter().map(|one| one.address.local_part().to_owned()).collect::<String>());
        let settlement = settlement(vec![Outcome::Delivered; claim.recipients.len()]);
        assert!(matches!(queue.settle(&claim, &settlement), Settled::Written { waiting: left, .. } if left == waiting));
    }
    assert_eq!(claimed, ["abc", "de"]);
    assert!(queue.claim(&by).is_none());
    assert_eq!(queue.fates(1)[4..], [Fate::Delivered, Fate::Waiting, Fate::Waiting]);
    assert_eq!(queue.used("user@host", Counted::Recipients), 5);
}

pub(crate) fn the_oldest_of_a_flow_goes_first_and_what_is_tried_again_keeps_its_place(new: &Factory) {
    let mut queue = new();
    // The order is that in which they were stored, not that of their ids.
    for id in [3, 1, 2] {
        queue.enqueue(&mail(id, &["a"]));
    }
    let later = deferred(&queue, 10);
    assert_eq!(queue.attempt(later).message, MessageId(3));
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(1));
    queue.pass(10);
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(3));
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(2));
}

pub(crate) fn a_claim_takes_of_its_own_flow_alone(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&NewMessage { client: "camera".into(), ..mail(1, &["a"]) });
    queue.enqueue(&NewMessage { priority: Priority::High, ..mail(2, &["a"]) });
    queue.enqueue(&NewMessage { route: "elsewhere".into(), ..mail(3, &["a"]) });
    assert!(queue.claim(&By::default()).is_none());
    assert_eq!(queue.claim(&By { client: "camera", ..By::default() }).unwrap().message, MessageId(1));
    assert_eq!(queue.claim(&By { priority: Priority::High, ..By::default() }).unwrap().message, MessageId(2));
}
