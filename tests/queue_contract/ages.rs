//! Promise 7: what makes mail older and what does not.

use mailsluice::queue::record::Operation;
use mailsluice::schedule::verdict::Outcome;

use super::*;

fn age(queue: &mut Harness) -> u64 {
    let claim = queue.claim(&By::default()).unwrap();
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Untried]));
    let now = queue.now;
    let view = queue.write(|store, _| store.view(1, now));
    let flow = view.flows.iter().find(|flow| flow.client == claim.client).unwrap();
    assert_eq!(flow.heads[0].age, claim.age);
    claim.age.as_secs()
}

pub(crate) fn stopped_time_does_not_age(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.pass(100);
    queue.run_clock(false);
    queue.pass(500);
    // Said once more it changes nothing.
    queue.run_clock(false);
    queue.pass(500);
    assert_eq!(age(&mut queue), 100);
    // What comes meanwhile is as young as it can be.
    queue.enqueue(&NewMessage { client: "camera".into(), ..mail(2, &["a"]) });
    queue.pass(500);
    queue.run_clock(true);
    queue.pass(50);
    assert_eq!(age(&mut queue), 150);
    assert_eq!(queue.claim(&By { client: "camera", ..By::default() }).unwrap().age.as_secs(), 50);
}

pub(crate) fn downtime_does_not_age(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.pass(10);
    queue.write(|_, _| Ok(()));
    for _ in 0..2 {
        queue.pass(100_000);
        queue.crash();
    }
    queue.pass(5);
    assert_eq!(age(&mut queue), 15);
}

pub(crate) fn a_route_that_is_stopped_stays_so_through_downtime(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.pass(10);
    queue.run_clock(false);
    queue.pass(1000);
    queue.crash();
    queue.pass(1000);
    assert_eq!(age(&mut queue), 10);
    queue.run_clock(true);
    queue.pass(1);
    assert_eq!(age(&mut queue), 11);
}

pub(crate) fn what_fails_and_is_retried_is_young_again(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.pass(500);
    queue.attempt(Outcome::Expired);
    queue.run_clock(false);
    queue.pass(500);
    queue.run_clock(true);
    queue.operate(1, Operation::Retry);
    queue.pass(7);
    assert_eq!(age(&mut queue), 7);
}
