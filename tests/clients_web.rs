//! What web applications and servers send with deliver through the relay: nodemailer, PHPMailer and msmtp; as they come, with a
//! login that nobody asked for, and with STARTTLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mail_parser::{MessageParser, MimeHeaders};
use mailsluice::sandbox::Delivery;
use serde_json::Value;

use crate::support::relay::{HEAD, Upstream, WITHOUT_RATES, mailbox, run};
use crate::support::tls::make_certificate;

const TO: [&str; 3] = ["a@example.org", "b@example.org", "hidden@example.org"];
const SUBJECT: &str = "Grüße aus Zürich";
const TEXT: &str = "Schöne Grüße\n.\n..\nEnde\n";

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Without login and TLS.
    AsItIs,
    /// With a user and a password that mean nothing.
    Login,
    /// The same after STARTTLS.
    StartTls,
}

impl Way {
    const ALL: [Self; 3] = [Self::AsItIs, Self::Login, Self::StartTls];

    /// Further lines of the listener's table.
    fn listener(self) -> &'static str {
        match self {
            Self::AsItIs => "",
            Self::Login => "auth = \"accept-any\"\n",
            Self::StartTls => {
                "auth = \"accept-any\"\ntls = { certificate = \"SITE/relay.pem\", key = { file = \"SITE/relay.key\" } }\n"
            }
        }
    }

    /// What the scripts of `tests/peers` take behind host and port.
    fn arguments(self, site: &Path) -> Vec<PathBuf> {
        let login = ["shop".into(), "käse#:$\"".into()];
        match self {
            Self::AsItIs => vec![],
            Self::Login => login.into(),
            Self::StartTls => [login.as_slice(), &[site.join("relay.pem")]].concat(),
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::AsItIs | Self::Login => "ESMTP",
            Self::StartTls => "ESMTPS",
        }
    }
}

/// Sends so many messages in this way by `send`, and gives the one to all.
async fn sent(way: Way, messages: usize, send: impl FnOnce(SocketAddr, &Path)) -> Arc<Delivery> {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    make_certificate(upstream.site.path());
    upstream.configure(&format!("{HEAD}{}", way.listener()), WITHOUT_RATES);
    let daemon = upstream.site.serve();
    send(daemon.address(), upstream.site.path());
    let deliveries = upstream.wait_for(messages).await;
    assert_eq!(daemon.events("refused"), [] as [Value; 0], "{way:?}");
    let to_all = deliveries.into_iter().find(|delivery| delivery.envelope.recipients.len() == TO.len());
    to_all.unwrap_or_else(|| panic!("{way:?}: none is to all"))
}

/// The message that each of them sends.
fn check(delivery: &Delivery, way: Way, attachment: Option<&str>) {
    let to: Vec<&str> = delivery.envelope.recipients.iter().map(|address| address.as_str()).collect();
    assert_eq!(to, TO, "{way:?}");
    let content = delivery.content.as_ref().unwrap();
    let message = MessageParser::default().parse(content).unwrap();
    assert_eq!(message.subject(), Some(SUBJECT), "{way:?}");
    let from = message.from().and_then(|from| from.first()).unwrap();
    assert_eq!((from.name(), from.address()), (Some("Jürgen Müller"), Some("webmaster@example.com")));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), TEXT.trim_end(), "{way:?}");
    let received = message.header_raw("Received").unwrap();
    assert!(received.contains(&format!(" with {} id ", way.protocol())), "{way:?}: {received}");
    let text = String::from_utf8_lossy(content);
    assert!(!text.contains("hidden@") && !text.contains("k\u{e4}se"), "{way:?}: a blind recipient or a password");
    if let Some(name) = attachment {
        let part = message.attachment(0).unwrap();
        let octets: Vec<u8> = (0..300_000_u64).map(|at| ((at * 7919) >> 5).to_le_bytes()[0]).collect();
        assert_eq!(part.attachment_name(), Some(name));
        assert!(part.contents() == octets, "{way:?}: {} octets", part.contents().len());
    }
}

/// Runs a script of `tests/peers`.
fn script(program: &str, package: &str, path: &str, way: Way, (relay, site): (SocketAddr, &Path)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program);
    command.env("NODEMAILER", root.join("target/peers/nodemailer"));
    command.arg(root.join("tests/peers").join(path));
    command.args([relay.ip().to_string(), relay.port().to_string()]).args(way.arguments(site));
    run(package, command, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodemailer_delivers() {
    for way in Way::ALL {
        let sent = sent(way, 2, |relay, site| script("node", "nodejs", "nodemailer/send.js", way, (relay, site))).await;
        check(&sent, way, Some("zähler.bin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phpmailer_delivers() {
    for way in Way::ALL {
        let sent = sent(way, 2, |relay, site| script("php", "php-cli", "phpmailer/send.php", way, (relay, site))).await;
        check(&sent, way, Some("zähler.bin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn msmtp_delivers() {
    let message = format!(
        "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <shop@site.example>\nTo: {}, {}\nBcc: {}\nSubject: {SUBJECT}\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\n{TEXT}",
        TO[0], TO[1], TO[2]
    );
    for way in Way::ALL {
        let sent = sent(way, 1, |relay, site| {
            let mut msmtp = Command::new("msmtp");
            msmtp.args(["--file=/dev/null", "--read-recipients", "--from=shop@site.example", "--domain=app.example"]);
            msmtp.args([format!("--host={}", relay.ip()), format!("--port={}", relay.port())]);
            if way != Way::AsItIs {
                msmtp.args(["--auth=plain", "--user=shop", "--passwordeval=printf käse"]);
            }
            if way == Way::StartTls {
                msmtp.args(["--tls=on", "--tls-starttls=on"]);
                msmtp.arg(format!("--tls-trust-file={}", site.join("relay.pem").display()));
            }
            run("msmtp", msmtp, message.as_bytes());
        });
        let sent = sent.await;
        check(&sent, way, None);
    }
}
