//! The commands, typed as a person types them: what they print, what they change, and with which code they end.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailsluice::sandbox::{Fault, FaultRule, Mechanism, Profile, SandboxConfig};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Site, mailsluice};
use crate::support::relay::{HEAD, PASSWORD, Upstream, WITHOUT_RATES, free_port, mailbox, recipients, send, within};

#[test]
fn check_says_everything_that_is_wrong_at_once() {
    let site = Site::new(HEAD, PASSWORD);
    let wrong = "\n[[acount]]\nname = \"x\"\n[[client]]\nname = \"shop\"\nnetworks = [\"10.0.0.5/33\"]\npriority = \"urgent\"\n";
    site.configure(&format!("{HEAD}{wrong}"));
    for command in ["check", "serve"] {
        let output = site.run(&[command]);
        assert_eq!(code(&output), 78, "{command}");
        let told = stderr(&output);
        for (line, key) in [(11, "acount"), (15, "client.networks"), (16, "client.priority")] {
            let wanted = format!("mailsluice: {}:{line}: {key}: found ", site.config().display());
            assert!(told.lines().any(|one| one.starts_with(&wanted) && one.contains(", wanted ")), "{wanted}\n{told}");
        }
    }
    site.configure(&format!(
        "{HEAD}\n[[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n"
    ));
    let output = site.run(&["check"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.contains("fine") && told.contains("127.0.0.1:0, [::1]:0") && told.contains("staging"), "{told}");
    assert!(!site.path().join("queue.db").exists(), "check touches nothing");
    let missing = mailsluice().args(["--config", "/nonexistent/config.toml", "check"]).output().unwrap();
    assert_eq!(code(&missing), 78);
    assert!(stderr(&missing).contains("/nonexistent/config.toml"), "{}", stderr(&missing));
}

#[test]
fn check_tells_of_a_client_that_no_listener_lets_in() {
    let site = Site::new(HEAD, "");
    let client = |name: &str, net: &str| format!("[[client]]\nname = \"{name}\"\nnetworks = \"{net}\"\n");
    let clients =
        [("far", "10.1.0.0/16"), ("near", "127.0.0.5"), ("wide", "0.0.0.0/0")].map(|(name, net)| client(name, net));
    let user = "[[client]]\nname = \"web\"\nuser = \"root\"\n";
    let account = "[[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n";
    site.configure(&format!("{HEAD}\n{}{user}{account}", clients.concat()));
    let output = site.run(&["check"]);
    let told = stdout(&output);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let alone: Vec<&str> = told.lines().filter(|line| line.ends_with("no [[listener]] lets it in")).collect();
    assert!(
        alone.len() == 2 && alone[0].starts_with("client    far ") && alone[1].starts_with("client    web "),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_others_can_read_is_refused_with_what_mends_it() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let secret = upstream.site.path().join("password");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["check", "serve"] {
        let output = upstream.site.run(&[command]);
        assert_eq!(code(&output), 78, "{command}");
        let told = stderr(&output);
        assert!(told.contains("mode 0644, open to everyone") && !told.contains(PASSWORD), "{told}");
        let mend = told.split("for the daemon alone: ").nth(1).expect("a command").trim();
        assert!(mend.starts_with("chmod ") && mend.ends_with(secret.to_str().unwrap()), "{mend}");
    }
    let told = stderr(&upstream.site.run(&["check"]));
    let mend = told.split("for the daemon alone: ").nth(1).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", mend]).status().unwrap().success());
    assert_eq!(code(&upstream.site.run(&["check"])), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_one_daemon() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let second = upstream.site.run(&["serve"]);
    assert_eq!(code(&second), 75);
    let told = stderr(&second);
    assert!(told.contains(&daemon.pid().to_string()) && told.contains("queue.db"), "{told}");
    let socket = fs::metadata(upstream.site.path().join("queue.db-control")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    // The first goes on as if nothing had been.
    send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
    upstream.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_listed_shown_held_released_and_deleted_with_a_daemon_and_without() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    let daemon = site.serve();
    done(site, &["account", "pause", "m365"]);
    let paused = daemon.wait_for("paused", |line| line["event"] == "paused");
    assert_eq!((&paused["account"], &paused["kind"]), (&"m365".into(), &"operator".into()));
    for subject in ["first", "second", "third"] {
        let (to, message) = (format!("{subject}@example.org"), format!("Subject: {subject}\r\n\r\nx\r\n"));
        send(daemon.address(), "a@shop.example", &[&to, "both@example.org"], message.as_bytes());
    }
    let accepted = daemon.wait_for_count("accepted", 3, |line| line["event"] == "accepted");
    let ids: Vec<&str> = accepted.iter().map(|line| line["queue_id"].as_str().unwrap()).collect();

    let table = done(site, &["queue", "list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("QUEUE ID") && rows.len() == 4, "{table}");
    for (row, (id, to)) in rows[1..].iter().zip(ids.iter().zip(["first", "second", "third"])) {
        assert!(
            row.starts_with(id) && row.contains("waiting") && row.contains(&format!("{to}@example.org +1")),
            "{row}"
        );
        assert_eq!(row.find("waiting"), rows[0].find("FATE"), "{table}");
    }
    let page = done(site, &["queue", "list", "--limit", "2", "--fate", "waiting"]);
    let config = site.config().display().to_string();
    let more = format!("more: mailsluice --config {config} queue list --fate waiting --limit 2 --after {}\n", ids[1]);
    assert!(page.ends_with(&more), "{page}");
    assert_eq!(fates(site, &["--after", ids[1]]), [(ids[2].to_owned(), "waiting".to_owned())]);

    done(site, &["queue", "hold", ids[0], ids[1]]);
    daemon.wait_for_count("held", 4, |line| line["event"] == "held" && line["operator"] == true);
    let shown = site.json(&["queue", "show", ids[0], "--json"]);
    assert_eq!((&shown["fate"], &shown["message_id"]), (&"held".into(), &accepted[0]["message_id"]));
    assert_eq!((&shown["from"], &shown["each"][1]["address"]), (&"a@shop.example".into(), &"both@example.org".into()));
    let told = done(site, &["queue", "show", ids[0]]);
    assert!(told.contains("first@example.org") && told.contains("held") && told.contains("a@shop.example"), "{told}");
    done(site, &["queue", "delete", ids[2]]);
    daemon.wait_for_count("deleted", 2, |line| line["event"] == "deleted" && line["queue_id"] == ids[2]);
    let stats = site.json(&["queue", "stats", "--json"]);
    assert_eq!((&stats["queue"]["held"], &stats["queue"]["ready"]), (&2.into(), &0.into()), "{stats}");
    assert_eq!(stats["since_start"]["accepted"], 3);
    assert!(done(site, &["queue", "stats"]).contains("on hold"));
    assert_eq!(daemon.stop(), 0);

    // Without a daemon the commands open the queue themselves.
    assert_eq!(fates(site, &["--fate", "held"]).len(), 2);
    assert_eq!(done(site, &["queue", "release", ids[1]]), format!("{}: off hold, 2 recipients\n", ids[1]));
    assert_eq!(site.json(&["queue", "show", ids[1], "--json"])["fate"], "waiting");
    let stats = site.json(&["queue", "stats", "--json"]);
    assert_eq!((&stats["queue"]["held"], &stats["since_start"]), (&1.into(), &Value::Null), "{stats}");
    assert_eq!(site.json(&["account", "list", "--json"])[0]["standing"], "paused");
    for put_off in [&["queue", "retry", "--all"][..], &["account", "resume", "m365"]] {
        assert!(done(site, put_off).contains("will be tried when the daemon starts"), "{put_off:?}");
    }

    let daemon = site.serve();
    upstream.wait_for(1).await;
    done(site, &["queue", "release", ids[0]]);
    upstream.wait_for(2).await;
    daemon.wait_for_count("delivered", 4, |line| line["event"] == "delivered");
    let got = recipients(&upstream.sandbox.deliveries());
    assert_eq!(got, ["both@example.org", "both@example.org", "first@example.org", "second@example.org"]);
    assert_eq!(done(site, &["queue", "list"]), "nothing\n");
    assert_eq!(site.json(&["queue", "show", ids[2], "--json"])["fate"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_kept_and_sent_when_it_is_retried() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    upstream.sandbox.set_fault(Some(Fault::RejectRecipient.into()));
    let daemon = upstream.site.serve();
    send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: again\r\n\r\nbody\r\n");
    let failed = daemon.wait_for("failed", |line| line["event"] == "failed");
    let id = failed["queue_id"].as_str().unwrap();
    assert!(failed["message"].as_str().unwrap().contains(&format!("mailsluice queue retry {id}")), "{failed}");
    assert_eq!(fates(&upstream.site, &[]), [(id.to_owned(), "failed".to_owned())]);
    assert!(done(&upstream.site, &["queue", "list"]).contains("550 5.1.10 RESOLVER.ADR.RecipientNotFound"));
    upstream.sandbox.set_fault(None);
    done(&upstream.site, &["queue", "retry", id]);
    let delivery = upstream.wait_for(1).await.remove(0);
    assert!(delivery.content.as_ref().unwrap().ends_with(b"\r\n\r\nbody\r\n"));
    let delivered = daemon.wait_for("delivered", |line| line["event"] == "delivered");
    assert_eq!((&delivered["queue_id"], &delivered["attempts"]), (&id.into(), &2.into()));
    let shown = upstream.site.json(&["queue", "show", id, "--json"]);
    assert_eq!(shown["history"].as_array().unwrap().len(), 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_put_off_can_be_retried_at_once() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    upstream.sandbox.set_fault(Some(FaultRule::from(Fault::Tempfail).first(3)));
    let daemon = upstream.site.serve();
    for _ in 0..3 {
        send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: later\r\n\r\nx\r\n");
    }
    let deferred = daemon.wait_for_count("deferred", 3, |line| line["event"] == "deferred");
    assert!(deferred.iter().all(|line| line["next_attempt_in"].as_u64() > Some(20)), "{deferred:?}");
    assert_eq!(done(&upstream.site, &["queue", "retry", "--all"]), "3 messages that were put off are tried now\n");
    upstream.wait_for(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_settles_what_nobody_knows() {
    let upstream = Upstream::start(mailbox(), &format!("{WITHOUT_RATES}\non_uncertain = \"hold\"")).await;
    let site = &upstream.site;
    let daemon = site.serve();
    let mut ids = Vec::new();
    for to in ["arrived@example.org", "lost@example.org"] {
        let fault = if ids.is_empty() { Fault::CutAtDot } else { Fault::CutBeforeDotStored };
        upstream.sandbox.set_fault(Some(FaultRule::from(fault).first(1)));
        send(daemon.address(), "a@shop.example", &[to], b"Subject: x\r\n\r\nx\r\n");
        let uncertain = daemon.wait_for("uncertain", |line| line["event"] == "uncertain" && line["to"] == to);
        ids.push(uncertain["queue_id"].as_str().unwrap().to_owned());
        assert!(
            uncertain["message"]
                .as_str()
                .unwrap()
                .contains(&format!("mailsluice queue settle {}", ids.last().unwrap()))
        );
    }
    let uncertain = |id: &String| (id.clone(), "uncertain".to_owned());
    assert_eq!(fates(site, &["--fate", "uncertain"]), ids.iter().map(uncertain).collect::<Vec<_>>());
    done(site, &["queue", "settle", &ids[0], "delivered"]);
    done(site, &["queue", "settle", &ids[1], "failed"]);
    let delivered = daemon.wait_for("delivered", |line| line["event"] == "delivered" && line["queue_id"] == ids[0]);
    let failed = daemon.wait_for("failed", |line| line["event"] == "failed" && line["queue_id"] == ids[1]);
    for line in daemon.events("uncertain").iter().chain([&delivered, &failed]) {
        assert_eq!((&line["account"], &line["host"]), (&"m365".into(), &"127.0.0.1".into()), "{line}");
        assert_eq!(line["attempts"], 1, "{line}");
        assert!(line["from"].is_string() && line["seconds"].is_number() && line["bytes"].is_u64(), "{line}");
    }
    assert_eq!(fates(site, &[]), [(ids[1].clone(), "failed".to_owned())]);
    let again = site.run(&["queue", "settle", &ids[0], "failed"]);
    assert_eq!(code(&again), 1, "{}", stdout(&again));
    done(site, &["queue", "retry", &ids[1]]);
    let deliveries = upstream.wait_for(2).await;
    assert_eq!(recipients(&deliveries), ["arrived@example.org", "lost@example.org"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_codes_that_scripts_expect() {
    let upstream = Upstream::start(mailbox(), "").await;
    let site = &upstream.site;
    let absent = site.run(&["queue", "list"]);
    assert_eq!(code(&absent), 1);
    assert!(stderr(&absent).contains("there is no daemon and no queue at"), "{}", stderr(&absent));
    let wrong: [&[&str]; 7] = [
        &["queue", "hold"],
        &["queue", "show", "not-an-id"],
        &["queue", "settle", "2", "perhaps"],
        &["queue", "list", "--fate", "lost"],
        &["account", "resume"],
        &["serve", "--log-format", "xml"],
        &["deliver"],
    ];
    for arguments in wrong {
        assert_eq!(code(&site.run(arguments)), 2, "{arguments:?}");
    }
    let _daemon = site.serve();
    let refused: [(&[&str], &str); 4] = [
        (&["queue", "show", "1234567"], "1234567: there is no such message"),
        (&["queue", "delete", "1234567"], "1234567: there is no such message"),
        (&["account", "resume", "m356"], "there is no account m356; there is m365"),
        (&["account", "pause", "m356"], "there is no account m356; there is m365"),
    ];
    for (arguments, why) in refused {
        let output = site.run(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}");
        assert!(stderr(&output).contains(why), "{arguments:?}: {}", stderr(&output));
    }
    let accounts = done(site, &["account", "list"]);
    assert!(accounts.contains("0 of 30/min messages (30 left)"), "{accounts}");
    assert!(accounts.contains("0 of 10000/24h recipients (9000 left)"), "{accounts}");
    for arguments in [&["--help"][..], &["queue", "--help"], &["account", "list", "--help"], &["--version"]] {
        assert_eq!(code(&site.run(arguments)), 0, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_enough_of_an_output_makes_no_failure_of_it() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let _daemon = upstream.site.serve();
    let commands: [&[&str]; 6] = [
        &["check"],
        &["queue", "list"],
        &["queue", "stats"],
        &["queue", "stats", "--json"],
        &["account", "list"],
        &["sandbox", "--list-faults"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = mailsluice();
        command.arg("--config").arg(upstream.site.config()).args(arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{arguments:?}");

        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(code(&output), 1, "{arguments:?}");
        assert!(stderr(&output).contains("standard output cannot be written"), "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let upstream = Upstream::start(mailbox(), "").await;
    let client = |name: &str| format!("[[client]]\nname = \"{name}\"\nnetworks = [\"127.0.0.1/32\"]\n");
    upstream.configure(&format!("{HEAD}{}", client("shop")), "");
    let daemon = upstream.site.serve();
    let from = |address: SocketAddr, name: &str| {
        send(address, "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
        daemon.wait_for(name, |line| line["event"] == "accepted" && line["client"] == name);
    };
    from(daemon.address(), "shop");

    let fresh = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listener = format!("[[listener]]\naddress = \"{fresh}\"\n");
    let tight = "caps = { messages = \"7/min\" }";
    upstream.configure(&format!("{HEAD}{listener}{}", client("web")), tight);
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    from(daemon.address(), "web");
    from(fresh, "web");
    upstream.wait_for(3).await;
    let caps = |site: &Site| site.json(&["account", "list", "--json"])[0]["caps"][0]["cap"].clone();
    assert_eq!(caps(&upstream.site), "7/min");

    // A mistake of a person, and an address that somebody else has: nothing of the new file counts.
    let holds = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("[[listener]]\naddress = \"{}\"\n", holds.local_addr().unwrap());
    let bad = [("adress = 25\n".to_owned(), "found an unknown key"), (taken, "it is taken by ")];
    for (at, (mistake, why)) in bad.into_iter().enumerate() {
        upstream.configure(&format!("{HEAD}{mistake}{}", client("never")), "caps = { messages = \"1/min\" }");
        daemon.signal(Signal::HUP);
        let bad = |line: &Value| line["event"] == "alarm" && line["kind"] == "bad_configuration";
        let alarms = daemon.wait_for_count("alarm", at + 1, bad);
        let alarm = alarms.last().unwrap();
        assert_eq!(alarm["level"], "ERROR");
        let sentence = alarm["message"].as_str().unwrap();
        assert!(sentence.contains("the configuration stays as it was") && sentence.contains(why), "{sentence}");
    }
    from(fresh, "web");
    assert_eq!(daemon.events("reloaded").len(), 1);
    assert!(daemon.events("accepted").iter().all(|line| line["client"] != "never"));
    upstream.configure(&format!("{HEAD}{listener}{}", client("web")), tight);
    assert_eq!(caps(&upstream.site), "7/min");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_transaction_under_way_end() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    upstream.sandbox.set_fault(Some(FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(2))));
    let daemon = upstream.site.serve();
    send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
    within("transaction", upstream.sandbox.wait_until(|counters| counters.sending == 1)).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for("stopping", |line| line["event"] == "stopping");
    daemon.wait_for("delivered", |line| line["event"] == "delivered");
    let at = |event: &str| daemon.log().iter().position(|line| line["event"] == event).unwrap();
    assert!(at("stopping") < at("delivered"), "it was not under way any more");
    assert_eq!(daemon.ended(), 0);
    assert!(!upstream.site.path().join("queue.db-control").exists());

    upstream.sandbox.set_fault(None);
    let daemon = upstream.site.serve();
    assert_eq!(daemon.events("started")[0]["waiting"], 0);
    assert!(daemon.events("uncertain").is_empty());
    assert_eq!(daemon.stop(), 0);
    assert_eq!(upstream.sandbox.counters().deliveries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_text_for_people() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    // Standard output is no terminal, so whoever reads it wants no colours.
    let mut command = mailsluice();
    command.arg("--config").arg(upstream.site.config()).args(["serve", "--log-format", "text"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut text) = (child.stdout.take().unwrap(), Vec::new());
    while !String::from_utf8_lossy(&text).contains("messages wait") {
        let mut some = [0; 4096];
        match stdout.read(&mut some).unwrap() {
            0 => panic!("it ended: {}", String::from_utf8_lossy(&text)),
            octets => text.extend(&some[..octets]),
        }
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    stdout.read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let first = text.lines().next().unwrap();
    assert!(first.contains("INFO") && first.contains("listens on 127.0.0.1:"), "{first}");
    assert!(serde_json::from_str::<Value>(first).is_err());
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    assert!(last[0].contains("INFO stopped: ") && last[1].contains("SIGTERM received"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_printed() {
    let secret = "Correct-Horse_Battery.Staple:42";
    for mechanism in [Mechanism::Login, Mechanism::Plain] {
        for (held, outcome) in [(secret, "delivered"), ("Another-Horse_entirely.wrong:43", "paused")] {
            let profile = Profile { mechanisms: vec![mechanism], ..Profile::default() };
            let config = SandboxConfig { profile, password: held.into(), ..mailbox() };
            let allowed = format!("mechanisms = [\"{mechanism}\"]\n{WITHOUT_RATES}");
            let upstream = Upstream::start(config, &allowed).await;
            fs::write(upstream.site.path().join("password"), secret).unwrap();
            let complaints = upstream.site.path().join("stderr");
            let daemon = upstream.site.serve_with(|command| {
                command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
                command.stderr(fs::File::create(&complaints).unwrap());
            });
            send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
            daemon.wait_for(outcome, |line| line["event"] == outcome);
            let mut told = done(&upstream.site, &["account", "list"]) + &done(&upstream.site, &["check"]);
            told += &done(&upstream.site, &["queue", "list", "--json"]);
            told += &serde_json::to_string(&daemon.log()).unwrap();
            told += &fs::read_to_string(&complaints).unwrap();
            for form in forms(secret) {
                assert!(!told.contains(&form), "{form} of {secret} was printed by {mechanism}");
            }
            let logins = upstream.sandbox.counters();
            assert_eq!((logins.logins > 0, logins.failed_logins > 0), (outcome == "delivered", outcome == "paused"));
        }
    }
}

/// A text as it is, and in base64 wherever it begins in what is encoded.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for before in 0..3 {
        let text = STANDARD.encode([vec![0; before], secret.as_bytes().to_vec()].concat());
        // What shares a character with its neighbours is left out.
        let (begin, end) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
        forms.push(text[begin..end].to_owned());
    }
    forms
}

#[test]
fn the_forms_of_a_secret_are_found_in_what_a_login_sends() {
    let forms = forms("open-sesame");
    let plain = STANDARD.encode("\0webmaster@example.com\0open-sesame");
    assert!(forms.iter().any(|form| plain.contains(form)), "{plain} {forms:?}");
    assert!(forms.iter().any(|form| STANDARD.encode("open-sesame").contains(form)));
    assert!(!forms.iter().any(|form| STANDARD.encode("open-season").contains(form)));
}

/// Queue ids and fates, as a list for programs has them.
fn fates(site: &Site, more: &[&str]) -> Vec<(String, String)> {
    let listed = site.json(&[&["queue", "list", "--json"], more].concat());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|one| (text(&one["queue_id"]), text(&one["fate"]))).collect()
}

/// Runs a command that must succeed, and returns what it prints.
fn done(site: &Site, arguments: &[&str]) -> String {
    let output = site.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
