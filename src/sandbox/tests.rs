//! The sandbox over real sockets, as a relay meets it.

mod client;
mod dialogues;
mod faults;
mod tokens;

use std::time::Duration;

use super::*;
use client::{Client, MESSAGE, encoded};
use secrecy::SecretString;

const OK: &str = "250 2.0.0 OK <1@example.com> [Hostname=sandbox.outlook.office365.com]";

async fn start(config: SandboxConfig) -> Sandbox {
    Sandbox::start(config).await.unwrap()
}

fn with_caps(caps: Caps) -> SandboxConfig {
    SandboxConfig { caps, ..SandboxConfig::default() }
}

fn with_profile(profile: Profile) -> SandboxConfig {
    SandboxConfig { profile, ..SandboxConfig::default() }
}

#[tokio::test]
async fn ehlo_names_what_the_real_server_names() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut client = Client::connect(&sandbox).await;
    let banner = client.reply().await;
    assert!(banner.starts_with("220 sandbox.outlook.office365.com Microsoft ESMTP MAIL Service ready at "), "{banner}");
    assert_eq!(
        client.say("EHLO relay.example").await,
        "250-sandbox.outlook.office365.com Hello [127.0.0.1]\n250-SIZE 157286400\n250-PIPELINING\n250-DSN\n\
         250-ENHANCEDSTATUSCODES\n250-STARTTLS\n250-8BITMIME\n250-BINARYMIME\n250-CHUNKING\n250 SMTPUTF8"
    );
    client.say("STARTTLS").await;
    let mut client = client.handshake().await.unwrap();
    assert_eq!(
        client.say("EHLO relay.example").await,
        "250-sandbox.outlook.office365.com Hello [127.0.0.1]\n250-SIZE 157286400\n250-PIPELINING\n250-DSN\n\
         250-ENHANCEDSTATUSCODES\n250-AUTH LOGIN XOAUTH2\n250-8BITMIME\n250-BINARYMIME\n250-CHUNKING\n250 SMTPUTF8"
    );
}

#[tokio::test]
async fn each_command_has_its_time() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    assert!(client.say("STARTTLS").await.starts_with("503 5.5.2 Send hello first [sandbox."));
    client.say("EHLO relay.example").await;
    for command in ["AUTH LOGIN", "MAIL FROM:<webmaster@example.com>"] {
        let reply = client.say(command).await;
        assert!(reply.starts_with("530 5.7.0 Must issue a STARTTLS command first ["), "{reply}");
    }
    client.say("STARTTLS").await;
    let mut client = client.handshake().await.unwrap();
    for (command, reply) in [
        ("AUTH LOGIN", "503 5.5.2 Send hello first"),
        ("MAIL FROM:<webmaster@example.com>", "530 5.7.57 Client not authenticated to send mail."),
        ("EHLO relay.example", "250-"),
        ("STARTTLS", "500 5.3.3 "),
        ("MAIL FROM:<webmaster@example.com>", "530 5.7.57 Client not authenticated to send mail."),
        ("RCPT TO:<a@example.org>", "503 5.5.2 Need mail command"),
        ("AUTH PLAIN", "504 5.7.4 Unrecognized authentication type"),
    ] {
        let heard = client.say(command).await;
        assert!(heard.starts_with(reply), "{command}: {heard}");
    }
    assert_eq!(client.login("open-sesame").await, "235 2.7.0 Authentication successful");
    for (command, reply) in [
        ("AUTH LOGIN", "503 5.5.1 "),
        ("DATA", "503 5.5.2 Need mail command"),
        ("MAIL FROM:webmaster", "501 5.5.4 "),
        ("MAIL FROM:<webmaster>", "501 5.1.7 Invalid address"),
        ("MAIL FROM:<webmaster@example.com> BODY=8BITMIME SIZE=100", "250 2.1.0 Sender OK"),
        ("MAIL FROM:<webmaster@example.com>", "503 5.5.2 Sender already specified"),
        ("DATA", "503 5.5.2 Need rcpt command"),
        ("RCPT TO:<a b@example.org>", "501 5.1.3 Invalid address"),
        ("RCPT TO:<Unknown.person@example.org>", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
        ("RCPT TO:<a@example.org> NOTIFY=NEVER", "250 2.1.5 Recipient OK"),
        ("RSET", "250 2.0.0 "),
        ("RCPT TO:<a@example.org>", "503 5.5.2 Need mail command"),
        ("NOOP", "250 2.0.0 OK"),
        ("QUIT", "221 2.0.0 Service closing transmission channel"),
        ("NOOP", ""),
    ] {
        let heard = client.say(command).await;
        assert!(heard.starts_with(reply) && heard.is_empty() == reply.is_empty(), "{command}: {heard}");
    }
}

