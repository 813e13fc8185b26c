//! People are told of trouble: in the log, at a webhook, and by mail through another account than the one in trouble.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::config::Config;
use mailsluice::sandbox::{Fault, FaultRule, Sandbox, SandboxConfig};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, Site};
use crate::support::hook::{Hook, PATH};
use crate::support::notifier::Desk;
use crate::support::relay::{Arrived, HEAD, PASSWORD, WITHOUT_RATES, mailbox, send, within};

/// A relay with an account at each of these sandboxes, called `a`, `b`, … and sending as `a@example.com`, ….
struct Setting {
    sandboxes: Vec<Sandbox>,
    site: Site,
}

impl Setting {
    async fn new(faults: &[Option<Fault>], alarms: &str) -> Self {
        let (mut sandboxes, mut accounts) = (Vec::new(), String::new());
        for (name, fault) in ('a'..).zip(faults) {
            let user = format!("{name}@example.com");
            let config = SandboxConfig { fault: fault.map(FaultRule::from), user: user.clone(), ..mailbox() };
            let sandbox = Sandbox::start(config).await.unwrap();
            accounts += &format!(
                "[[account]]\nname = \"{name}\"\nprovider = \"microsoft365\"\nhost = \"127.0.0.1\"\nport = {}\n\
                 ca_file = \"SITE/{name}.pem\"\nusername = \"{user}\"\npassword = {{ file = \"SITE/password\" }}\n\
                 {WITHOUT_RATES}\n",
                sandbox.address().port()
            );
            sandboxes.push(sandbox);
        }
        let site = Site::new("", PASSWORD);
        for (name, sandbox) in ('a'..).zip(&sandboxes) {
            std::fs::write(site.path().join(format!("{name}.pem")), sandbox.ca_pem()).unwrap();
        }
        let setting = Self { sandboxes, site };
        setting.configure(alarms, &accounts);
        setting
    }

    fn configure(&self, alarms: &str, accounts: &str) {
        self.site.configure(&format!("{HEAD}[alarms]\ncalm = \"1s\"\n{alarms}\n{accounts}"));
    }

    /// The mail to `ops@example.com` that tells this, once this sandbox has it.
    async fn alarm_mail(&self, sandbox: usize, telling: &str) -> Arrived {
        let tells =
            |one: &Arrived| one.to == ["ops@example.com"] && String::from_utf8_lossy(&one.body).contains(telling);
        let mail = async {
            let mut count = 1;
            loop {
                let deliveries = self.sandboxes[sandbox].wait_for(count).await;
                if let Some(found) = deliveries.iter().map(|one| Arrived::new(one)).find(tells) {
                    return found;
                }
                count = deliveries.len() + 1;
            }
        };
        within("alarm by mail", mail).await
    }

    fn mend(&self, account: &str) {
        self.sandboxes[0].set_fault(None::<FaultRule>);
        assert!(self.site.run(&["account", "resume", account]).status.success());
    }
}

fn of_kind(lines: Vec<Value>, kind: &str) -> Vec<Value> {
    lines.into_iter().filter(|line| line["kind"] == kind).collect()
}

fn is_alarm(line: &Value, kind: &str) -> bool {
    line["event"] == "alarm" && line["kind"] == kind
}

/// Keeps the address of a webhook in a file, as a secret may be.
fn keep_secret(path: &Path, secret: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(secret.as_bytes()).unwrap();
}

