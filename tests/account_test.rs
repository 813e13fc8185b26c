//! `mailsluice account test`: which step fails, why, and that nothing is sent; by the daemon and without one.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use mailsluice::sandbox::{Fault, FaultRule, SandboxConfig};
use serde_json::Value;

use crate::support::daemon::Site;
use crate::support::relay::{HEAD, PASSWORD, Upstream, WITHOUT_RATES, free_port, mailbox, send, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_works_is_told_step_by_step_and_nothing_is_sent() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    let alone = site.json(&["account", "test", "m365", "--json"]);
    assert!(!site.path().join("queue.db").exists(), "a trial needs no queue");
    let daemon = site.serve();
    let by_daemon = site.json(&["account", "test", "m365", "--json"]);
    for trial in [&alone, &by_daemon] {
        let steps: Vec<&str> = passed(trial).iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, ["resolve", "connect", "greeting", "tls", "ehlo", "auth", "mail"], "{trial}");
        assert_eq!(trial["failure"], Value::Null);
        let [certificate] = &trial["certificates"].as_array().unwrap()[..] else { panic!("{trial}") };
        assert!(certificate["issuer"].as_str().unwrap().contains("Mailsluice sandbox authority"), "{trial}");
        assert!(certificate["days_left"].as_i64().unwrap() > 0, "{trial}");
    }
    assert!(seen(&by_daemon, "connect").ends_with(&format!("127.0.0.1:{}", upstream.sandbox.address().port())));
    assert!(seen(&by_daemon, "tls").starts_with("TLS 1.3, "), "{by_daemon}");
    assert!(seen(&by_daemon, "ehlo").contains("AUTH LOGIN XOAUTH2"), "{by_daemon}");
    assert!(seen(&by_daemon, "auth").starts_with("LOGIN: 235 2.7.0"), "{by_daemon}");
    assert!(seen(&by_daemon, "mail").starts_with("webmaster@example.com may send: 250 2.1.0"), "{by_daemon}");

    let told = site.run(&["account", "test", "m365"]);
    let lines = stdout(&told);
    assert!(told.status.success() && lines.contains("  ok      AUTH      LOGIN: 235"), "{lines}");
    assert!(lines.contains("signed by CN=Mailsluice sandbox authority"), "{lines}");
    assert!(lines.ends_with("nothing was sent\n") && !lines.contains("FAILED"), "{lines}");
    assert!(upstream.sandbox.deliveries().is_empty());
    let counters = upstream.sandbox.counters();
    assert_eq!((counters.logins, counters.transactions), (3, 3), "{counters:?}");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_that_fails_is_named_with_the_cause_and_the_lane_does_not_hear_of_it() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    let daemon = site.serve();
    for (fault, step, sentence, reply) in [
        (Fault::AuthIncorrect, "auth", "password", "535 5.7.139"),
        (Fault::AuthDisabledMailbox, "auth", "SMTP AUTH", "535 5.7.139"),
        (Fault::NotAuthenticated, "mail", "", "530 5.7.57"),
        (Fault::BadCertificate, "tls", "is not trusted", ""),
        (Fault::NoStarttls, "start_tls", "does not offer STARTTLS", ""),
        (Fault::ServiceUnavailable, "greeting", "", "421 4.3.2"),
        (Fault::CutAtAuth, "auth", "closed the connection", ""),
    ] {
        upstream.sandbox.set_fault(Some(fault.into()));
        let failure = failure_of(site, "m365");
        assert_eq!(failure["step"], step, "{fault:?}: {failure}");
        assert!(text(&failure["sentence"]).contains(sentence), "{fault:?}: {failure}");
        assert!(text(&failure["reply"]).starts_with(reply), "{fault:?}: {failure}");
        assert_eq!(failure["reply"] == Value::Null, reply.is_empty(), "{fault:?}: {failure}");
        assert_eq!(site.json(&["account", "list", "--json"])[0]["standing"], "open", "{fault:?}");
    }
    upstream.sandbox.set_fault(Some(Fault::AuthDisabledMailbox.into()));
    let told = site.run(&["account", "test", "m365"]);
    let lines = stdout(&told);
    assert!(lines.contains("  ok      TLS ") && lines.contains("  FAILED  AUTH "), "{lines}");
    assert!(lines.contains("Set-CASMailbox") && lines.contains("the provider said: 535 5.7.139"), "{lines}");
    assert!(stderr(&told).contains("account m365 cannot deliver: AUTH failed"), "{}", stderr(&told));
    assert!(daemon.events("paused").is_empty());
    assert!(upstream.sandbox.deliveries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_strange_certificate_and_a_closed_port_are_told_apart() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    fs::write(site.path().join("password"), "not-open-sesame").unwrap();
    let failure = failure_of(site, "m365");
    assert_eq!(failure["step"], "auth");
    assert!(text(&failure["reply"]).starts_with("535 5.7.139"), "{failure}");
    fs::remove_file(site.path().join("password")).unwrap();
    let failure = failure_of(site, "m365");
    assert_eq!(failure["step"], "auth", "{failure}");
    assert!(text(&failure["sentence"]).contains("no file "), "{failure}");

    let account = |name: &str, host: &str, port: u16| {
        format!(
            "[[account]]\nname = \"{name}\"\nprovider = \"smtp\"\nhost = \"{host}\"\nport = {port}\nusername = \"x\"\n\
             password = {{ file = \"SITE/password\" }}\nfrom = \"x@example.com\"\n"
        )
    };
    fs::write(site.path().join("password"), PASSWORD).unwrap();
    std::fs::set_permissions(site.path().join("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let sandbox = upstream.sandbox.address().port();
    let closed = free_port();
    let files = "[[account]]\nname = \"files\"\nprovider = \"directory\"\npath = \"SITE/out\"\n";
    site.configure(
        &[
            HEAD,
            &account("unknown", "no-such-host.invalid", 587),
            &account("closed", "127.0.0.1", closed),
            &account("strange", "127.0.0.1", sandbox),
            files,
        ]
        .concat(),
    );
    let failure = failure_of(site, "unknown");
    assert_eq!(failure["step"], "resolve", "{failure}");
    assert!(text(&failure["sentence"]).contains("no-such-host.invalid"), "{failure}");
    let failure = failure_of(site, "closed");
    assert_eq!(failure["step"], "connect", "{failure}");
    assert!(text(&failure["sentence"]).contains(&closed.to_string()), "{failure}");
    let failure = failure_of(site, "strange");
    assert_eq!(failure["step"], "tls", "{failure}");
    assert!(text(&failure["sentence"]).contains("nobody on this machine knows its issuer"), "{failure}");
    assert_eq!(failure_of(site, "files")["step"], "content");
    fs::create_dir(site.path().join("out")).unwrap();
    assert_eq!(site.json(&["account", "test", "files", "--json"])["failure"], Value::Null);
    assert_eq!(fs::read_dir(site.path().join("out")).unwrap().count(), 0, "the file of the trial is gone");
    let missing = site.run(&["account", "test", "nobody"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("no account nobody; there is unknown, closed, strange, files"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_logins_is_tried_without_one() {
    let mut config = SandboxConfig { ..mailbox() };
    config.profile.mechanisms = vec![];
    let upstream = Upstream::start(config, WITHOUT_RATES).await;
    let port = upstream.sandbox.address().port();
    upstream.site.configure(&format!(
        "{HEAD}[[account]]\nname = \"relay\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         ca_file = \"SITE/ca.pem\"\nfrom = \"webmaster@example.com\"\n"
    ));
    let trial = upstream.site.json(&["account", "test", "relay", "--json"]);
    let steps: Vec<&str> = passed(&trial).iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, ["resolve", "connect", "greeting", "tls", "ehlo", "mail"], "{trial}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_takes_one_of_the_connections_that_the_login_may_have() {
    let upstream = Upstream::start(mailbox(), "caps = { messages = [], recipients = [], connections = 1 }").await;
    let daemon = upstream.site.serve();
    upstream.sandbox.set_fault(Some(FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(2))));
    send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
    within("transaction", upstream.sandbox.wait_until(|counters| counters.sending == 1)).await;
    let began = Instant::now();
    let trying = std::thread::scope(|scope| {
        let trying = scope.spawn(|| upstream.site.json(&["account", "test", "m365", "--json"]));
        loop {
            let counters = upstream.sandbox.counters();
            if counters.sending == 0 {
                break;
            }
            assert_eq!(counters.connections, 1, "beside the mail: {counters:?}");
            std::thread::yield_now();
        }
        trying.join().unwrap()
    });
    assert_eq!(trying["failure"], Value::Null, "{trying}");
    assert_eq!(upstream.sandbox.counters().logins, 2);
    // It waited for the mail, and not for the connection that is kept for the next one, for 8 s.
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    daemon.wait_for("delivered", |line| line["event"] == "delivered");
}

/// The step that failed; the command must say so by its code, and must not show the password.
fn failure_of(site: &Site, account: &str) -> Value {
    let output = site.run(&["account", "test", account, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let (out, err) = (stdout(&output), stderr(&output));
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "{out}{err}");
    let trial: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    trial["failure"].clone()
}

fn passed(trial: &Value) -> Vec<(&str, &str)> {
    let steps = trial["passed"].as_array().unwrap().iter();
    steps.map(|one| (one["step"].as_str().unwrap(), one["seen"].as_str().unwrap())).collect()
}

fn seen<'a>(trial: &'a Value, step: &str) -> &'a str {
    passed(trial).into_iter().find(|(found, _)| *found == step).unwrap().1
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