#[tokio::test]
async fn logins_are_judged() {
    let (user, password) = (encoded("WebMaster@example.com"), encoded("open-sesame"));
    let profile = Profile {
        mechanisms: vec![Mechanism::Plain, Mechanism::Login, Mechanism::Xoauth2],
        tls: TlsMode::None,
        ..Profile::default()
    };
    let token = Some(SecretString::from("t0ken"));
    let sandbox = start(SandboxConfig { token, ..with_profile(profile) }).await;
    let wrong = "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.";
    let plain = |text: &str| format!("AUTH PLAIN {}", encoded(text));
    let bearer = |token: &str| encoded(&format!("user=webmaster@example.com\u{1}auth=Bearer {token}\u{1}\u{1}"));
    for (steps, verdict) in [
        (vec!["AUTH login".to_owned(), user.clone(), password.clone()], "235 2.7.0 Authentication successful"),
        (vec!["AUTH LOGIN".to_owned(), encoded("other@example.com"), password.clone()], wrong),
        (vec![format!("AUTH LOGIN {user}"), encoded("open-sesam")], wrong),
        (vec![format!("AUTH LOGIN {user}"), "=".to_owned()], "501 5.5.2 "),
        (vec!["AUTH LOGIN".to_owned(), "*".to_owned()], "501 5.7.0 "),
        (vec![plain("\0webmaster@example.com\0open-sesame")], "235 2.7.0 "),
        (vec![plain("\0webmaster@example.com\0open")], wrong),
        (vec![plain("webmaster@example.com")], wrong),
        (vec!["AUTH PLAIN".to_owned(), encoded("\0webmaster@example.com\0open-sesame")], "235 2.7.0 "),
        (vec!["AUTH XOAUTH2".to_owned(), bearer("t0ken")], "235 2.7.0 "),
        (vec![format!("AUTH XOAUTH2 {}", bearer("other"))], "535 5.7.3 Authentication unsuccessful"),
    ] {
        let mut client = Client::connect(&sandbox).await;
        client.reply().await;
        assert!(client.say("EHLO relay.example").await.contains("\n250-AUTH PLAIN LOGIN XOAUTH2\n"));
        let mut heard = String::new();
        for step in &steps {
            heard = client.say(step).await;
        }
        assert!(heard.starts_with(verdict), "{steps:?}: {heard}");
    }
    assert_eq!((sandbox.counters().logins, sandbox.counters().failed_logins), (4, 5));
}

