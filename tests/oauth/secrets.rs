//! No secret of a login is anywhere but where it belongs: not in the log at its most talkative, the queue's files, or what
//! commands print; neither when all goes well nor when everything is refused by those who repeat what they were sent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use mailsluice::sandbox::{Caps, KeepContent};

use super::*;
use crate::commands::forms;

const ACCESS: &str = "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA-access.token_42";
const FIRST_REFRESH: &str = "0.AXoAJlxK-first.refresh_token-90AAB";
const NEXT_REFRESH: &str = "0.AXoAJlxK-next.refresh_token-91CCD";
const DEVICE_CODE: &str = "DAQABAAEAAAD-device_code.GAZ";
const CLIENT_SECRET: &str = "vQ~8Q_client.secret~ZkLm0p9";
const PASSWORD_VALUE: &str = "Correct-Horse_Battery.Staple:42";

/// How an identity provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It gives tokens.
    Gives,
    /// It refuses, and repeats all it was sent.
    Repeats,
}

/// An identity provider whose tokens are known to the test.
fn issuer(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream, manner));
        }
    });
    url
}

fn answer(mut stream: TcpStream, manner: Manner) {
    let mut request = Vec::new();
    let mut octet = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).unwrap();
        request.push(octet[0].to_ascii_lowercase());
    }
    let head = String::from_utf8(request).unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let sent: Vec<String> = oauth2::url::form_urlencoded::parse(&body).map(|(_, value)| value.into_owned()).collect();
    let (status, answer) = match manner {
        Manner::Gives if head.starts_with("post /devicecode") => (
            200,
            serde_json::json!({"device_code": DEVICE_CODE, "user_code": "ABC", "verification_uri": "http://x/",
                               "expires_in": 60, "interval": 0}),
        ),
        Manner::Gives => (
            200,
            serde_json::json!({"access_token": ACCESS, "token_type": "Bearer", "expires_in": 3,
                               "refresh_token": NEXT_REFRESH}),
        ),
        Manner::Repeats => (
            401,
            serde_json::json!({"error": "invalid_client", "error_description": format!("you sent {}", sent.join(" "))}),
        ),
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
    stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
}

/// Everything that a person, or a thief of logs and queues, gets to see.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, name: impl Into<String>, bytes: &[u8]) {
        // Every secret is ASCII, so it is found whatever stands around it.
        self.0.push((name.into(), String::from_utf8_lossy(bytes).into_owned()));
    }

    fn holds(&self, text: &str) -> Option<&str> {
        self.0.iter().find(|(_, seen)| seen.contains(text)).map(|(name, _)| name.as_str())
    }
}

