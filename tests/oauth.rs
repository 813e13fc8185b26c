//! Accounts that log in by token: each grant delivers, tokens are renewed before they expire, a user logs in by a device
//! code, and an account with two methods goes over to the other one under load without a message waiting for it.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mailsluice::sandbox::{FaultRule, SandboxConfig, TokenConfig, UsedTokens};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::Numbered;
use crate::support::daemon::mailsluice;
use crate::support::scene::{Scene, Script};

mod secrets;

/// A scene whose account logs in by these keys and tables; in them `TOKENS` stands for what every `[account.oauth]` has.
fn scene(tokens: TokenConfig, login: &str) -> Scene {
    let script = Script::default();
    let scene = Scene::set(Script { sandbox: SandboxConfig { tokens, ..script.sandbox }, ..script });
    configure(&scene, &scene.sandbox.token_url(), login);
    scene
}

fn configure(scene: &Scene, token_url: &str, login: &str) {
    let tokens = format!("token_url = \"{token_url}\"\nclient_id = \"{}\"", TokenConfig::default().client_id);
    let config = std::fs::read_to_string(scene.site.config()).unwrap();
    let account = config.find("\nusername = ").unwrap() + 1;
    let end = account + config[account..].find('\n').unwrap();
    let caps = "caps = { messages = [], recipients = [] }";
    scene.site.configure(&format!("{}\n{caps}\n{}\n", &config[..end], login.replace("TOKENS", &tokens)));
}

const PASSWORD: &str = r#"password = { file = "SITE/password" }"#;
const APPLICATION: &str = "[account.oauth]\nTOKENS\nclient_secret = { file = \"SITE/client_secret\" }";
/// Connections live for so few messages that logins go on under load.
const BRIEF: &str = "connection = { messages = 5 }";

fn brief_tokens(seconds: u64) -> TokenConfig {
    TokenConfig { lifetime: Duration::from_secs(seconds), ..TokenConfig::default() }
}

/// Waits until the sandbox has counted so far.
fn counts(scene: &Scene, what: &str, wanted: impl FnMut(&mailsluice::sandbox::Counters) -> bool) {
    let waiting = async { tokio::time::timeout(Duration::from_secs(60), scene.sandbox.wait_until(wanted)).await };
    scene.runtime.block_on(waiting).unwrap_or_else(|_| panic!("not {what}: {:?}", scene.sandbox.counters()));
}

fn data(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oauth").join(name)).unwrap()
}