#[tokio::test]
async fn what_is_accepted_lies_in_a_file_octet_for_octet() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let config = SandboxConfig { mail: Some(mail.clone()), content: KeepContent::Keep, ..SandboxConfig::default() };
    let sandbox = start(config).await;
    let mut client = Client::logged_in(&sandbox).await;
    assert_eq!(client.send("a@example.org", MESSAGE).await, OK);
    let second = b"From: webmaster@example.com\r\n\r\n\xff\x00 long \r\n".repeat(40_000);
    assert!(client.send("b@example.org", &second).await.starts_with("250 2.0.0 OK <2@sandbox."));

    let deliveries = sandbox.wait_for(2).await;
    for (delivery, content) in deliveries.iter().zip([MESSAGE, &second]) {
        let written = std::fs::read(delivery.file.as_ref().unwrap()).unwrap();
        assert!(written == content, "{} and {} octets", written.len(), content.len());
        assert_eq!(delivery.content.as_deref(), Some(content));
        assert_eq!((delivery.size, delivery.digest), (content.len(), digest(content)));
        assert!(delivery.begun_at <= delivery.received_at);
    }
    let first = &deliveries[0];
    assert_eq!((first.connection, first.index, deliveries[1].index), (1, 1, 2));
    assert_eq!(first.message_id.as_deref(), Some("<1@example.com>"));
    assert_eq!(first.subject.as_deref(), Some("one"));
    assert_eq!(first.envelope.recipients, ["a@example.org".parse().unwrap()]);
    let names: Vec<_> = deliveries.iter().map(|delivery| delivery.file.clone().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(std::fs::read_dir(mail).unwrap().count(), 2, "no drafts left");
}

#[tokio::test]
async fn the_message_cap_refuses_or_records() {
    let limit = Limit { count: 3, window: Duration::from_secs(3_600) };
    for excess in [Excess::Refuse, Excess::Record] {
        let sandbox = start(with_caps(Caps { messages: Some(limit), excess, ..Caps::default() })).await;
        let mut client = Client::logged_in(&sandbox).await;
        for _ in 0..3 {
            assert_eq!(client.send("a@example.org", MESSAGE).await, OK);
        }
        let fourth = client.send("a@example.org", MESSAGE).await;
        let counters = sandbox.counters();
        if excess == Excess::Record {
            assert_eq!(fourth, OK);
            assert_eq!((counters.rate_violations, counters.deliveries, sandbox.arrivals().len()), (1, 4, 4));
        } else {
            assert!(fourth.starts_with("421 4.4.2 Message submission rate for this client has exceeded"), "{fourth}");
            assert_eq!(client.say("NOOP").await, "");
            assert_eq!((counters.rate_refusals, counters.deliveries, sandbox.arrivals().len()), (1, 3, 3));
        }
    }
}

#[tokio::test]
async fn recipients_are_capped_for_a_message_and_for_a_day() {
    let recipients = Some(Limit { count: 3, window: Duration::from_secs(86_400) });
    let caps = Caps { recipients, recipients_per_message: 2, ..Caps::default() };
    let sandbox = start(with_caps(caps)).await;
    let mut client = Client::logged_in(&sandbox).await;
    client.say("MAIL FROM:<webmaster@example.com>").await;
    for (to, reply) in [("a", "250 "), ("b", "250 "), ("c", "452 4.5.3 Too many recipients")] {
        assert!(client.say(&format!("RCPT TO:<{to}@example.org>")).await.starts_with(reply));
    }
    client.say("DATA").await;
    assert_eq!(client.finish(MESSAGE).await, OK);
    assert_eq!(client.send("c@example.org", MESSAGE).await, OK);
    let refused = client.send("d@example.org", MESSAGE).await;
    let quota = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException";
    assert!(refused.starts_with(quota) && refused.ends_with(" [Hostname=sandbox.outlook.office365.com]"), "{refused}");
    assert_eq!((sandbox.counters().recipients, sandbox.counters().quota_refusals), (3, 1));
}

#[tokio::test]
async fn the_fourth_at_a_time_is_refused_at_data() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::logged_in(&sandbox).await;
        assert!(client.data("a@example.org").await.starts_with("354 "));
        clients.push(client);
    }
    let mut fourth = Client::logged_in(&sandbox).await;
    let refused = fourth.data("a@example.org").await;
    let reply = "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more \
                 information. [Hostname=sandbox.outlook.office365.com]";
    assert_eq!(refused, reply);
    // One ends its message, and one goes away in the middle of it: two may send again.
    assert_eq!(clients[0].finish(MESSAGE).await, OK);
    assert!(fourth.say("DATA").await.starts_with("354 "));
    assert_eq!(fourth.finish(MESSAGE).await, OK);
    drop(clients);
    sandbox.wait_until(|counters| counters.sending == 0).await;
    let counters = sandbox.counters();
    assert_eq!((counters.most_sending, counters.concurrency_refusals, counters.deliveries), (3, 1, 2));
}