/// Delivers, or fails to, at `RUST_LOG=trace`, and collects what is to be seen of it.
fn seen(script: &SandboxConfig, login: &str, token_url: &str, event: &str) -> Seen {
    let scene = Scene::set(Script { sandbox: script.clone(), ..Script::default() });
    configure(&scene, token_url, login);
    std::fs::write(scene.site.path().join("password"), PASSWORD_VALUE).unwrap();
    std::fs::write(scene.site.path().join("client_secret"), CLIENT_SECRET).unwrap();
    std::fs::write(scene.site.path().join("refresh_token"), FIRST_REFRESH).unwrap();
    std::fs::write(scene.site.path().join("application.pem"), data("application.pem")).unwrap();
    scene.site.add_secret("application.key", &data("application.key"));
    let complaints = scene.site.path().join("stderr");
    let daemon = scene.site.serve_with(|command| {
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        command.stderr(std::fs::File::create(&complaints).unwrap());
    });
    scene.offer(0..3);
    daemon.wait_for(event, |line| line["event"] == event);
    let mut seen = Seen::default();
    let accepted = daemon.wait_for("acceptance", |line| line["event"] == "accepted");
    let id = accepted["queue_id"].as_str().unwrap().to_owned();
    for arguments in [
        &["check"][..],
        &["account", "list"],
        &["account", "list", "--json"],
        &["account", "login", "m365"],
        &["account", "test", "m365"],
        &["account", "test", "m365", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["queue", "list", "--json"],
        &["queue", "show", &id],
        &["queue", "show", &id, "--json"],
        &["queue", "stats"],
    ] {
        let mut command = mailsluice();
        command.env("RUST_LOG", "trace").arg("--config").arg(scene.site.config()).args(arguments);
        let output = command.output().unwrap();
        seen.add(format!("the output of {arguments:?}"), &[output.stdout, output.stderr].concat());
    }
    for path in files_of_the_queue(scene.site.path()) {
        seen.add(path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    daemon.signal(Signal::TERM);
    daemon.wait_for("end", |line| line["event"] == "stopped");
    let lines: Vec<String> = daemon.log().iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("\"TRACE\"")), "the log is not as talkative as it could be");
    seen.add("the log", lines.join("\n").as_bytes());
    assert_eq!(daemon.ended(), 0);
    seen.add("standard error", &std::fs::read(&complaints).unwrap());
    for path in files_of_the_queue(scene.site.path()) {
        seen.add(path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    assert!(seen.holds("m365").is_some() && seen.0.len() > 15, "{} things to look at only", seen.0.len());
    seen
}

fn files_of_the_queue(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries
        .filter(|path| path.is_file() && path.file_name().unwrap().to_str().unwrap().starts_with("queue.db"))
        .collect();
    assert!(files.iter().any(|path| path.ends_with("queue.db")), "{files:?}");
    files
}

#[test]
fn no_secret_of_a_login_is_seen_anywhere() {
    let certificate = "[account.oauth]\nTOKENS\ncertificate = \"SITE/application.pem\"\n\
                       key = { file = \"SITE/application.key\" }";
    let refresh = "[account.oauth]\nTOKENS\nclient_secret = { file = \"SITE/client_secret\" }\n\
                   refresh_token = { file = \"SITE/refresh_token\" }";
    let device = "[account.oauth]\nTOKENS";
    let both = format!("{PASSWORD}\n{APPLICATION}");
    let of_sandbox = Script::default().sandbox;
    let good = SandboxConfig {
        token: Some(ACCESS.into()),
        password: PASSWORD_VALUE.into(),
        content: KeepContent::Drop,
        caps: Caps::unlimited(),
        ..of_sandbox
    };
    let bad = SandboxConfig { token: None, password: "another".into(), ..good.clone() };
    let key = data("application.key");
    let key_lines: Vec<&str> = key.lines().filter(|line| !line.contains("KEY")).collect();
    assert!(key_lines.len() > 20);
    let mut secrets = vec![ACCESS, FIRST_REFRESH, NEXT_REFRESH, DEVICE_CODE, CLIENT_SECRET, PASSWORD_VALUE];
    secrets.extend(&key_lines);
    for (sandbox, manner, login, event) in [
        (&good, Manner::Gives, &*both, "delivered"),
        (&good, Manner::Gives, refresh, "delivered"),
        (&good, Manner::Gives, certificate, "delivered"),
        (&good, Manner::Repeats, &*both, "login_switched"),
        (&bad, Manner::Gives, &*both, "paused"),
        (&bad, Manner::Repeats, &*both, "paused"),
        (&bad, Manner::Repeats, refresh, "paused"),
        (&bad, Manner::Repeats, certificate, "paused"),
        (&bad, Manner::Gives, device, "paused"),
    ] {
        let seen = seen(sandbox, login, &issuer(manner), event);
        for secret in &secrets {
            for form in forms(secret) {
                assert_eq!(seen.holds(&form), None, "{form} of {secret} with {login} and an issuer that {manner:?}");
            }
        }
        assert_eq!(seen.holds("eyJhbGciOiJQUzI1NiIs"), None, "an assertion");
    }
}
