//! Mail of which nobody knows whether the provider took it: sent again, or kept for a person to decide.

use std::time::Duration;

use mailsluice::sandbox::{Delivery, Fault, FaultRule};
use serde_json::{Value, json};

use crate::support::client::Numbered;
use crate::support::daemon::Daemon;
use crate::support::scene::{Scene, Script};

const HOLD: &str = "on_uncertain = \"hold\"";

#[test]
fn a_connection_cut_after_the_final_dot_is_sent_again() {
    let scene = scene("", FaultRule::from(Fault::CutAtDot).first(1));
    let daemon = scene.serve();
    scene.offer(0..1);
    let uncertain = daemon.wait_for("uncertainty", |line| line["event"] == "uncertain");
    assert_eq!(uncertain["level"], "WARN");
    assert!(uncertain["message"].as_str().unwrap().contains("it is sent again"), "{uncertain}");
    let deferred = daemon.wait_for("deferral", |line| line["event"] == "deferred");
    assert_eq!(deferred["queue_id"], uncertain["queue_id"]);

    scene.command(&["queue", "retry", id(&uncertain)]);
    let delivered = daemon.wait_for("delivery", |line| line["event"] == "delivered");
    assert_eq!((&delivered["queue_id"], &delivered["attempts"]), (&uncertain["queue_id"], &json!(2)));
    assert_eq!(daemon.events("uncertain").len(), 1);
    assert_came_twice(&scene);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_connection_cut_after_the_final_dot_is_held_where_wanted() {
    let scene = scene(HOLD, FaultRule::from(Fault::CutAtDot).first(2));
    let daemon = scene.serve();
    scene.offer(0..2);
    let lines = daemon.wait_for_count("uncertainties", 2, |line| line["event"] == "uncertain");
    assert!(lines[0]["message"].as_str().unwrap().contains("queue settle"), "{}", lines[0]);
    assert_settled(&scene, &daemon, id(&lines[0]), "delivered");
    assert_settled(&scene, &daemon, id(&lines[1]), "failed");

    // Other mail is not concerned, and passes the two without taking them along.
    scene.offer(2..3);
    scene.wait_for(3);
    assert_eq!(daemon.stop(), 0);
    let numbers: Vec<Numbered> = scene.sandbox.deliveries().iter().map(|delivery| Numbered::intact(delivery)).collect();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    assert_eq!(numbers[2], Numbered(2));
}

#[test]
fn a_crash_before_the_final_reply_is_sent_again() {
    let scene = scene("", answered_late());
    let daemon = scene.serve();
    scene.offer(0..1);
    scene.wait_for(1);
    let queue_id = daemon.wait_for("acceptance", |line| line["event"] == "accepted")["queue_id"].clone();
    daemon.kill();

    scene.sandbox.set_fault(None);
    let daemon = scene.serve();
    let uncertain = daemon.wait_for("uncertainty", |line| line["event"] == "uncertain");
    assert_eq!(uncertain["queue_id"], queue_id);
    assert!(uncertain["message"].as_str().unwrap().contains("the daemon stopped during the transaction"));
    let delivered = daemon.wait_for("delivery", |line| line["event"] == "delivered");
    assert_eq!(delivered["queue_id"], queue_id);
    assert_came_twice(&scene);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_crash_before_the_final_reply_is_held_where_wanted() {
    let scene = scene(HOLD, answered_late());
    let daemon = scene.serve();
    scene.offer(0..2);
    scene.wait_for(2);
    daemon.kill();

    scene.sandbox.set_fault(None);
    let daemon = scene.serve();
    let lines = daemon.wait_for_count("uncertainties", 2, |line| line["event"] == "uncertain");
    assert_settled(&scene, &daemon, id(&lines[0]), "failed");
    assert_settled(&scene, &daemon, id(&lines[1]), "delivered");
    scene.offer(2..3);
    assert_eq!(Numbered::intact(&scene.wait_for(3)[2]), Numbered(2));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(scene.sandbox.deliveries().len(), 3, "what was held is never sent again");
}

#[test]
fn what_a_crash_left_is_told_by_the_command_that_takes_it_up_and_not_by_one_that_looks() {
    let scene = scene(HOLD, answered_late());
    let daemon = scene.serve();
    scene.offer(0..1);
    scene.wait_for(1);
    let accepted = daemon.wait_for("acceptance", |line| line["event"] == "accepted");
    let id = id(&accepted);
    daemon.kill();

    for looking in [&["queue", "list"][..], &["queue", "show", id], &["queue", "stats"], &["account", "list"]] {
        let output = scene.site.run(looking);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{looking:?}");
        assert_eq!(scene.site.json(&["queue", "list", "--json"])[0]["fate"], "sending", "{looking:?}");
    }
    let settled = scene.site.run(&["queue", "settle", id, "delivered"]);
    let told = String::from_utf8_lossy(&settled.stderr);
    assert!(settled.status.success(), "{told}");
    let uncertain = told.lines().find(|line| line.contains("event=\"uncertain\"")).expect(&told);
    assert!(uncertain.contains(&format!("{id}: nobody knows whether")), "{told}");
    assert_eq!(scene.site.json(&["queue", "show", id, "--json"])["fate"], "delivered");
}

fn scene(account: &str, fault: FaultRule) -> Scene {
    let mut script = Script { account, ..Script::default() };
    script.sandbox.fault = Some(fault);
    Scene::set(script)
}

/// The provider stores the message, and its reply comes when the test is long over.
fn answered_late() -> FaultRule {
    FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(600))
}

fn id(line: &Value) -> &str {
    line["queue_id"].as_str().unwrap()
}

/// One message, twice, by the same Message-ID.
fn assert_came_twice(scene: &Scene) {
    let deliveries = scene.wait_for(2);
    let [first, second]: [&Delivery; 2] = [&deliveries[0], &deliveries[1]];
    assert_eq!(deliveries.len(), 2);
    assert_eq!(Numbered::intact(first), Numbered::intact(second));
    assert!(first.message_id.is_some());
    assert_eq!(first.message_id, second.message_id);
}

/// The message waits for a person, who settles it; what is logged and listed before and after.
fn assert_settled(scene: &Scene, daemon: &Daemon, id: &str, outcome: &str) {
    let listed = |fate: &str| {
        let list = scene.site.json(&["queue", "list", "--fate", fate, "--json"]);
        list.as_array().unwrap().iter().any(|one| one["queue_id"] == id && one["fate"] == fate)
    };
    assert!(listed("uncertain") && !listed(outcome), "{id}");
    scene.command(&["queue", "settle", id, outcome]);
    let line = daemon.wait_for(outcome, |line| line["event"] == outcome && line["queue_id"] == id);
    assert_eq!(line["operator"], true, "{line}");
    assert!(!listed("uncertain") && listed(outcome), "{id}");
    let again = scene.site.run(&["queue", "settle", id, outcome]);
    assert!(!again.status.success(), "it can be settled once");
}
