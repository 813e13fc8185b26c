//! A machine without a battery: its clock starts in 1970, jumps to the present, and back.

use mailsluice::sandbox::{Caps, Delivery, Excess, Fault, FaultRule, Limit};
use std::time::Duration;

use crate::support::client::Numbered;
use crate::support::scene::{Scene, Script, in_1970};

const CAP: usize = 5;
const WINDOW: Duration = Duration::from_secs(4);

#[test]
fn a_clock_that_starts_in_1970_breaks_no_cap_and_expires_no_mail() {
    let caps = format!("messages = [\"{CAP}/{}s\"], recipients = []", WINDOW.as_secs());
    let mut script = Script { caps: &caps, queue: "max_age = \"1h\"", ..Script::default() };
    let messages = Some(Limit { count: CAP, window: WINDOW });
    script.sandbox.caps = Caps { messages, excess: Excess::Record, ..Caps::unlimited() };
    let scene = Scene::set(script);

    let daemon = scene.site.serve_with(in_1970);
    scene.offer(0..8);
    scene.wait_for(CAP);
    daemon.wait_for("cap", |line| line["event"] == "cap_reached");
    assert_eq!(daemon.stop(), 0);

    // The present: the three that are left look half a century old, and so do the five charges.
    scene.sandbox.set_fault(Some(FaultRule::from(Fault::Tempfail).first(1)));
    let daemon = scene.serve();
    let deferred = daemon.wait_for("refusal", |line| line["event"] == "deferred" || line["event"] == "expired");
    assert_eq!(deferred["event"], "deferred", "nothing expires for a jump of the clock: {deferred}");
    scene.command(&["queue", "retry", "--all"]);
    scene.wait_for(8);
    scene.offer(8..9);
    scene.wait_for(9);
    assert_eq!(daemon.stop(), 0);

    // And back: scheduling goes on from where it was, and somebody is told.
    let daemon = scene.site.serve_with(in_1970);
    daemon.wait_for("alarm", |line| line["event"] == "alarm" && line["kind"] == "clock");
    scene.offer(9..10);
    let deliveries = scene.wait_for(10);
    assert_eq!(daemon.stop(), 0);

    let mut numbers: Vec<Numbered> = deliveries.iter().map(|delivery| Numbered::intact(delivery)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).map(Numbered).collect::<Vec<_>>());
    for delivery in &deliveries {
        let wanted = if Numbered::intact(delivery) == Numbered(8) { "20" } else { "1970" };
        assert!(year(delivery).starts_with(wanted), "{delivery:?}: stamped by the wall clock of the moment");
    }
    let arrivals = scene.sandbox.arrivals();
    for first in &arrivals {
        let held = arrivals.iter().filter(|at| *at >= first && at.since(*first) < WINDOW).count();
        assert!(held <= CAP, "{held} in {WINDOW:?}: {arrivals:?}");
    }
    assert_eq!(scene.sandbox.counters().rate_violations, 0);
}

/// The year in the trace field that the relay put on top: `…; Thu, 1 Jan 1970 00:01:00 +0000`.
fn year(delivery: &Delivery) -> String {
    let content = String::from_utf8(delivery.content.clone().unwrap()).unwrap();
    let (received, _) = content.split_once(" +0000").expect("a time in UTC");
    assert!(received.starts_with("Received: "), "{content}");
    received.rsplit(' ').nth(1).unwrap().to_owned()
}
