//! `mailsluice setup`: from nothing to a delivered test mail, by flags and by answers on a terminal; what it writes is the
//! daemon's alone, and no secret is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mailsluice::sandbox::{Fault, Sandbox, TokenConfig};
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, mailsluice};
use crate::support::relay::{Arrived, PASSWORD, free_port, mailbox, within};

/// A provider, and an empty folder.
struct Scene {
    sandbox: Sandbox,
    folder: TempDir,
    /// Where the relay is to listen.
    port: u16,
}

impl Scene {
    async fn set() -> Self {
        let scene = Self {
            sandbox: Sandbox::start(mailbox()).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
        };
        fs::write(scene.path("ca.pem"), scene.sandbox.ca_pem()).unwrap();
        fs::write(scene.path("typed"), format!("{PASSWORD}\n")).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("etc/config.toml")
    }

    /// The flags that say where everything is, whatever else is asked.
    fn places(&self) -> Vec<String> {
        let port = self.sandbox.address().port();
        let places = [
            format!("--config={}", self.config().display()),
            "setup".into(),
            "--host=127.0.0.1".into(),
            format!("--port={port}"),
            format!("--ca-file={}", self.path("ca.pem").display()),
            format!("--queue={}", self.path("queue/queue.db").display()),
            "--ephemeral".into(),
        ];
        places.to_vec()
    }

    /// The flags that leave no question.
    fn flags(&self) -> Vec<String> {
        let mut flags = self.places();
        flags.extend([
            "--provider=microsoft365".into(),
            "--username=webmaster@example.com".into(),
            format!("--password-file={}", self.path("typed").display()),
            format!("--listen=127.0.0.1:{}", self.port),
            "--test-to=you@example.com".into(),
        ]);
        flags
    }

    fn run(&self, flags: &[String]) -> Output {
        mailsluice().args(flags).output().unwrap()
    }

    /// Runs the daemon with what was written.
    fn serve(&self) -> Daemon {
        let mut command = mailsluice();
        command.arg("--config").arg(self.config()).args(["serve", "--log-format", "json"]);
        let daemon = Daemon::start(command);
        daemon.wait_for("started", |line| line["event"] == "started");
        daemon
    }

