//! The dialogues of Amazon SES, Mailjet and Google, line by line.

use super::client::{Client, MESSAGE, encoded};
use super::*;

/// What is said, and how the answer begins; all of it where it ends with a line end.
type Lines<'a> = &'a [(&'a str, &'a str)];

async fn hear(client: &mut Client, lines: Lines<'_>) {
    for (line, wanted) in lines {
        let heard = client.say(line).await;
        match wanted.strip_suffix('\n') {
            Some(whole) => assert_eq!(heard, whole, "{line}"),
            None => assert!(heard.starts_with(wanted), "{line}: {heard}"),
        }
    }
}

fn plain(config: &SandboxConfig) -> String {
    use secrecy::ExposeSecret;
    format!("AUTH PLAIN {}", encoded(&format!("\0{}\0{}", config.user, config.password.expose_secret())))
}

/// Connects and hears the banner.
async fn greeted(sandbox: &Sandbox, banner: &str) -> Client {
    let mut client = Client::connect(sandbox).await;
    let heard = client.reply().await;
    assert!(heard.starts_with(banner), "{heard}");
    client
}

#[tokio::test]
async fn ses_offers_logins_before_tls_and_has_no_enhanced_codes() {
    let config = SandboxConfig::of(Service::Ses);
    let login = plain(&config);
    let sandbox = start(config).await;
    let mut client = greeted(&sandbox, "220 email-smtp.amazonaws.com ESMTP SimpleEmailService-").await;
    let offered = "250-email-smtp.amazonaws.com\n250-8BITMIME\n250-SIZE 10485760\n250-AUTH PLAIN LOGIN\n";
    hear(
        &mut client,
        &[
            ("MAIL FROM:<shop@example.com>", "530 Must issue a STARTTLS command first\n"),
            ("EHLO relay.example", &format!("{offered}250-STARTTLS\n250 Ok\n")),
            (&login, "530 Must issue a STARTTLS command first\n"),
            ("STARTTLS", "220 Ready to start TLS\n"),
        ],
    )
    .await;
    assert_eq!(sandbox.counters().plaintext_logins, 1);
    let mut client = client.handshake().await.unwrap();
    hear(
        &mut client,
        &[
            ("EHLO relay.example", &format!("{offered}250 Ok\n")),
            ("MAIL FROM:<shop@example.com>", "530 Authentication required\n"),
            ("AUTH PLAIN AHgAeQ==", "535 Authentication Credentials Invalid\n"),
            ("AUTH XOAUTH2 AHgAeQ==", "504 Unrecognized authentication type\n"),
            (&login, "235 Authentication successful.\n"),
            ("MAIL FROM:<shop@example.com> SIZE=10485761", "552 Message is too long.\n"),
            ("RCPT TO:<a@example.org>", "503 Error: need MAIL command\n"),
            ("MAIL FROM:<shop@example.com> SIZE=100 BODY=8BITMIME", "250 Ok\n"),
            ("RCPT TO:<unknown@example.org>", "553 <unknown@example.org> address unknown\n"),
            ("RCPT TO:<a@example.org>", "250 Ok\n"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>\n"),
        ],
    )
    .await;
    let accepted = client.finish(MESSAGE).await;
    let id = accepted.strip_prefix("250 Ok 0100").expect(&accepted);
    assert!(id.ends_with("-1-000000"), "{accepted}");
    let delivery = &sandbox.deliveries()[0];
    assert_eq!(accepted, format!("250 Ok {}", delivery.assigned_id));
    assert_eq!(delivery.message_id.as_deref(), Some("<1@example.com>"), "the content is as it came");
    hear(&mut client, &[("QUIT", "221 Bye\n")]).await;
    assert_eq!((sandbox.counters().plaintext_logins, sandbox.counters().failed_logins), (1, 1));
}

#[tokio::test]
async fn ses_refuses_at_the_end_of_data() {
    let mut config = SandboxConfig::of(Service::Ses);
    config.caps.recipients = Some(Limit { count: 3, window: Duration::from_secs(86_400) });
    config.caps.recipients_at_once = Some(Limit { count: 2, window: Duration::from_secs(3_600) });
    let login = plain(&config);
    let sandbox = start(config).await;
    let mut client = Client::secured(&sandbox).await;
    hear(&mut client, &[(&login, "235 ")]).await;
    let message = |fields: &str| format!("{fields}\r\n\r\nx\r\n").into_bytes();
    let twice = "From: a@example.com\r\nSubject: 1\r\nsubject: 2";
    for (to, fields, wanted) in [
        (
            "x@example.org",
            "From: Shop <shop@other.example>",
            "554 Message rejected: Email address is not verified. The \
            following identities failed the check in region US-EAST-1: shop@other.example",
        ),
        ("x@example.org", twice, "554 Transaction failed: Duplicate header 'Subject'."),
        ("x@example.org", "From: a@example.com", "250 Ok 0100"),
        ("x@example.org", "From: a@example.com", "250 Ok 0100"),
        ("x@example.org", "From: a@example.com", "454 Throttling failure: Maximum sending rate exceeded"),
    ] {
        hear(&mut client, &[("MAIL FROM:<a@example.com>", "250 Ok\n"), (&format!("RCPT TO:<{to}>"), "250 Ok\n")]).await;
        client.say("DATA").await;
        let heard = client.finish(&message(fields)).await;
        assert!(heard.starts_with(wanted), "{heard}");
    }
    let two = [
        ("MAIL FROM:<a@example.com>", "250 "),
        ("RCPT TO:<x@example.org>", "250 "),
        ("RCPT TO:<y@example.org>", "250 "),
    ];
    hear(&mut client, &two).await;
    client.say("DATA").await;
    assert_eq!(
        client.finish(&message("From: a@example.com")).await,
        "454 Throttling failure: Daily message quota exceeded"
    );
    let counters = sandbox.counters();
    assert_eq!((counters.recipients, counters.rate_refusals, counters.quota_refusals), (2, 1, 1));
}

#[tokio::test]
async fn mailjet_speaks_as_postfix_does() {
    let config = SandboxConfig::of(Service::Mailjet);
    let login = plain(&config);
    let sandbox = start(config).await;
    let mut client = greeted(&sandbox, "220 in.mailjet.com ESMTP Mailjet").await;
    let offered = |starttls: &str| {
        format!(
            "250-smtpintls.mailjet.com\n250-PIPELINING\n250-SIZE 15728640\n250-VRFY\n250-ETRN\n{starttls}250-AUTH PLAIN \
             LOGIN DIGEST-MD5 CRAM-MD5\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-SMTPUTF8\n250 CHUNKING\n"
        )
    };
    hear(
        &mut client,
        &[
            ("STARTTLS", "503 5.5.1 Error: send HELO/EHLO first\n"),
            ("EHLO relay.example", &offered("250-STARTTLS\n")),
            ("STARTTLS", "220 2.0.0 Ready to start TLS\n"),
        ],
    )
    .await;
    let mut client = client.handshake().await.unwrap();
    hear(
        &mut client,
        &[
            ("EHLO relay.example", &offered("")),
            ("MAIL FROM:<shop@example.com>", "530 5.7.0 Authentication required\n"),
            ("AUTH CRAM-MD5", "535 5.7.8 Error: authentication failed: no mechanism available\n"),
            ("AUTH PLAIN !", "501 5.5.4 malformed authentication response\n"),
            ("AUTH PLAIN AHgAeQ==", "535 5.7.8 Error: authentication failed: "),
            (&login, "235 2.7.0 Authentication successful\n"),
            ("RCPT TO:<a@example.org>", "503 5.5.1 Error: need MAIL command\n"),
            ("MAIL FROM:<shop@example.com> SIZE=15728641", "552 5.3.4 Message size exceeds fixed limit\n"),
            ("MAIL FROM:<shop@example.com>", "250 2.1.0 Ok\n"),
            ("DATA", "554 5.5.1 Error: no valid recipients\n"),
            ("BDAT 3 LAST", "502 5.5.2 Error: command not recognized\n"),
            ("RCPT TO:<a@example.org>", "250 2.1.5 Ok\n"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>\n"),
        ],
    )
    .await;
    let content = b"From: shop@example.com\r\n\r\nx\r\n";
    let accepted = client.finish(content).await;
    assert_eq!(accepted, format!("250 2.0.0 Ok: queued as {}", sandbox.deliveries()[0].assigned_id));
    hear(&mut client, &[("MAIL FROM:<shop@other.example>", "250 "), ("RCPT TO:<a@example.org>", "250 ")]).await;
    client.say("DATA").await;
    let refused = client.finish(content).await;
    assert_eq!(refused, "550 5.1.8 <shop@other.example>: Sender address rejected: the sender is not validated");
    hear(&mut client, &[("QUIT", "221 2.0.0 Bye\n")]).await;
    assert_eq!(sandbox.counters().plaintext_logins, 0);
}

#[tokio::test]
async fn mailjet_takes_a_login_in_clear_and_it_is_counted() {
    let config = SandboxConfig::of(Service::Mailjet);
    let login = plain(&config);
    let sandbox = start(config).await;
    let mut client = greeted(&sandbox, "220 ").await;
    client.say("EHLO relay.example").await;
    hear(&mut client, &[(&login, "235 2.7.0 "), ("MAIL FROM:<shop@example.com>", "250 2.1.0 ")]).await;
    assert_eq!((sandbox.counters().plaintext_logins, sandbox.counters().logins), (1, 1));
}

#[tokio::test]
async fn google_explains_a_refused_token_before_it_refuses_the_login() {
    let sandbox = start(SandboxConfig::of(Service::Google)).await;
    let mut client = Client::secured(&sandbox).await;
    let bearer = encoded("user=webmaster@example.com\u{1}auth=Bearer old\u{1}\u{1}");
    let challenge = client.say(&format!("AUTH XOAUTH2 {bearer}")).await;
    let explained = encoded(r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#);
    assert_eq!(challenge, format!("334 {explained}"));
    hear(&mut client, &[("", "535 5.7.8 Username and Password not accepted."), ("NOOP", "250 2.0.0 OK\n")]).await;
    assert_eq!(client.login("open-sesame").await, "235 2.7.0 Accepted");
}
