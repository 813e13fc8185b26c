//! What commands tell of the provider's refusals: of a message that waits, and of the account that keeps it waiting.

use mailsluice::sandbox::{Fault, FaultRule};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::scene::{Scene, Script};

const MEND: &str = "Move the account to OAuth (README, \"Move to OAuth\"; `mailsluice account login m365`)";

#[test]
fn a_message_that_waits_for_a_login_tells_why() {
    let scene = Scene::set(Script::default());
    scene.sandbox.set_fault(Some(FaultRule::from(Fault::BasicAuthRetired)));
    let daemon = scene.serve();
    scene.offer(0..1);
    let paused = daemon.wait_for("stop of the lane", |line| line["event"] == "paused");
    assert!(paused["message"].as_str().unwrap().contains(MEND), "{paused}");
    let id = daemon.wait_for("acceptance", |line| line["event"] == "accepted")["queue_id"].clone();
    let id = id.as_str().unwrap();

    let reply = "550 5.7.30 Basic authentication is not supported for Client Submission.";
    let shown = scene.site.json(&["queue", "show", id, "--json"]);
    let history = shown["history"].as_array().unwrap();
    let [attempt] = &history[..] else { panic!("{shown}") };
    assert_eq!((&attempt["step"], &attempt["times"], &attempt["recipients"]), (&"AUTH".into(), &1.into(), &1.into()));
    assert!(attempt["reply"].as_str().unwrap().starts_with(reply), "{attempt}");
    assert_eq!((&shown["attempts"], &shown["fate"]), (&0.into(), &"waiting".into()), "no attempt of the message");
    let stopped = &shown["waits_for"][0];
    assert_eq!((&stopped["account"], &stopped["standing"]), (&"m365".into(), &"paused".into()));
    assert!(stopped["next_probe_in"].as_u64().is_some_and(|seconds| seconds <= 60), "{stopped}");

    let text = scene.command(&["queue", "show", id]);
    let time = attempt["time"].as_str().unwrap();
    for part in [&format!("\n{time} ("), " ago)", "  by     m365 at 127.0.0.1, AUTH\n", &format!("  reply  {reply}")] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let means = format!("  means  Microsoft 365 has ended password logins for this tenant. {MEND}");
    assert!(text.contains(&means), "{text}");
    assert!(text.contains("waits for   m365, which is paused, one message tries in "), "{text}");
    assert!(scene.command(&["account", "list"]).contains(MEND));

    // Once an account takes mail again, it waits for none.
    scene.sandbox.set_fault(None::<FaultRule>);
    scene.command(&["account", "resume", "m365"]);
    scene.wait_for(1);
    daemon.wait_for("delivery", |line| line["event"] == "delivered");
    let shown = scene.site.json(&["queue", "show", id, "--json"]);
    assert_eq!(shown["waits_for"], Value::Array(vec![]));
    let steps: Vec<&Value> = shown["history"].as_array().unwrap().iter().map(|attempt| &attempt["step"]).collect();
    assert_eq!(steps, ["AUTH", "end of data"]);
}

#[test]
fn an_account_that_is_slowed_down_shows_its_pace() {
    let scene = Scene::set(Script { caps: "messages = \"30/min\", recipients = []", ..Script::default() });
    scene.sandbox.set_fault(Some(FaultRule::from(Fault::Rate).first(1)));
    let daemon = scene.serve();
    scene.offer(0..1);
    daemon.wait_for("rest", |line| line["event"] == "resting");
    let accounts = scene.site.json(&["account", "list", "--json"]);
    let pace = &accounts[0]["pace"];
    assert!(pace["full_in"].as_u64().is_some_and(|seconds| seconds <= 32), "{accounts}");
    // It recovers by an eighth every eight seconds.
    let caps = ["15/min messages", "18/min messages", "22/min messages", "26/min messages"];
    assert!(caps.contains(&pace["caps"][0].as_str().unwrap()), "{accounts}");
    let text = scene.command(&["account", "list"]);
    assert!(text.contains("m365: slower, as the provider wants less: "), "{text}");
}

#[test]
fn a_client_that_has_had_its_share_is_told_and_a_greater_one_counts_from_the_reload_on() {
    let client = "[[client]]\nname = \"cameras\"\nnetworks = [\"127.0.0.0/8\"]\nshare = \"50%\"";
    let caps = "messages = [\"4/h\"], recipients = []";
    let scene = Scene::set(Script { caps, account: client, ..Script::default() });
    let daemon = scene.serve();
    scene.offer(0..5);
    let reached = daemon.wait_for("share", |line| line["event"] == "share_reached");
    assert_eq!((&reached["account"], &reached["client"]), (&"m365".into(), &"cameras".into()));
    daemon.wait_for_count("deliveries", 2, |line| line["event"] == "delivered");
    let accounts = scene.site.json(&["account", "list", "--json"]);
    let share = &accounts[0]["shares"][0];
    assert_eq!((&share["client"], &share["percent"]), (&"cameras".into(), &50.into()));
    let cap = &share["caps"][0];
    assert_eq!((&cap["cap"], &cap["used"], &cap["left"]), (&"2/h".into(), &2.into(), &0.into()), "{accounts}");
    assert!(share["next_slot_in"].as_f64().is_some_and(|seconds| seconds > 3000.0), "{accounts}");
    assert_eq!((&accounts[0]["caps"][0]["left"], &accounts[0]["next_slot_in"]), (&2.into(), &0.0.into()), "{accounts}");
    let text = scene.command(&["account", "list"]);
    assert!(text.contains("m365: cameras has had its share of 50 %; its mail goes on in "), "{text}");
    assert!(daemon.events("cap_reached").is_empty());

    let config = std::fs::read_to_string(scene.site.config()).unwrap();
    scene.site.configure(&config.replace("50%", "75%"));
    daemon.signal(Signal::HUP);
    assert_eq!(scene.wait_for(3).len(), 3);
    assert_eq!(daemon.stop(), 0);
}