#[tokio::test]
async fn a_sender_that_is_not_the_mailbox_is_denied_at_the_end_of_data() {
    let caps = Caps { senders: Senders::Granted(vec!["*@shop.example".parse().unwrap()]), ..Caps::default() };
    let sandbox = start(with_caps(caps)).await;
    let mut client = Client::logged_in(&sandbox).await;
    for (path, from, denied) in [
        ("webmaster@example.com", "From: Shop <a@shop.example>\r\n", None),
        ("b@shop.example", "From: WEBMASTER@example.com\r\n", None),
        ("", "From: <webmaster@example.com>\r\n", None),
        (
            "c@other.example",
            "From: <a@shop.example>\r\n",
            Some("SendAsDenied; webmaster@example.com not allowed to send as c@"),
        ),
        ("webmaster@example.com", "From: \"x\" <root@host>\r\n", Some("not allowed to send as root@host; STOREDRV.")),
        ("webmaster@example.com", "Subject: none\r\n", Some("550 5.7.512 ")),
    ] {
        assert_eq!(client.say(&format!("MAIL FROM:<{path}>")).await, "250 2.1.0 Sender OK");
        client.say("RCPT TO:<a@example.org>").await;
        client.say("DATA").await;
        let heard = client.finish(format!("{from}\r\nx\r\n").as_bytes()).await;
        match denied {
            Some(text) => assert!(heard.starts_with("55") && heard.contains(text), "{path} {from}: {heard}"),
            None => assert!(heard.starts_with("250 2.0.0 OK "), "{path} {from}: {heard}"),
        }
    }
}

#[tokio::test]
async fn content_that_does_not_fit_is_refused() {
    let sandbox = start(with_caps(Caps { size: 1_000, ..Caps::default() })).await;
    let mut client = Client::logged_in(&sandbox).await;
    let too_big = "552 5.3.4 Message size exceeds fixed maximum message size [";
    assert!(client.say("MAIL FROM:<webmaster@example.com> SIZE=1001").await.starts_with(too_big));
    assert!(client.send("a@example.org", &b"0123456789\r\n".repeat(100)).await.starts_with(too_big));
    let bare = client.send("a@example.org", b"From: <webmaster@example.com>\r\n\r\na\nb\r\n").await;
    assert!(bare.starts_with("554 5.6.0 Invalid message content, contains bare linefeeds ["), "{bare}");
    assert_eq!(client.send("a@example.org", MESSAGE).await, OK);
    assert_eq!(sandbox.counters().deliveries, 1);
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    let profile = Profile { extensions: Vec::new(), mechanisms: Vec::new(), tls: TlsMode::None, ..Profile::default() };
    let sandbox = start(with_profile(profile)).await;
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    assert!(client.say("MAIL FROM:<webmaster@example.com>").await.starts_with("503 Send hello first"));
    assert_eq!(client.say("EHLO relay.example").await, "250 sandbox.outlook.office365.com Hello [127.0.0.1]");
    for parameter in ["SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=HDRS", "AUTH=<>"] {
        let heard = client.say(&format!("MAIL FROM:<webmaster@example.com> {parameter}")).await;
        assert!(heard.starts_with("555 Unsupported option"), "{parameter}: {heard}");
    }
    assert_eq!(client.say("MAIL FROM:<webmaster@example.com>").await, "250 Sender OK");
    client.say("RCPT TO:<a@example.org>").await;
    client.say("DATA").await;
    assert!(client.finish("From: <webmaster@example.com>\r\n\r\né\r\n".as_bytes()).await.starts_with("554 "));
}