#[test]
fn every_grant_delivers() {
    let certified = TokenConfig { certificate: Some(data("application.pem")), ..TokenConfig::default() };
    let certificate = "[account.oauth]\nTOKENS\ncertificate = \"SITE/application.pem\"\n\
                       key = { file = \"SITE/application.key\" }";
    let refresh = "[account.oauth]\nTOKENS\nrefresh_token = { file = \"SITE/refresh_token\" }";
    for (tokens, login) in
        [(TokenConfig::default(), APPLICATION), (certified, certificate), (TokenConfig::default(), refresh)]
    {
        let scene = scene(tokens, login);
        std::fs::write(scene.site.path().join("application.pem"), data("application.pem")).unwrap();
        scene.site.add_secret("application.key", &data("application.key"));
        let daemon = scene.serve();
        scene.offer(0..20);
        scene.wait_for(20);
        let counters = scene.sandbox.counters();
        assert_eq!((counters.failed_logins, counters.logins), (0, counters.bearer_logins), "{login}");
        assert_eq!((counters.tokens, counters.bearer_logins > 0), (1, true), "{login}: {counters:?}");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_token_is_renewed_before_it_expires_by_one_request_for_all_connections() {
    let scene = scene(brief_tokens(4), &format!("{BRIEF}\n{APPLICATION}"));
    let daemon = scene.serve();
    let begun = Instant::now();
    let mut offered = 0;
    while scene.sandbox.counters().tokens < 5 {
        scene.offer(offered..offered + 30);
        offered += 30;
        scene.wait_for(offered as usize);
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", scene.sandbox.counters());
    }
    let counters = scene.sandbox.counters();
    assert_eq!((counters.failed_logins, daemon.events("paused").len()), (0, 0));
    // Renewed when half of its life is left, and never twice.
    assert_eq!(counters.client_credentials, counters.tokens);
    let most = begun.elapsed().as_secs() / 2 + 2;
    assert!(counters.tokens <= most && counters.bearer_logins > counters.tokens, "{counters:?}, at most {most}");
}

/// `account login`, and the code that it shows.
fn log_in(scene: &Scene) -> (Child, String, BufReader<std::process::ChildStdout>) {
    let mut command = mailsluice();
    command.arg("--config").arg(scene.site.config()).args(["account", "login", "m365"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("enter the code ") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended: {:?}", child.wait_with_output().unwrap());
    }
    let code = line.split("enter the code ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (child, code, said)
}

fn by_device(code_interval: u64, used: UsedTokens) -> Scene {
    let code_interval = Duration::from_secs(code_interval);
    let tokens = TokenConfig { code_interval, used, ..brief_tokens(4) };
    scene(tokens, "[account.oauth]\nTOKENS")
}

#[test]
fn a_user_logs_in_by_a_device_code_and_the_daemon_keeps_the_token() {
    let scene = by_device(1, UsedTokens::Void);
    let daemon = scene.serve();
    scene.offer(0..3);
    let paused = daemon.wait_for("pause", |line| line["event"] == "paused");
    assert_eq!(paused["kind"], "login");
    let list = scene.command(&["account", "list"]);
    assert!(list.contains("run `mailsluice account login m365`"), "{list}");

    let (child, code, _said) = log_in(&scene);
    assert!(scene.sandbox.approve(&code));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    scene.wait_for(3);

    // Used refresh tokens are void here, so each refresh must replace the file.
    let file = scene.site.path().join("queue.db-tokens/m365");
    let modes = [file.parent().unwrap(), &file]
        .map(|path| std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777);
    assert_eq!(modes, [0o700, 0o600]);
    let (before, refreshes) = (std::fs::read_to_string(&file).unwrap(), scene.sandbox.counters().refreshes);
    // Whoever asks for the next one has stored the one before.
    counts(&scene, "refreshed", |counters| counters.refreshes >= refreshes + 2);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(daemon.stop(), 0);

    // A restart goes on with what was stored.
    let daemon = scene.serve();
    scene.offer(3..6);
    scene.wait_for(6);
    assert_eq!(daemon.events("paused"), [] as [Value; 0]);
}

#[test]
fn a_user_may_log_in_before_the_daemon_runs() {
    let scene = by_device(1, UsedTokens::Kept);
    drop(scene.serve()); // makes the queue
    let (child, code, _said) = log_in(&scene);
    assert!(scene.sandbox.approve(&code));
    assert!(child.wait_with_output().unwrap().status.success());
    let _daemon = scene.serve();
    scene.offer(0..3);
    scene.wait_for(3);
}

#[test]
fn a_login_that_comes_to_nothing_says_why() {
    for (fault, wanted) in
        [("device-declined", "the login was declined"), ("device-expired", "nobody entered the code")]
    {
        let scene = by_device(1, UsedTokens::Kept);
        let _daemon = scene.serve();
        scene.sandbox.set_fault(Some(fault.parse().unwrap()));
        let (child, _, _said) = log_in(&scene);
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint.contains(wanted) && complaint.contains("run the command again"), "{complaint}");
    }
    let scene = scene(TokenConfig::default(), APPLICATION);
    let _daemon = scene.serve();
    let output = scene.site.run(&["account", "login", "m365"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("logs in as an application, by itself: there is nothing to do"), "{complaint}");
}

/// Offers 200 messages while the provider stops taking one of two methods; none fails, and none waits for it.
fn goes_over_under_load(prefer: &str, fault: &str, from: &str, to: &str) {
    let login = format!("{PASSWORD}\nprefer = \"{prefer}\"\n{BRIEF}\n{APPLICATION}");
    let scene = scene(TokenConfig::default(), &login);
    let daemon = scene.serve();
    scene.offer(0..60);
    daemon.wait_for_count("deliveries", 60, |line| line["event"] == "delivered");
    scene.sandbox.set_fault(Some(fault.parse::<FaultRule>().unwrap()));
    scene.offer(60..200);
    let delivered = daemon.wait_for_count("deliveries", 200, |line| line["event"] == "delivered");
    let slowest = delivered.iter().map(|line| line["seconds"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!(slowest < 10.0, "{slowest} s");
    for event in ["failed", "expired", "refused", "deferred", "uncertain", "paused", "resting"] {
        assert_eq!(daemon.events(event), [] as [Value; 0], "{fault}");
    }
    let switched = daemon.events("login_switched");
    assert_eq!(switched.len(), 1, "{switched:?}");
    assert_eq!((&switched[0]["from"], &switched[0]["to"]), (&from.into(), &to.into()));
    assert!(switched[0]["reply"].as_str().unwrap().starts_with(['5', 'T', 'n', 'a']), "{switched:?}");
    let numbers: HashSet<Numbered> = scene.wait_for(200).iter().map(|delivery| Numbered::intact(delivery)).collect();
    assert_eq!(numbers, (0..200).map(Numbered).collect());
    let stats = scene.site.json(&["queue", "stats", "--json"]);
    assert_eq!(stats["since_start"]["login_switches"], 1, "{stats}");
    assert_eq!(scene.site.json(&["account", "list", "--json"])[0]["login"], to);
    println!("{fault}: the slowest of 200 took {slowest} s");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn passwords_end_under_load_and_no_message_waits_for_it() {
    for fault in ["basic-auth-disabled", "basic-auth-retired"] {
        goes_over_under_load("password", fault, "password", "OAuth");
    }
}

#[test]
fn tokens_end_under_load_and_no_message_waits_for_it() {
    goes_over_under_load("oauth", "bearer-refused", "OAuth", "password");
}

#[test]
fn without_tokens_from_the_start_the_password_serves_and_resume_returns_to_tokens() {
    let scene = scene(TokenConfig::default(), &format!("{PASSWORD}\n{BRIEF}\n{APPLICATION}"));
    scene.sandbox.set_fault(Some("token-invalid-client".parse().unwrap()));
    let daemon = scene.serve();
    scene.offer(0..20);
    scene.wait_for(20);
    let alarm = daemon.wait_for("alarm", |line| line["event"] == "alarm");
    assert_eq!(alarm["kind"], "token");
    scene.sandbox.set_fault(None::<FaultRule>);
    scene.command(&["account", "resume", "m365"]);
    daemon.wait_for("the end of the alarm", |line| line["event"] == "token_works");
    scene.offer(20..40);
    scene.wait_for(40);
    let switches = daemon.wait_for_count("switches", 2, |line| line["event"] == "login_switched");
    assert_eq!([&switches[0]["to"], &switches[1]["to"]], [&Value::from("password"), &Value::from("OAuth")]);
    assert_eq!(daemon.events("paused"), [] as [Value; 0]);
}

/// Puts another secret in the place of one, as a person does: the lane is paused for it, and mail waits.
fn is_mended_by(name: &str, login: &str) {
    let scene = scene(TokenConfig::default(), login);
    let path = scene.site.path().join(name);
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "not the secret").unwrap();
    let daemon = scene.serve();
    scene.offer(0..5);
    let paused = daemon.wait_for("pause", |line| line["event"] == "paused");
    assert_eq!(paused["kind"], "login");
    let mended = Instant::now();
    std::fs::write(&path, good).unwrap();
    scene.wait_for(5);
    // The next probe by itself comes after a minute.
    assert!(mended.elapsed() < Duration::from_secs(15), "{:?}", mended.elapsed());
    daemon.wait_for("mending", |line| line["event"] == "login_mended");
    assert_eq!(daemon.events("login_mended").len(), 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_secret_that_is_changed_is_tried_within_seconds() {
    is_mended_by("password", PASSWORD);
    is_mended_by("client_secret", APPLICATION);
}

#[test]
fn after_a_restart_a_login_that_was_refused_is_tried_at_once() {
    let scene = scene(TokenConfig::default(), PASSWORD);
    scene.sandbox.set_password("another".into());
    let daemon = scene.serve();
    scene.offer(0..5);
    daemon.wait_for("pause", |line| line["event"] == "paused");
    assert_eq!(daemon.stop(), 0);
    scene.sandbox.set_password("open-sesame".into());
    let _daemon = scene.serve();
    scene.wait_for(5);
}

#[test]
fn a_reload_brings_tokens_to_a_running_daemon() {
    let scene = scene(TokenConfig::default(), &format!("{BRIEF}\n{PASSWORD}"));
    let daemon = scene.serve();
    scene.offer(0..10);
    scene.wait_for(10);
    assert_eq!(scene.sandbox.counters().bearer_logins, 0);
    configure(&scene, &scene.sandbox.token_url(), &format!("{BRIEF}\n{PASSWORD}\n{APPLICATION}"));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reload", |line| line["event"] == "reloaded");
    scene.offer(10..20);
    scene.wait_for(20);
    assert!(scene.sandbox.counters().bearer_logins > 0);
    assert_eq!(daemon.events("paused"), [] as [Value; 0]);
}

#[test]
fn a_reload_that_brings_tokens_is_tried_at_once_where_passwords_have_ended() {
    let scene = scene(TokenConfig::default(), PASSWORD);
    scene.sandbox.set_fault(Some("basic-auth-disabled".parse().unwrap()));
    let daemon = scene.serve();
    scene.offer(0..5);
    daemon.wait_for("pause", |line| line["event"] == "paused");
    configure(&scene, &scene.sandbox.token_url(), &format!("{PASSWORD}\n{APPLICATION}"));
    daemon.signal(Signal::HUP);
    let reloaded = Instant::now();
    scene.wait_for(5);
    // The next probe by itself comes after a minute.
    assert!(reloaded.elapsed() < Duration::from_secs(15), "{:?}", reloaded.elapsed());
    daemon.wait_for("mending", |line| line["event"] == "login_mended");
    assert_eq!(daemon.events("login_mended").len(), 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_trial_tells_that_the_other_method_stands_in() {
    let scene = scene(TokenConfig::default(), &format!("{PASSWORD}\n{APPLICATION}"));
    let warning = "the account is open, but not by OAuth, which should go first: ";
    assert!(!scene.command(&["account", "test", "m365"]).contains(warning));
    scene.sandbox.set_fault(Some("token-invalid-client".parse().unwrap()));
    assert!(scene.command(&["account", "test", "m365"]).contains(warning));
    let _daemon = scene.serve();
    scene.offer(0..1);
    scene.wait_for(1);
    // By now the daemon does not even try tokens.
    for arguments in [&["account", "test", "m365"][..], &["doctor"]] {
        let told = String::from_utf8(scene.site.run(arguments).stdout).unwrap();
        assert!(told.contains(warning) && told.contains("AADSTS7000215"), "{told}");
    }
}
