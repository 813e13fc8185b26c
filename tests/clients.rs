//! Real clients deliver through the relay: swaks, curl, Python's smtplib and what web applications write. What arrives is
//! judged at the sandbox.

use std::process::Command;

use mail_parser::{MessageParser, MimeHeaders};
use mailsluice::sandbox::{Extension, Profile, SandboxConfig};
use serde_json::Value;

use crate::support::daemon::Site;
use crate::support::relay::{
    Arrived, HEAD, PASSWORD, Upstream, WITHOUT_RATES, addresses, mailbox, recipients, run, send, with_subject,
};

const MAILBOX: &str = "webmaster@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn swaks_delivers_over_both_families_to_several_recipients() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    // Swaks adds the last line end.
    let body = "An alarm.\r\n.\r\n..two dots\r\n.\r\ntrailing spaces   ";
    for (address, name) in addresses(&daemon).into_iter().zip(["four", "six"]) {
        let message = format!("From: Camera 1 <camera@device.example>\r\nSubject: {name}\r\n\r\n{body}");
        let mut swaks = Command::new("swaks");
        swaks.arg(if address.is_ipv6() { "-6" } else { "-4" });
        swaks.args(["--server", &address.ip().to_string(), "--port", &address.port().to_string()]);
        swaks.args(["--ehlo", "camera.example", "--pipeline", "--timeout", "30", "--data", "-"]);
        swaks.args(["--from", "camera@device.example", "--to", "a@example.org,b@example.org,c@example.net"]);
        let output = run("swaks", swaks, message.as_bytes());
        let talk = String::from_utf8(output.stdout).unwrap();
        assert!(talk.contains(" -> RCPT TO:<a@example.org>\n -> RCPT TO:<b@example.org>\n"), "not pipelined:\n{talk}");
    }
    let deliveries = upstream.wait_for(2).await;
    for (name, trace) in [("four", "([127.0.0.1])"), ("six", "([IPv6:::1])")] {
        let arrived = with_subject(&deliveries, name);
        assert_eq!(arrived.from, MAILBOX);
        assert_eq!(arrived.to, ["a@example.org", "b@example.org", "c@example.net"]);
        assert_eq!(arrived.field("From"), "Camera 1 <webmaster@example.com>");
        assert_eq!(arrived.field("Reply-To"), "Camera 1 <camera@device.example>");
        let received = arrived.field("Received");
        assert!(received.starts_with(&format!("from camera.example {trace}")), "{received}");
        assert!(received.contains("by relay.example (Mailsluice) with ESMTP id "), "{received}");
        assert_eq!(arrived.body, format!("{body}\r\n").as_bytes(), "{name}");
    }
    let delivered = daemon.wait_for_count("delivered", 6, |line| line["event"] == "delivered");
    assert_eq!(delivered.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_lacks_is_added_and_what_is_private_removed() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let message = b"Subject: bare\r\nTo: Office <a@example.org>\r\nBCC: hidden@example.org,\r\n\tmore@example.org\r\n\
        Return-Path: <x@y.example>\r\n\r\nWritten by hand.\r\n";
    send(daemon.address(), "shop@shop.example", &["a@example.org", "hidden@example.org"], message);
    let arrived = Arrived::new(&upstream.wait_for(1).await[0]);
    assert_eq!(arrived.to, ["a@example.org", "hidden@example.org"]);
    assert!(!arrived.header.to_ascii_lowercase().contains("bcc"), "{}", arrived.header);
    assert!(!arrived.header.contains("hidden") && !arrived.header.contains("more@"), "{}", arrived.header);
    assert_eq!(arrived.fields("Return-Path"), [""; 0]);
    assert_eq!(arrived.field("To"), "Office <a@example.org>");
    assert!(arrived.field("Message-ID").ends_with("@relay.example>"), "{}", arrived.header);
    let date = MessageParser::default().parse_headers(arrived.header.as_bytes()).unwrap().date().cloned();
    assert!(date.is_some_and(|date| date.is_valid() && date.year >= 2024), "{}", arrived.header);
    assert!(arrived.field("From").ends_with("<webmaster@example.com>"), "{}", arrived.header);
    assert_eq!(arrived.field("Reply-To"), "<shop@shop.example>");
    assert_eq!(arrived.body, b"Written by hand.\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_delivery_has_all_one_asks_for() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    send(daemon.address(), "shop@shop.example", &["a@example.org"], b"Subject: told\r\n\r\nx\r\n");
    let line = daemon.wait_for("delivered", |line| line["event"] == "delivered");
    let accepted = daemon.wait_for("accepted", |line| line["event"] == "accepted");
    let host = "sandbox.outlook.office365.com";
    for (field, wanted) in [
        ("level", "INFO"),
        ("client", "127.0.0.1"),
        ("from", "shop@shop.example"),
        ("to", "a@example.org"),
        ("account", "m365"),
        ("status", "2.0.0"),
    ] {
        assert_eq!(line[field], wanted, "{line}");
    }
    assert_eq!(line["queue_id"], accepted["queue_id"]);
    assert!(line["queue_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    let message_id = accepted["message_id"].as_str().unwrap();
    assert_eq!(line["reply"], format!("250 2.0.0 OK {message_id} [Hostname={host}]"), "{line}");
    assert_eq!(line["host"], "127.0.0.1");
    assert_eq!(line["attempts"], 1);
    assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 30.0), "{line}");
    assert_eq!(line["bytes"], accepted["bytes"], "{line}");
    assert!(line["bytes"].as_u64() > Some(100), "{line}");
    let sentence = line["message"].as_str().unwrap();
    assert!(sentence.contains("delivered to a@example.org by m365: 250 2.0.0 OK"), "{sentence}");
    assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
}

/// Sends several messages over one connection and writes what the server answered.
const SMTPLIB: &str = r#"
import email.message, smtplib, sys
host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def raw(name): return open(f"{folder}/{name}", "rb").read()
with smtplib.SMTP(host, port, local_hostname="app.example", timeout=60) as smtp:
    smtp.ehlo()
    for wanted in "pipelining", "8bitmime", "smtputf8", "size", "enhancedstatuscodes":
        assert smtp.has_extn(wanted), wanted
    for name in "eight", "dots", "ends":
        refused = smtp.sendmail("app@site.example", ["a@example.org"], raw(name), mail_options=["BODY=8BITMIME"])
        assert refused == {}, refused
    smtp.sendmail("", ["a@example.org"], raw("null"))

    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "attached", "App <app@site.example>", "a@example.org"
    mail.set_content("Grüße aus Zürich\n")
    mail.add_attachment(raw("attachment"), maintype="application", subtype="octet-stream", filename="five.bin")
    smtp.send_message(mail)

    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "beyond ascii", "Jürgen <app@site.example>", "jürgen@example.org"
    mail.set_content("x\n")
    smtp.send_message(mail)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn smtplib_sends_several_messages_over_one_connection() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let all_octets: Vec<u8> = (0x80..=0xff).cycle().take(40 * 72).collect();
    let eight: Vec<u8> = all_octets.chunks(72).flat_map(|line| [line, b"\r\n"].concat()).collect();
    let bodies: [(&str, Vec<u8>); 4] = [
        ("eight", eight),
        ("dots", b".\r\n..\r\n...three\r\n.x\r\n\r\n.\r\n".to_vec()),
        ("ends", b"\r\n\r\nno line at the top, many at the end\r\n\r\n\r\n".to_vec()),
        ("null", b"A report.\r\n".to_vec()),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, body) in &bodies {
        let header = format!("Subject: {name}\r\nFrom: App <app@site.example>\r\n\r\n");
        std::fs::write(folder.path().join(name), [header.as_bytes(), body].concat()).unwrap();
    }
    let attachment: Vec<u8> = (0..5u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(folder.path().join("attachment"), &attachment).unwrap();

    let relay = daemon.address();
    let mut python = Command::new("python3");
    python.args(["-c", SMTPLIB, &relay.ip().to_string(), &relay.port().to_string()]).arg(folder.path());
    run("python3", python, b"");

    let deliveries = upstream.wait_for(6).await;
    for (name, body) in &bodies {
        let arrived = with_subject(&deliveries, name);
        assert_eq!(arrived.from, MAILBOX, "{name}");
        assert!(arrived.body == *body, "{name}: {} octets of {}", arrived.body.len(), body.len());
        assert_eq!(arrived.field("From"), "App <webmaster@example.com>");
    }
    let attached = with_subject(&deliveries, "attached");
    let content = [attached.header.as_bytes(), b"\r\n", &attached.body].concat();
    let message = MessageParser::default().parse(&content).unwrap();
    assert_eq!(message.body_text(0).unwrap().trim_end(), "Grüße aus Zürich");
    let part = message.attachment(0).unwrap();
    assert_eq!(part.attachment_name(), Some("five.bin"));
    assert!(part.contents() == attachment, "{} octets", part.contents().len());
    let beyond = deliveries.iter().find(|one| one.envelope.recipients[0].as_str() == "jürgen@example.org");
    let beyond = MessageParser::default().parse(beyond.unwrap().content.as_ref().unwrap()).unwrap();
    let from = beyond.from().and_then(|from| from.first()).unwrap();
    assert_eq!((from.name(), from.address()), (Some("Jürgen"), Some(MAILBOX)));
    assert!(daemon.events("accepted").iter().all(|line| line["client"] == "127.0.0.1"));
    assert_eq!(daemon.events("refused"), [] as [Value; 0]);
}

/// As PHPMailer 6 writes it for a contact form whose author put the visitor into From.
const CONTACT_FORM: &str = "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nTo: office@example.com\r\n\
    From: =?UTF-8?Q?J=C3=BCrgen_Besucher?= <juergen@visitor.example>\r\nSubject: =?UTF-8?Q?Anfrage_=C3=BCber_das_Formular?=\r\n\
    Message-ID: <Zq3xWk1vP0@www.example.com>\r\nX-Mailer: PHPMailer 6.9.1 (https://github.com/PHPMailer/PHPMailer)\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"b1=_Zq3xWk1vP0\"\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\nThis is a multi-part message in MIME format.\r\n\r\n--b1=_Zq3xWk1vP0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße!\r\n\r\n--b1=_Zq3xWk1vP0\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Grüße!</p>\r\n\r\n\r\n\
    --b1=_Zq3xWk1vP0--\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_form_is_delivered_and_answers_go_to_the_visitor() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    send(daemon.address(), "wordpress@www.example.com", &["office@example.com"], CONTACT_FORM.as_bytes());
    let arrived = Arrived::new(&upstream.wait_for(1).await[0]);
    assert_eq!(arrived.from, MAILBOX);
    assert_eq!(arrived.field("From"), "=?UTF-8?Q?J=C3=BCrgen_Besucher?= <webmaster@example.com>");
    assert!(arrived.field("Reply-To").contains("juergen@visitor.example"), "{}", arrived.header);
    assert_eq!(arrived.field("Subject"), "=?UTF-8?Q?Anfrage_=C3=BCber_das_Formular?=");
    assert_eq!(arrived.field("Message-ID"), "<Zq3xWk1vP0@www.example.com>");
    assert_eq!(arrived.field("Date"), "Sun, 22 Nov 2026 10:00:00 +0000");
    let (_, body) = CONTACT_FORM.split_once("\r\n\r\n").unwrap();
    assert_eq!(arrived.body, body.as_bytes());
    let attempted = daemon.wait_for("attempted", |line| line["event"] == "attempted");
    assert!(attempted["repairs"].as_str().unwrap().contains("juergen@visitor.example"), "{attempted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_repair_the_sandbox_refuses_the_contact_form() {
    let upstream = Upstream::start(mailbox(), &format!("{WITHOUT_RATES}\nsender = \"keep\"")).await;
    let daemon = upstream.site.serve();
    send(daemon.address(), "wordpress@www.example.com", &["office@example.com"], CONTACT_FORM.as_bytes());
    let attempted = daemon.wait_for("attempted", |line| line["event"] == "attempted");
    let told =
        daemon.wait_for("the refusal", |line| line["reply"].as_str().is_some_and(|r| r.contains("SendAsDenied")));
    assert!(told["reply"].as_str().unwrap().starts_with("554 5.2.252 "), "{attempted} {told}");
    assert_eq!(upstream.sandbox.counters().deliveries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_unknown_recipients_fail_and_the_others_get_it_once() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let to: Vec<String> = (0..25)
        .map(|at| if at % 12 == 7 { format!("unknown{at}@example.org") } else { format!("user{at:02}@example.org") })
        .collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    send(daemon.address(), "shop@shop.example", &to, b"Subject: many\r\n\r\nx\r\n");
    let failed = daemon.wait_for_count("failed", 2, |line| line["event"] == "failed");
    let delivered = daemon.wait_for_count("delivered", 23, |line| line["event"] == "delivered");
    assert_eq!((failed.len(), delivered.len()), (2, 23));
    for line in &failed {
        assert!(line["to"].as_str().unwrap().starts_with("unknown"), "{line}");
        assert!(line["reply"].as_str().unwrap().starts_with("550 5.1.10 "), "{line}");
        assert_eq!(line["status"], "5.1.10");
    }
    let mut known: Vec<&str> = to.iter().filter(|to| to.starts_with("user")).copied().collect();
    known.sort_unstable();
    assert_eq!(recipients(&upstream.sandbox.deliveries()), known);
    let id = failed[0]["queue_id"].as_str().unwrap();
    let shown = upstream.site.json(&["queue", "show", id, "--json"]);
    let fates: Vec<&str> = shown["each"].as_array().unwrap().iter().map(|one| one["fate"].as_str().unwrap()).collect();
    assert_eq!(fates.iter().filter(|fate| **fate == "delivered").count(), 23, "{shown}");
    assert_eq!(fates.iter().filter(|fate| **fate == "failed").count(), 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_recipients_than_a_message_may_have_take_two_transactions() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let to: Vec<String> = (0..700).map(|at| format!("user{at:03}@example.org")).collect();
    let names: Vec<&str> = to.iter().map(String::as_str).collect();
    send(daemon.address(), "shop@shop.example", &names, b"Subject: circular\r\n\r\nx\r\n");
    daemon.wait_for_count("delivered", 700, |line| line["event"] == "delivered");
    let deliveries = upstream.sandbox.deliveries();
    let mut sizes: Vec<usize> = deliveries.iter().map(|one| one.envelope.recipients.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [200, 500]);
    assert_eq!(recipients(&deliveries), to);
    assert_eq!(deliveries[0].message_id, deliveries[1].message_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_for_seven_bits_gets_the_same_text() {
    let extensions = vec![Extension::Size, Extension::EnhancedStatusCodes, Extension::StartTls, Extension::Auth];
    let profile = Profile { extensions, ..Profile::default() };
    let upstream = Upstream::start(SandboxConfig { profile, ..mailbox() }, WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    send(daemon.address(), "wordpress@www.example.com", &["office@example.com"], CONTACT_FORM.as_bytes());
    let delivery = upstream.wait_for(1).await.remove(0);
    let content = delivery.content.clone().unwrap();
    assert!(content.is_ascii());
    let sent = MessageParser::default().parse(CONTACT_FORM.as_bytes()).unwrap();
    let got = MessageParser::default().parse(&content).unwrap();
    assert_eq!(got.body_text(0), sent.body_text(0));
    assert_eq!(got.body_html(0), sent.body_html(0));
    assert!(got.body_text(0).unwrap().contains("Grüße!"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_takes_mail_in_place_of_a_provider() {
    let account = "\n[[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n\
        sender = \"rewrite\"\nfrom = \"webmaster@example.com\"\n";
    let site = Site::new(&format!("{HEAD}{account}"), PASSWORD);
    std::fs::create_dir(site.path().join("out")).unwrap();
    let daemon = site.serve();
    send(daemon.address(), "shop@shop.example", &["a@example.org", "b@example.org"], b"Subject: file\r\n\r\n.x\r\n");
    let line = daemon.wait_for("delivered", |line| line["event"] == "delivered");
    let path = line["reply"].as_str().unwrap().strip_prefix("250 2.0.0 written to ").unwrap();
    let arrived = Arrived::of(&std::fs::read(path).unwrap());
    assert_eq!(arrived.body, b".x\r\n");
    assert_eq!(arrived.field("Reply-To"), "<shop@shop.example>");
    let envelope = std::fs::read_to_string(path.replace(".eml", ".json")).unwrap();
    let envelope: Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!(envelope, serde_json::json!({ "from": MAILBOX, "to": ["a@example.org", "b@example.org"] }));
}

/// As Domoticz attaches pictures: all of one on a line.
const ONE_LINE: &str = r#"
import base64, smtplib, sys
host, port, picture = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "rb").read()
mail = (b"From: Home <home@device.example>\r\nTo: a@example.org\r\nSubject: Bewegung im B\xfcro\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=one\r\n\r\n--one\r\n\r\nT\xc3\xbcr offen\r\n--one\r\n"
        b"Content-Type: image/jpeg; name=a.jpg\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(picture) + b"\r\n--one--\r\n")
with smtplib.SMTP(host, port, local_hostname="home.example", timeout=60) as smtp:
    assert smtp.sendmail("home@device.example", ["a@example.org"], mail) == {}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_on_one_line_arrives_in_short_lines() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let daemon = upstream.site.serve();
    let picture: Vec<u8> = (0..480_000u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picture");
    std::fs::write(&file, &picture).unwrap();
    let mut python = Command::new("python3");
    let relay = daemon.address();
    python.args(["-c", ONE_LINE, &relay.ip().to_string(), &relay.port().to_string()]).arg(file);
    run("python3", python, b"");

    let deliveries = upstream.wait_for(1).await;
    let content = deliveries[0].content.as_ref().unwrap();
    assert!(content.split(|byte| *byte == b'\n').all(|line| line.len() <= 999));
    let message = MessageParser::default().parse(content).unwrap();
    assert_eq!(message.subject(), Some("Bewegung im Büro"));
    assert_eq!(message.body_text(0).unwrap().trim_end(), "Tür offen");
    assert!(message.attachment(0).unwrap().contents() == picture);
    let attempted = daemon.wait_for("attempted", |line| line["event"] == "attempted");
    let repairs = attempted["repairs"].as_str().unwrap();
    for repair in [
        "8-bit text of Subject read as windows-1252 and encoded",
        "Content-Type as utf-8 text, Content-Transfer-Encoding as 8bit added",
        "lines beyond 998 octets re-encoded in a part",
    ] {
        assert!(repairs.contains(repair), "{repairs}");
    }
}
