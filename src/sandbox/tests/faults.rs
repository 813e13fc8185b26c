//! Each fault strikes at its step, and leaves behind what it says.

use super::super::fault::{Effect, Step};
use super::client::{Client, MESSAGE, encoded};
use super::*;

/// How far a client came: the last reply, and after which step.
struct Came {
    step: Step,
    heard: Vec<u8>,
}

/// How a client logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Password,
    Token,
}

/// Tries to send one message, and stops at the first reply that is not positive.
async fn attempt(sandbox: &Sandbox, content: &[u8]) -> Came {
    attempt_by(sandbox, By::Password, content).await
}

async fn attempt_by(sandbox: &Sandbox, by: By, content: &[u8]) -> Came {
    let mut client = Client::connect(sandbox).await;
    let mut heard = client.reply_bytes().await;
    // Half a banner has no end.
    if !heard.starts_with(b"220 ") || heard.starts_with(b"220 sandbox") && !heard.ends_with(b"]") {
        return Came { step: Step::Greeting, heard };
    }
    heard = client.say("EHLO relay.example").await.into();
    if !heard.starts_with(b"250") {
        return Came { step: Step::Ehlo, heard };
    }
    heard = client.say("STARTTLS").await.into();
    if !heard.starts_with(b"220 ") {
        return Came { step: Step::StartTls, heard };
    }
    let Ok(mut client) = client.handshake().await else { return Came { step: Step::Tls, heard: Vec::new() } };
    heard = client.say("EHLO relay.example").await.into();
    if !heard.starts_with(b"250") {
        return Came { step: Step::SecureEhlo, heard };
    }
    let secret = match by {
        By::Password => {
            client.say(&format!("AUTH LOGIN {}", encoded("webmaster@example.com"))).await;
            encoded("open-sesame")
        }
        By::Token => {
            client.say("AUTH XOAUTH2").await;
            encoded("user=webmaster@example.com\u{1}auth=Bearer t0ken\u{1}\u{1}")
        }
    };
    for (step, line) in [
        (if by == By::Token { Step::Bearer } else { Step::Password }, secret.as_str()),
        (Step::Mail, "MAIL FROM:<webmaster@example.com>"),
        (Step::Rcpt, "RCPT TO:<a@example.org>"),
        (Step::Data, "DATA"),
    ] {
        heard = client.say(line).await.into();
        if !matches!(heard.first(), Some(b'2' | b'3')) {
            return Came { step, heard };
        }
    }
    client.write(&[content, b".\r\n"].concat()).await;
    Came { step: Step::Dot, heard: client.reply_bytes().await }
}

/// A service whose mailbox opens for both ways to log in.
fn played(service: Service) -> SandboxConfig {
    let mut config =
        SandboxConfig { profile: Profile::of(service), token: Some("t0ken".into()), ..SandboxConfig::default() };
    config.profile.mechanisms = vec![Mechanism::Login, Mechanism::Xoauth2];
    config
}

const PLAIN: &[u8] = b"From: <webmaster@example.com>\r\nSubject: A Poisoned one\r\n\r\nx\r\n";

#[tokio::test]
async fn every_refusal_is_said_at_its_step_and_stores_nothing() {
    let mut seen = Vec::new();
    for service in Service::ALL {
        let sandbox = start(played(service)).await;
        let mut struck = 0;
        for fault in Fault::ALL {
            let Effect::Refuse(step, reply) = fault.effect() else { continue };
            if fault.topic().service().unwrap_or(Service::Microsoft365) != service {
                continue;
            }
            sandbox.set_fault(Some(FaultRule::from(*fault)));
            let by = if step == Step::Bearer { By::Token } else { By::Password };
            let came = attempt_by(&sandbox, by, PLAIN).await;
            let heard = String::from_utf8(came.heard).unwrap();
            let wanted = if step == Step::Auth { Step::Password } else { step };
            let text = said(reply);
            assert!(came.step == wanted && heard.starts_with(&text), "{fault}: {:?} {heard}, wanted {text}", came.step);
            assert_eq!(heard.ends_with(']'), service == Service::Microsoft365, "{fault}: {heard}");
            assert!(!heard.contains('{'), "{fault}: {heard}");
            struck += 1;
        }
        assert_eq!((sandbox.counters().deliveries, sandbox.counters().faults), (0, struck));
        seen.push(struck);
        sandbox.set_fault(None);
        assert!(attempt(&sandbox, PLAIN).await.heard.starts_with(b"250 "));
    }
    assert_eq!(seen, [87, 21, 6, 8]);
}

/// How a refusal begins: with the transaction's addresses, and up to a mark that changes.
fn said(reply: &str) -> String {
    let text = reply.split("{mark}").next().unwrap();
    let names =
        [("sender", "webmaster@example.com"), ("recipient", "a@example.org"), ("user", "webmaster@example.com")];
    super::super::replies::fill(text, &names)
}

#[tokio::test]
async fn what_ends_passwords_leaves_tokens_alone() {
    let sandbox = start(played(Service::Microsoft365)).await;
    for (fault, password, token) in [
        (Fault::BasicAuthDisabled, "535 5.7.139 ", "250 2.0.0 "),
        (Fault::BasicAuthRetired, "550 5.7.30 ", "250 2.0.0 "),
        (Fault::BearerRefused, "250 2.0.0 ", "535 5.7.3 "),
        (Fault::AuthDisabledTenant, "535 5.7.139 ", "535 5.7.139 "),
    ] {
        sandbox.set_fault(Some(fault.into()));
        for (by, wanted) in [(By::Password, password), (By::Token, token)] {
            let heard = attempt_by(&sandbox, by, PLAIN).await.heard;
            assert!(heard.starts_with(wanted.as_bytes()), "{fault}: {}", String::from_utf8_lossy(&heard));
        }
    }
    assert_eq!((sandbox.counters().bearer_logins, sandbox.counters().logins), (2, 3));
}

