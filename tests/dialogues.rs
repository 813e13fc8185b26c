//! The relay in front of each provider that the sandbox plays, with the provider's own preset; and what the command
//! `sandbox` prints, pasted.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use mailsluice::sandbox::{KeepContent, SandboxConfig, Service};

use crate::support::client::Numbered;
use crate::support::daemon::{Site, mailsluice};
use crate::support::relay::{Arrived, HEAD, send};
use crate::support::scene::{Scene, Script};

/// A relay with what the preset of the service's provider says, in front of that service.
fn scene(service: Service, change: impl FnOnce(&mut SandboxConfig)) -> Scene {
    let mut sandbox = SandboxConfig { content: KeepContent::Keep, ..SandboxConfig::of(service) };
    change(&mut sandbox);
    Scene::set(Script { sandbox, caps: "", ..Script::default() })
}

#[test]
fn each_service_takes_mail_by_tls_login_and_caps() {
    for service in Service::ALL {
        let scene = scene(service, |_| {});
        let daemon = scene.serve();
        scene.offer(0..4);
        let mut numbers: Vec<Numbered> = scene.wait_for(4).iter().map(|delivery| Numbered::intact(delivery)).collect();
        numbers.sort();
        assert_eq!(numbers, (0..4).map(Numbered).collect::<Vec<_>>(), "{service}");
        daemon.wait_for_count("deliveries", 4, |line| line["event"] == "delivered");
        let counters = scene.sandbox.counters();
        assert!(counters.logins > 0, "{service}: {counters:?}");
        let refused = (counters.failed_logins, counters.rate_refusals, counters.quota_refusals);
        assert_eq!((counters.plaintext_logins, refused), (0, (0, 0, 0)), "{service}");
        assert_eq!(daemon.events("resting").len() + daemon.events("paused").len(), 0, "{service}");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_message_above_the_size_that_a_host_offers_is_not_sent() {
    for service in Service::ALL {
        let scene = scene(service, |config| config.caps.size = 200_000);
        let daemon = scene.serve();
        let large = format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
        send(scene.relay, "shop@example.com", &["you@example.com"], large.as_bytes());
        let deferred = daemon.wait_for("deferral", |line| line["event"] == "deferred");
        let sentence = deferred["message"].as_str().unwrap();
        assert!(sentence.contains("the account carries 200000"), "{service}: {deferred}");
        send(scene.relay, "shop@example.com", &["you@example.com"], b"Subject: small\r\n\r\nx\r\n");
        let small = scene.wait_for(1);
        assert_eq!(small[0].subject.as_deref(), Some("small"), "{service}");
        // MAIL was said for the small one alone.
        assert_eq!(scene.sandbox.counters().transactions, 1, "{service}");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn ses_gets_no_field_twice_and_no_command_of_a_client() {
    let scene = scene(Service::Ses, |_| {});
    let daemon = scene.serve();
    let message =
        b"From: a@shop.example\r\nSubject: one\r\nSubject: two\r\nX-SES-CONFIGURATION-SET: theirs\r\n\r\nx\r\n";
    send(scene.relay, "a@shop.example", &["you@example.com"], message);
    let delivery = scene.wait_for(1).remove(0);
    let arrived = Arrived::new(&delivery);
    assert_eq!(arrived.fields("Subject").len(), 1, "{}", arrived.header);
    assert_eq!(arrived.fields("X-SES-CONFIGURATION-SET"), [""; 0]);
    assert_eq!(
        (arrived.from.as_str(), arrived.field("From").contains("<shop@example.com>")),
        ("shop@example.com", true)
    );
    let line = daemon.wait_for("delivery", |line| line["event"] == "delivered");
    assert!(line["reply"].as_str().unwrap().ends_with(&format!("Ok {}", delivery.assigned_id)), "{line}");
    assert_eq!(daemon.stop(), 0);
}

/// `mailsluice sandbox`, stopped with the value.
struct Rehearsal {
    child: Child,
    /// What it printed, up to how it is stopped.
    printed: String,
}

impl Rehearsal {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut command: Command = mailsluice();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--token-listen", "127.0.0.1:0", "--directory"]);
        let mut child = command.arg(site.path().join("play")).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let printed: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();
        Self { child, printed: printed.join("\n") }
    }

    /// The account that it offers for pasting.
    fn account(&self) -> &str {
        &self.printed[self.printed.find("[[account]]").expect("an account")..]
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_sandbox_prints_can_be_pasted() {
    for service in Service::ALL {
        let site = Site::new(HEAD, "unused");
        let rehearsal = Rehearsal::start(&site, &["--profile", service.name()]);
        assert!(
            rehearsal.printed.contains(&format!("plays {} on 127.0.0.1:", service.host())),
            "{}",
            rehearsal.printed
        );
        let offers_tokens = matches!(service, Service::Microsoft365 | Service::Google);
        assert_eq!(rehearsal.account().contains("[account.oauth]"), offers_tokens, "{}", rehearsal.printed);
        // With the password alone: who logs in by token is shown elsewhere.
        let account = rehearsal.account().split("[account.oauth]").next().unwrap();
        site.configure(&format!("{HEAD}{account}"));
        let daemon = site.serve();
        send(daemon.address(), "a@shop.example", &["you@example.com"], b"Subject: pasted\r\n\r\nx\r\n");
        daemon.wait_for("delivery", |line| line["event"] == "delivered");
        let files = std::fs::read_dir(site.path().join("play/mail")).unwrap().count();
        assert_eq!((files, daemon.stop()), (1, 0), "{service}");

        site.configure(&format!("{HEAD}{}", rehearsal.account()));
        let checked = site.run(&["check"]);
        assert!(checked.status.success(), "{service}: {}", String::from_utf8_lossy(&checked.stderr));
        // So is what it wrote for a relay of its own.
        let written = site.path().join("play/rehearsal.toml");
        let checked = mailsluice().arg("--config").arg(&written).arg("check").output().unwrap();
        assert!(checked.status.success(), "{service}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn a_fault_brings_the_service_that_has_it() {
    let site = Site::new(HEAD, "unused");
    let rehearsal = Rehearsal::start(&site, &["--fault", "ses-throttled:3"]);
    assert!(rehearsal.printed.contains("plays email-smtp.us-east-1.amazonaws.com on "), "{}", rehearsal.printed);
    assert!(rehearsal.printed.contains("  fault          ses-throttled: too many recipients"), "{}", rehearsal.printed);
    site.configure(&format!("{HEAD}{}", rehearsal.account()));
    let daemon = site.serve();
    send(daemon.address(), "a@shop.example", &["you@example.com"], b"Subject: x\r\n\r\nx\r\n");
    let refused =
        daemon.wait_for("refusal", |line| line["reply"].as_str().is_some_and(|reply| reply.starts_with("454")));
    assert_eq!(refused["reply"], "454 Throttling failure: Maximum sending rate exceeded", "{refused}");
    assert_eq!(daemon.stop(), 0);

    let wrong = site.run(&["sandbox", "--profile", "mailjet", "--fault", "quota"]);
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && told.contains("quota is a fault of microsoft365, not of mailjet"), "{told}");
}

#[test]
fn passwords_that_end_are_rehearsed_with_what_is_pasted() {
    let site = Site::new(HEAD, "unused");
    let rehearsal = Rehearsal::start(&site, &["--fault", "basic-auth-disabled"]);
    site.configure(&format!("{HEAD}{}", rehearsal.account()));
    let daemon = site.serve();
    send(daemon.address(), "a@shop.example", &["you@example.com"], b"Subject: x\r\n\r\nx\r\n");
    let switched = daemon.wait_for("change of the login", |line| line["event"] == "login_switched");
    assert!(switched["reply"].as_str().unwrap().contains("basic authentication is disabled"), "{switched}");
    daemon.wait_for("delivery", |line| line["event"] == "delivered");
    assert_eq!(daemon.stop(), 0);
}