#[tokio::test]
async fn tls_can_be_there_from_the_start() {
    let sandbox = start(with_profile(Profile { tls: TlsMode::Implicit, ..Profile::default() })).await;
    let mut client = Client::connect(&sandbox).await.handshake().await.unwrap();
    assert!(client.reply().await.starts_with("220 "));
    let extensions = client.say("EHLO relay.example").await;
    assert!(extensions.contains("AUTH LOGIN") && !extensions.contains("STARTTLS"), "{extensions}");
    client.login("open-sesame").await;
    assert_eq!(client.send("a@example.org", MESSAGE).await, OK);
}

#[tokio::test]
async fn a_pipelined_group_is_answered_in_order() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut client = Client::logged_in(&sandbox).await;
    let group =
        b"MAIL FROM:<webmaster@example.com>\r\nRCPT TO:<unknown@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n";
    client.write(group).await;
    for code in ["250 ", "550 ", "250 ", "354 "] {
        assert!(client.reply().await.starts_with(code), "{code}");
    }
    client.write(&[MESSAGE, b".\r\nNOOP\r\nQUIT\r\n"].concat()).await;
    for code in ["250 2.0.0 OK <1@", "250 ", "221 "] {
        assert!(client.reply().await.starts_with(code), "{code}");
    }
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn garbage_is_answered_and_then_cut_off() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    for _ in 0..19 {
        client.write(b"\x16\x03\xff\x00 \r\n").await;
        assert!(client.reply().await.starts_with("500 5.3.3 Unrecognized command ["));
    }
    assert!(client.say("X").await.starts_with("500 "));
    assert!(client.reply().await.starts_with("421 4.7.0 Too many errors on this connection"));
    assert_eq!(client.reply().await, "");
    drop(client);

    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    client.write(&[b'x'; 20_000]).await;
    assert!(client.reply().await.starts_with("500 5.5.2 Line too long"));
    drop(client);
    sandbox.wait_until(|counters| counters.open_connections == 0).await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let sandbox = start(with_profile(Profile { connections: 1, ..Profile::default() })).await;
    let _first = Client::secured(&sandbox).await;
    let mut second = Client::connect(&sandbox).await;
    assert!(second.reply().await.starts_with("421 4.3.2 The maximum number of concurrent server connections"));
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let profile = Profile { idle_timeout: Duration::from_millis(20), ..Profile::default() };
    let sandbox = start(with_profile(profile)).await;
    let mut client = Client::connect(&sandbox).await;
    assert!(client.reply().await.starts_with("220 "));
    assert!(client.reply().await.starts_with("451 4.7.0 Timeout waiting for client input ["));
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn the_same_port_and_authority_serve_again_after_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = SandboxConfig { authority: Some(directory.path().join("ca")), ..SandboxConfig::default() };
    let sandbox = start(config.clone()).await;
    config.listen = sandbox.address();
    let ca = std::fs::read_to_string(sandbox.ca_file().unwrap()).unwrap();
    let mut client = Client::logged_in(&sandbox).await;
    sandbox.stop().await;
    assert_eq!(client.reply().await, "");
    assert!(TcpStream::connect(config.listen).await.is_err(), "the port is closed");

    let again = start(config).await;
    assert_eq!(again.ca_pem(), ca);
    assert_eq!(Client::logged_in(&again).await.send("a@example.org", MESSAGE).await, OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mail = Some(directory.path().into());
    let sandbox = start(SandboxConfig { mail, ..with_caps(Caps::unlimited()) }).await;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let mut client = Client::logged_in(&sandbox).await;
        tasks.spawn(async move {
            for _ in 0..25 {
                assert_eq!(client.send("a@example.org", MESSAGE).await, OK);
            }
        });
    }
    let deliveries = sandbox.wait_for(500).await;
    tasks.join_all().await;
    let counters = sandbox.counters();
    assert_eq!((deliveries.len(), counters.deliveries, counters.logins, counters.connections), (500, 500, 20, 20));
    assert!(deliveries.is_sorted_by_key(|delivery| delivery.received_at));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 500);
}