#[tokio::test]
async fn every_cut_is_at_its_step() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut stored = 0;
    for (fault, step) in [
        (Fault::Down, Step::Greeting),
        (Fault::CutAtGreeting, Step::Greeting),
        (Fault::CutAtEhlo, Step::Ehlo),
        (Fault::CutAtStarttls, Step::StartTls),
        (Fault::CutAtTls, Step::Tls),
        (Fault::BadCertificate, Step::Tls),
        (Fault::CutAtAuth, Step::Password),
        (Fault::CutAtMail, Step::Mail),
        (Fault::CutAtRcpt, Step::Rcpt),
        (Fault::CutAtData, Step::Data),
        (Fault::CutAtContent, Step::Dot),
        (Fault::CutBeforeDotStored, Step::Dot),
        (Fault::CutAtDot, Step::Dot),
    ] {
        sandbox.set_fault(Some(fault.into()));
        let came = attempt(&sandbox, PLAIN).await;
        let half_a_banner = fault == Fault::CutAtGreeting;
        assert_eq!((came.step, came.heard.is_empty()), (step, !half_a_banner), "{fault}");
        stored += usize::from(fault == Fault::CutAtDot);
        assert_eq!(sandbox.counters().deliveries, stored, "{fault}");
        sandbox.wait_until(|counters| counters.sending == 0 && counters.open_connections == 0).await;
    }
    assert_eq!(sandbox.counters().faults, 13);
}

#[tokio::test]
async fn starttls_can_be_withheld_or_followed_by_an_injection() {
    let sandbox = start(SandboxConfig::default()).await;
    sandbox.set_fault(Some(Fault::NoStarttls.into()));
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    let extensions = client.say("EHLO relay.example").await;
    assert!(!extensions.contains("STARTTLS") && !extensions.contains("AUTH"), "{extensions}");
    assert!(client.say("STARTTLS").await.starts_with("500 "));
    assert!(client.say("MAIL FROM:<webmaster@example.com>").await.starts_with("530 5.7.0 "));

    sandbox.set_fault(Some(Fault::BytesAfterStarttls.into()));
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    client.say("EHLO relay.example").await;
    assert_eq!(client.say("STARTTLS").await, "220 2.0.0 SMTP server ready");
    assert_eq!(client.reply().await, "250-injected.example\n250 AUTH LOGIN PLAIN");
}

#[tokio::test]
async fn a_silent_server_says_nothing_until_the_client_goes() {
    let sandbox = start(SandboxConfig { fault: Some(Fault::NoBanner.into()), ..SandboxConfig::default() }).await;
    let mut client = Client::connect(&sandbox).await;
    client.write(b"EHLO relay.example\r\n").await;
    sandbox.wait_until(|counters| counters.faults == 1).await;
    drop(client);
    sandbox.wait_until(|counters| counters.open_connections == 0).await;
}

#[tokio::test]
async fn a_final_reply_can_be_late_or_not_utf_8() {
    let sandbox = start(SandboxConfig::default()).await;
    sandbox.set_fault(Some(FaultRule::from(Fault::SlowDot).delayed(Duration::from_millis(50))));
    let came = attempt(&sandbox, PLAIN).await;
    assert!(came.heard.starts_with(b"250 2.0.0 OK "));
    assert!(sandbox.mailbox.now().since(sandbox.arrivals()[0]) >= Duration::from_millis(50));
    sandbox.set_fault(Some(Fault::Latin1Reply.into()));
    let heard = attempt(&sandbox, PLAIN).await.heard;
    assert!(heard.starts_with(b"250 2.0.0 OK ") && String::from_utf8(heard).is_err());
    assert_eq!(sandbox.counters().deliveries, 2);
}

#[tokio::test]
async fn a_rule_strikes_so_often_and_only_where_it_matches() {
    let sandbox = start(SandboxConfig::default()).await;
    sandbox.set_fault(Some(FaultRule::from(Fault::Tempfail).first(2)));
    for reply in [&b"451 4.7.0 Temporary server error"[..], b"451 4.7.0 ", b"250 "] {
        assert!(attempt(&sandbox, PLAIN).await.heard.starts_with(reply));
    }
    assert_eq!(sandbox.fault(), None);

    sandbox.set_fault(Some(FaultRule::from(Fault::Quota).containing("Subject: A Poisoned").first(2)));
    assert!(attempt(&sandbox, MESSAGE).await.heard.starts_with(b"250 "));
    assert!(attempt(&sandbox, PLAIN).await.heard.starts_with(b"554 5.2.0 "));
    assert_eq!(sandbox.fault().and_then(|rule| rule.remaining), Some(1));

    sandbox.set_fault(Some(Fault::RejectSubject.into()));
    assert!(attempt(&sandbox, MESSAGE).await.heard.starts_with(b"250 "));
    assert!(attempt(&sandbox, PLAIN).await.heard.starts_with(b"554 5.3.0 "));

    for rule in [FaultRule::from(Fault::RejectRecipient).containing("b@"), FaultRule::from(Fault::Concurrency).first(0)]
    {
        sandbox.set_fault(Some(rule));
        assert!(attempt(&sandbox, MESSAGE).await.heard.starts_with(b"250 "));
    }
}