    async fn arrived(&self, count: usize) -> Vec<Arrived> {
        let deliveries = within("delivery", self.sandbox.wait_for(count)).await;
        deliveries.iter().map(|one| Arrived::new(one)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_lead_from_nothing_to_a_delivered_mail() {
    let scene = Scene::set().await;
    let output = scene.run(&scene.flags());
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains(PASSWORD), "{told}");
    let mail = scene.arrived(1).await.remove(0);
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("webmaster@example.com", &["you@example.com".to_owned()][..])
    );
    assert_eq!(mail.field("Subject"), "Test mail of Mailsluice");

    let secret = scene.path("etc/m365.password");
    for path in [&scene.config(), &secret] {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        // Where this machine has the daemon's group and root runs the tests, that group may read them.
        assert!(mode == 0o600 || mode == 0o640, "{} has mode {mode:o}", path.display());
        assert!(told.contains(&format!("{} (mode {mode:04o}", path.display())), "{told}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap().trim(), PASSWORD);
    assert!(!fs::read_to_string(scene.config()).unwrap().contains(PASSWORD));
    assert_eq!(names(&scene.path("etc")), ["config.toml", "m365.password"], "nothing else is left");
    for line in ["AUTH      LOGIN: 235", "delivered: the provider accepted it (250 2.0.0 OK", "start the daemon: "] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    // What was written is what the daemon runs with, and it finds the queue as its own.
    let daemon = scene.serve();
    assert_eq!(daemon.address().port(), scene.port);
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_stays_unless_it_is_forced_and_a_daemon_takes_over_what_is_new() {
    let scene = Scene::set().await;
    let mut quiet = scene.flags();
    quiet.push("--no-test".into());
    let output = scene.run(&quiet);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(scene.sandbox.deliveries().is_empty() && !scene.path("queue").exists());
    let before = fs::read(scene.config()).unwrap();
    let refused = scene.run(&scene.flags());
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("is there already") && said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(fs::read(scene.config()).unwrap(), before);

    let daemon = scene.serve();
    let mut forced = scene.flags();
    forced.extend(["--force".into(), "--networks=10.1.2.0/24".into()]);
    let output = scene.run(&forced);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(fs::read(scene.path("etc/config.toml.bak")).unwrap(), before);
    assert!(told.contains("config.toml.bak") && told.contains("was read again and counts from now on"), "{told}");
    let written = fs::read_to_string(scene.config()).unwrap();
    assert!(written.contains("networks = [\"127.0.0.0/8\", \"10.1.2.0/24\"]"), "{written}");
    // By the daemon: its queue was not opened twice.
    daemon.wait_for("delivered", |line| line["event"] == "delivered" && line["to"] == "you@example.com");
    scene.arrived(1).await;
    assert!(daemon.events("reloaded").len() == 1 && daemon.events("alarm").is_empty(), "{:?}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_lacks_its_account_gets_it_and_keeps_every_line() {
    let scene = Scene::set().await;
    let packaged = include_str!("../config/packaged.toml");
    let submission = scene.path("submission");
    let lacking = packaged
        .replace("[\"127.0.0.1:25\", \"[::1]:25\"]", &format!("\"127.0.0.1:{}\"", scene.port))
        .replace("/run/mailsluice/submission", submission.to_str().unwrap());
    fs::create_dir(scene.path("etc")).unwrap();
    fs::write(scene.config(), &lacking).unwrap();
    let check = mailsluice().arg("--config").arg(scene.config()).arg("check").output().unwrap();
    assert_eq!(check.status.code(), Some(78));
    assert!(said(&check).contains("`mailsluice setup` adds"), "{}", said(&check));

    let mut flags = scene.flags();
    flags.retain(|flag| !flag.starts_with("--listen"));
    // A socket on all addresses would leave no room for the one that is there.
    let mut wide = flags.clone();
    wide.extend(["--networks=10.1.2.0/24".into(), format!("--listen=0.0.0.0:{}", scene.port)]);
    let refused = scene.run(&wide);
    assert!(said(&refused).contains("taken by \"127.0.0.1:"), "{}", said(&refused));
    assert_eq!(fs::read_to_string(scene.config()).unwrap(), lacking);

    let output = scene.run(&flags);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    scene.arrived(1).await;
    let written = fs::read_to_string(scene.config()).unwrap();
    let added = written.strip_prefix(&lacking).unwrap_or_else(|| panic!("{written}"));
    assert!(added.contains("[[account]]\nname = \"m365\"") && !added.contains("[[listener]]"), "{added}");
    assert_eq!(fs::read_to_string(scene.path("etc/config.toml.bak")).unwrap(), lacking);
    let daemon = scene.serve();
    assert!(submission.exists());
    assert_eq!(daemon.stop(), 0);
    // It has an account now.
    assert!(said(&scene.run(&flags)).contains("is there already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_add_a_listener_to_those_that_are_there() {
    let scene = Scene::set().await;
    fs::create_dir(scene.path("etc")).unwrap();
    let lacking = format!(
        "[queue]\npath = \"{}\"\nephemeral = true\n[[listener]]\naddress = \"127.0.0.1:{}\"\n",
        scene.path("queue/queue.db").display(),
        scene.port
    );
    fs::write(scene.config(), &lacking).unwrap();
    let mut flags = scene.flags();
    flags.push("--no-test".into());
    flags.retain(|flag| !flag.starts_with("--listen"));
    let refused = scene.run(&flags);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("--queue: the configuration has a [queue] already"), "{}", said(&refused));
    flags.retain(|flag| !flag.starts_with("--queue") && flag != "--ephemeral");
    // Loopback leads there, so that this is the machine's own address in it.
    flags.push("--networks=127.1.0.0/16".into());
    let output = scene.run(&flags);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let written = fs::read_to_string(scene.config()).unwrap();
    let added = written.strip_prefix(&lacking).unwrap_or_else(|| panic!("{written}"));
    assert!(added.starts_with("\n[[listener]]\naddress = \"127.0.0.1:25\"\nnetworks = ["), "{added}");
    assert!(!added.contains("[queue]"), "{added}");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_forms_and_devices_are_told_each_where_to_go() {
    let scene = Scene::set().await;
    fs::create_dir(scene.path("etc")).unwrap();
    fs::write(scene.config(), "[[listener]]\naddress = \"127.0.0.1:25\"\n").unwrap();
    let mut flags = scene.flags();
    flags.retain(|flag| !flag.starts_with("--listen"));
    flags.extend(["--no-test", "--networks=10.1.2.0/24", "--listen=10.1.2.3:2525"].map(str::to_owned));
    let told = said(&scene.run(&flags));
    assert!(told.contains("point a web form at localhost, port 25: no encryption, no login"), "{told}");
    assert!(told.contains("point a device at 10.1.2.3, port 2525: no encryption, no login"), "{told}");

    flags.pop();
    flags.extend(["--force", "--listen=0.0.0.0:26"].map(str::to_owned));
    let told = said(&scene.run(&flags));
    assert!(told.contains("point a web form at localhost, port 26:"), "{told}");
    assert!(told.contains("point a device at this machine's address, port 26:"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_to_do_and_leaves_the_files() {
    let scene = Scene::set().await;
    scene.sandbox.set_fault(Some(Fault::AuthDisabledTenant.into()));
    let output = scene.run(&scene.flags());
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in ["FAILED  AUTH", "Set-CASMailbox", "The files stay as they are", "account test m365"] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert!(scene.config().exists() && scene.path("etc/m365.password").exists());
    assert!(!scene.path("queue").exists(), "nothing was queued");

    // The login works and the message is refused for now: it waits, and that is said.
    scene.sandbox.set_fault(Some(Fault::TempfailDot.into()));
    let mut again = scene.flags();
    again.push("--force".into());
    let output = scene.run(&again);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the test mail waits: 451") && told.contains("queue show "), "{told}");
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_all_missing_flags_are_named_and_nothing_is_written() {
    let scene = Scene::set().await;
    let mut flags = scene.places();
    flags.push("--provider=ses".into());
    let output = scene.run(&flags);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for flag in ["--region", "--login", "--username", "--from"] {
        assert!(told.contains(&format!("  {flag} (")), "{flag} in\n{told}");
    }
    // What is answered is checked as if it were typed into the configuration.
    flags.extend(["--region=eu", "--username=AKIA", "--from=shop", "--password-stdin"].map(str::to_owned));
    assert!(said(&scene.run(&flags)).contains("--from: \"shop\" is no address"));
    flags.push("--quota=many".into());
    flags[10] = "--from=shop@example.com".into();
    flags.push("--test-to=you@example.com".into());
    let mut command = mailsluice();
    let mut child =
        command.args(&flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = said(&output);
    assert!(told.contains("these answers make no configuration") && told.contains("account.caps.recipients"), "{told}");
    assert!(!scene.path("etc").exists(), "nothing is written before all is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_set_up_by_its_client_secret() {
    let scene = Scene::set().await;
    let tokens = TokenConfig::default();
    let secret = tokens.client_secret.expose_secret();
    fs::write(scene.path("typed"), secret).unwrap();
    let mut flags = scene.places();
    flags.extend([
        "--provider=microsoft365".into(),
        "--username=webmaster@example.com".into(),
        format!("--client-id={}", tokens.client_id),
        format!("--client-secret-file={}", scene.path("typed").display()),
        format!("--token-url={}", scene.sandbox.token_url()),
        format!("--listen=127.0.0.1:{}", scene.port),
    ]);
    let output = scene.run(&flags);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains(secret), "{told}");
    assert!(told.contains("ok      token     ") && told.contains("AUTH      XOAUTH2: 235"), "{told}");
    assert_eq!(scene.arrived(1).await.remove(0).to, ["webmaster@example.com"]);
    assert_eq!(fs::read_to_string(scene.path("etc/m365.client-secret")).unwrap(), secret);

    // A user who must log in first is told how, and nothing is tried.
    flags.retain(|flag| !flag.starts_with("--client-secret-file"));
    flags.push("--force".into());
    let output = scene.run(&flags);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
    assert!(at("start the daemon") < at("account login m365"), "{told}");
    assert!(!fs::read_to_string(scene.config()).unwrap().contains("client_secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_and_does_not_show_the_secret() {
    let scene = Scene::set().await;
    let listen = format!("127.0.0.1:{}", scene.port);
    let answers = json!([
        ["Who takes the mail: ", "sendmail"],
        ["wanted a number or one of", "1"],
        ["How does it log in: ", "password"],
        ["The mailbox that sends", "webmaster"],
        ["is no address", "webmaster@example.com"],
        ["Networks besides this machine", ""],
        ["Where to listen [127.0.0.1:25]: ", listen],
        ["The app password (it is not shown): ", PASSWORD],
        ["Where does a test mail go [webmaster@example.com]: ", ""],
    ]);
    let mut python = Command::new("python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/answers.py")).arg(answers.to_string());
    python.arg(env!("CARGO_BIN_EXE_mailsluice")).args(scene.places());
    let output = python.stdin(Stdio::null()).output().expect("python3: apt-get install python3");
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("webmaster@example.com\r\n"), "what is no secret is echoed: {shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(fs::read_to_string(scene.path("etc/m365.password")).unwrap(), PASSWORD);
    let mail = scene.arrived(1).await.remove(0);
    assert_eq!(mail.to, ["webmaster@example.com"]);
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