/// A client that the relay refuses so many times.
fn be_refused(relay: SocketAddr, times: usize) {
    let mut stream = BufReader::new(TcpStream::connect(relay).unwrap());
    let mut reply = String::new();
    stream.read_line(&mut reply).unwrap();
    for _ in 0..times {
        stream.get_mut().write_all(b"HELO camera\r\nMAIL FROM:<not an address>\r\n").unwrap();
        for wanted in ["250", "5"] {
            reply.clear();
            stream.read_line(&mut reply).unwrap();
            assert!(reply.starts_with(wanted), "{reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_account_is_in_trouble_and_everybody_hears_of_it_by_other_ways() {
    let hook = Hook::start(&[]);
    let alarms = "webhook = { file = \"SITE/webhook\" }\nto = \"ops@example.com\"";
    let setting = Setting::new(&[Some(Fault::AuthIncorrect), None], alarms).await;
    keep_secret(&setting.site.path().join("webhook"), &format!("{}\n", hook.url()));
    let daemon = setting.site.serve_with(|command| {
        command.env("RUST_LOG", "trace");
    });
    send(daemon.address(), "shop@example.org", &["you@example.com"], b"Subject: hello\r\n\r\nx\r\n");

    let line = daemon.wait_for("alarm", |line| is_alarm(line, "lane_paused"));
    assert_eq!((&line["level"], &line["subject"], &line["state"]), (&"ERROR".into(), &"a".into(), &"raised".into()));
    assert!(
        line["since"].as_str().unwrap().starts_with("20")
            && line["message"].as_str().unwrap().contains("Account a is paused")
    );
    let post = hook.wait_for(1, "lane_paused", "raised").remove(0);
    assert_eq!((&post["subject"], &post["sentence"]), (&"a".into(), &line["message"]));
    assert_eq!((&post["host"], &post["version"]), (&"relay.example".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(post["since"], line["since"]);
    assert!(post["text"].as_str().unwrap().contains(line["message"].as_str().unwrap()));

    let mail = setting.alarm_mail(1, "lane_paused a, raised").await;
    assert_eq!((mail.from.as_str(), mail.field("Auto-Submitted")), ("b@example.com", "auto-generated"));
    assert!(mail.field("From").contains("<b@example.com>"), "{}", mail.header);
    assert!(mail.fields("Date").len() == 1 && mail.fields("Message-ID").len() == 1, "{}", mail.header);
    let about_b = |line: &Value| line["event"] == "accepted" && line["from"] == "b@example.com";
    let accepted = daemon.wait_for("acceptance", about_b);
    let delivered = |line: &Value| line["event"] == "delivered" && line["queue_id"] == accepted["queue_id"];
    assert_eq!(daemon.wait_for("delivery", delivered)["account"], "b");
    let shown = setting.site.json(&["queue", "show", accepted["queue_id"].as_str().unwrap(), "--json"]);
    assert_eq!((&shown["route"], &shown["priority"]), (&"avoiding:a".into(), &"high".into()), "{shown}");

    setting.mend("a");
    let over =
        daemon.wait_for("end of the alarm", |line| line["event"] == "alarm_over" && line["kind"] == "lane_paused");
    assert_eq!((&over["level"], &over["subject"]), (&"INFO".into(), &"a".into()));
    hook.wait_for(1, "lane_paused", "over");
    assert_eq!(hook.posts("lane_paused").len(), 2);
    assert_eq!(of_kind(daemon.events("alarm"), "lane_paused").len(), 1, "told once");
    for line in daemon.log() {
        assert!(!line.to_string().contains(&PATH[1..]), "the address of the webhook is a secret: {line}");
    }
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_single_account_the_mail_waits_for_it_and_a_restart_tells_nothing_twice() {
    let hook = Hook::start(&[]);
    let alarms = format!("webhook = \"{}\"\nto = [\"ops@example.com\"]", hook.url());
    let setting = Setting::new(&[Some(Fault::AuthIncorrect)], &alarms).await;
    let daemon = setting.site.serve();
    send(daemon.address(), "shop@example.org", &["you@example.com"], b"Subject: hello\r\n\r\nx\r\n");
    hook.wait_for(1, "lane_paused", "raised");
    let own = |line: &Value| line["event"] == "accepted" && line["client"] == "mailsluice";
    daemon.wait_for("alarm by mail", own);
    daemon.kill();

    let daemon = setting.site.serve();
    // What comes later has been told of, so what stood before has been looked at.
    be_refused(daemon.address(), 1);
    hook.wait_for(1, "client_refused", "raised");
    assert_eq!(hook.posts("lane_paused").len(), 1, "it stands, and was told");
    assert_eq!(of_kind(daemon.events("alarm"), "lane_paused"), [] as [Value; 0]);
    assert_eq!(daemon.log().into_iter().filter(own).count(), 0, "while one mail waits no other one is written");

    setting.mend("a");
    let mail = setting.alarm_mail(0, "lane_paused a, raised").await;
    assert_eq!(mail.from, "a@example.com");
    hook.wait_for(1, "lane_paused", "over");
    // The next one has what has come meanwhile, all together.
    daemon.wait_for("alarm by mail", own);
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_one_alarm_and_a_webhook_that_fails_is_tried_again() {
    let hook = Hook::start(&[500]);
    let setting = Setting::new(&[None], &format!("webhook = \"{}\"", hook.url())).await;
    let daemon = setting.site.serve();
    be_refused(daemon.address(), 50);
    let posts = hook.wait_for(2, "client_refused", "raised");
    assert_eq!(posts[0], posts[1], "the same once more");
    assert_eq!(posts[0]["subject"], "127.0.0.1");
    be_refused(daemon.address(), 50);
    // A sign that a look has come after the flood: another client is an alarm of its own.
    let [_, six] = crate::support::relay::addresses(&daemon);
    be_refused(six, 1);
    let posts = hook.wait_for(3, "client_refused", "raised");
    assert_eq!(posts[2]["subject"], "::1");
    daemon.wait_for_count("alarms", 2, |line| is_alarm(line, "client_refused"));
    assert_eq!(of_kind(daemon.events("alarm"), "client_refused").len(), 2);
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_tell_changes_with_a_reload() {
    let (before, after) = (Hook::start(&[]), Hook::start(&[]));
    let setting = Setting::new(&[None], &format!("webhook = \"{}\"", before.url())).await;
    let daemon = setting.site.serve();
    let text = std::fs::read_to_string(setting.site.config()).unwrap();
    std::fs::write(setting.site.config(), text.replace(&before.url(), &after.url())).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for("reload", |line| line["event"] == "reloaded");
    be_refused(daemon.address(), 1);
    after.wait_for(1, "client_refused", "raised");
    // What another part of the program raises is told by its word, and logged once.
    std::fs::write(setting.site.config(), "[[acount]]\n").unwrap();
    daemon.signal(Signal::HUP);
    after.wait_for(1, "bad_configuration", "raised");
    daemon.wait_for("alarm", |line| is_alarm(line, "bad_configuration"));
    assert_eq!(of_kind(daemon.events("alarm"), "bad_configuration").len(), 1);
    std::fs::write(setting.site.config(), text.replace(&before.url(), &after.url())).unwrap();
    daemon.signal(Signal::HUP);
    after.wait_for(1, "bad_configuration", "over");
    assert_eq!(before.posts("client_refused").len() + before.posts("bad_configuration").len(), 0);
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_ends_soon_is_told_at_the_start() {
    let hook = Hook::start(&[]);
    let setting = Setting::new(&[None], &format!("webhook = \"{}\"", hook.url())).await;
    let text = std::fs::read_to_string(setting.site.config()).unwrap();
    // A day that has passed, whenever this runs.
    std::fs::write(setting.site.config(), text.replace("username =", "expires = 2026-01-31\nusername =")).unwrap();
    let daemon: Daemon = setting.site.serve();
    let post = hook.wait_for(1, "secret_expires", "raised").remove(0);
    assert_eq!(post["subject"], "a password");
    assert!(post["sentence"].as_str().unwrap().contains("has ended on 2026-01-31"), "{post}");
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_the_room_for_mail_are_told_before_they_are_spent() {
    let hook = Hook::start(&[]);
    let setting = Setting::new(&[None], &format!("webhook = \"{}\"", hook.url())).await;
    let text = std::fs::read_to_string(setting.site.config()).unwrap();
    let text = text.replace(WITHOUT_RATES, "caps = { messages = [], recipients = \"5/24h\" }");
    std::fs::write(setting.site.config(), text.replace("min_free = \"0B\"", "min_free = \"0B\"\nmax_bytes = \"1MiB\""))
        .unwrap();
    let daemon = setting.site.serve();
    let relay = daemon.address();
    for _ in 0..4 {
        send(relay, "shop@example.org", &["you@example.com"], b"Subject: hello\r\n\r\nx\r\n");
    }
    within("4 deliveries", setting.sandboxes[0].wait_for(4)).await;
    assert!(setting.site.run(&["account", "pause", "a"]).status.success());
    let post = hook.wait_for(1, "quota_nearly_spent", "raised").remove(0);
    assert!(post["sentence"].as_str().unwrap().contains("4 of the 5 recipients"), "{post}");
    let large = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "y".repeat(70)).repeat(12_500));
    send(relay, "shop@example.org", &["you@example.com"], large.as_bytes());
    be_refused(relay, 1); // rings
    let post = hook.wait_for(1, "disk_short", "raised").remove(0);
    assert!(post["sentence"].as_str().unwrap().contains("queue.max_bytes"), "{post}");
    // An operator knows of a pause of his own.
    assert_eq!(hook.posts("lane_paused").len(), 0);
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test]
async fn old_mail_is_told_by_mail_and_again_after_a_day() {
    let desk = Desk::new();
    let mut config = Config::clone(&desk.config.borrow());
    config.alarms.to = vec!["ops@example.com".parse().unwrap()];
    desk.config.send_replace(Arc::new(config));
    desk.accept().await;
    desk.clock.advance(Duration::from_secs(3601));
    let notifier = desk.notify().await;
    let tells = |mail: &Arrived, wanted: &str| {
        let text = String::from_utf8_lossy(&mail.body).into_owned();
        assert!(text.contains(wanted), "{wanted}: {text}");
    };
    tells(&desk.own_mail(1).await[0], "queue_old, raised");
    desk.deliver_alarm().await;
    // What was told is known to the next process; what lasts is told once more after a day.
    notifier.abort();
    let _notifier = desk.notify().await;
    desk.clock.advance(Duration::from_secs(86_401));
    tells(&desk.own_mail(1).await[0], "queue_old, repeated");
}
