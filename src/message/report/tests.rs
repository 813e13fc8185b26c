use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

const CONTENT: &[u8] = b"Received: from camera\r\nFrom: Shop <shop@example.org>\r\nTo: jane@example.org\r\n\
    Subject: =?utf-8?B?R3LDvMOfZQ==?= from the shop\r\n\r\nThe body is nobody's business.\r\n";

fn failure() -> Failure {
    Failure {
        id: MessageId(1_795_362_588_000_000),
        client: "shop".into(),
        from: "shop@example.org".parse().map(ReversePath::Address).unwrap(),
        arrived: "Sun, 22 Nov 2026 15:49:48 +0000".into(),
        recipients: vec![
            Failed {
                address: "jane@example.org".into(),
                reply: "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup".into(),
                how: How::Refused,
                sentence: "The provider does not know this recipient.".into(),
                tried: Some("Sun, 22 Nov 2026 16:49:48 +0000".into()),
                host: "smtp.office365.com".into(),
            },
            Failed {
                address: "joe@example.org".into(),
                reply: "451 4.7.0 Try again later".into(),
                how: How::Expired,
                sentence: "The provider wants to be asked again.".into(),
                tried: None,
                host: "mail.example.net".into(),
            },
        ],
    }
}

fn bytes(failure: &Failure, content: &[u8]) -> Vec<u8> {
    let (from, to) = ("webmaster@example.com".parse().unwrap(), ["ops@example.com".parse().unwrap()]);
    report(&Letterhead { hostname: "relay.example", from: &from, to: &to }, failure, content)
}

fn text<'a>(parsed: &'a Message<'_>, part: usize) -> &'a str {
    match &parsed.parts[part].body {
        PartType::Text(text) => text,
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_has_its_three_parts() {
    let failure = failure();
    let bytes = bytes(&failure, CONTENT);
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    let kind = parsed.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(parsed.subject(), Some("Not delivered: Grüße from the shop"));
    assert_eq!(parsed.parts.len(), 4);
    let words = text(&parsed, 1);
    for wanted in [
        "jane@example.org: refused",
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound",
        "joe@example.org: put off until it was too old",
        "The provider does not know this recipient.",
        "Grüße from the shop",
        &format!("mailsluice queue retry {}", failure.id),
    ] {
        assert!(words.contains(wanted), "{wanted}\n{words}");
    }
    let status = text(&parsed, 2).replace("\r\n ", " ");
    let groups: Vec<&str> = status.trim_end().split("\r\n\r\n").collect();
    let id = format!("X-Mailsluice-Queue-ID: {}", failure.id);
    assert_eq!(
        groups[0].split("\r\n").collect::<Vec<_>>(),
        ["Reporting-MTA: dns; relay.example", &id, "Arrival-Date: Sun, 22 Nov 2026 15:49:48 +0000"]
    );
    assert_eq!(
        groups[1].split("\r\n").collect::<Vec<_>>(),
        [
            "Final-Recipient: rfc822; jane@example.org",
            "Action: failed",
            "Status: 5.1.10",
            "Remote-MTA: dns; smtp.office365.com",
            "Diagnostic-Code: smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            "Last-Attempt-Date: Sun, 22 Nov 2026 16:49:48 +0000",
        ]
    );
    assert!(groups[2].contains("Remote-MTA: dns; mail.example.net\r\n") && !groups[2].contains("Last-Attempt-Date"));
    assert!(groups[2].contains("Status: 5.4.7\r\n") && groups[2].contains("smtp; 451 4.7.0 Try again later"));
    assert_eq!(groups.len(), 3);
    let header = text(&parsed, 3);
    assert!(header.contains("Subject: =?utf-8?B?R3LDvMOfZQ==?= from the shop"), "{header}");
    assert!(!String::from_utf8_lossy(&bytes).contains("nobody's business"), "the body stays here");
}

#[test]
fn what_is_not_ascii_has_its_forms() {
    let mut failure = failure();
    failure.recipients.truncate(1);
    failure.recipients[0].address = "jürgen@bücher.example".into();
    failure.recipients[0].reply = "its content cannot be read: größer".into();
    failure.recipients[0].host = String::new();
    let bytes = bytes(&failure, "Subject: Grüße\r\n\r\n".as_bytes());
    assert!(bytes.is_ascii());
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    let status = text(&parsed, 2);
    assert!(status.contains("Final-Recipient: utf-8; j\\x{FC}rgen@b\\x{FC}cher.example\r\n"), "{status}");
    assert!(status.contains("Status: 5.0.0\r\n") && !status.contains("Remote-MTA"), "{status}");
    assert!(status.contains("Diagnostic-Code: X-Mailsluice; its content cannot be read: gr??er"), "{status}");
    assert_eq!(text(&parsed, 3).trim_end(), "Subject: Grüße");
    assert!(text(&parsed, 1).contains("jürgen@bücher.example: refused"));
}

#[test]
fn a_summary_names_each_and_counts_the_rest() {
    let (from, to) = ("webmaster@example.com".parse().unwrap(), ["ops@example.com".parse().unwrap()]);
    let head = Letterhead { hostname: "relay.example", from: &from, to: &to };
    let failures: Vec<Failure> =
        (0..9).map(|n| Failure { id: MessageId(1_795_362_588_000_000 + n), ..failure() }).collect();
    let bytes = summary(&head, &failures, 3);
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(parsed.subject(), Some("12 messages were not delivered"));
    let text = parsed.body_text(0).unwrap();
    for failure in &failures {
        assert!(text.contains(&failure.id.to_string()), "{text}");
    }
    assert_eq!(text.matches("jane@example.org: 550 5.1.10").count(), 9);
    assert!(text.contains("and 3 more"), "{text}");
}

#[test]
fn what_machines_have_sent_is_known() {
    for (field, automatic) in [
        ("Auto-Submitted: auto-generated", true),
        ("auto-submitted: auto-replied; owner=x", true),
        ("Auto-Submitted: No", false),
        ("Auto-Submitted: no (really)", false),
        ("Auto-Submitted: no; x=y", false),
        ("X-Auto-Submitted: auto-generated", false),
        ("Subject: x", false),
    ] {
        assert_eq!(
            is_automatic(format!("{field}\r\n\r\nAuto-Submitted: auto-generated\r\n").as_bytes()),
            automatic,
            "{field}"
        );
    }
}

proptest! {
    /// Whatever a client and a provider wrote: ASCII, short lines, three parts, one group for each recipient.
    #[test]
    fn nothing_that_strangers_write_breaks_its_form(
        header in "([A-Za-z-]{1,9}: (\\PC{0,90}|[ -~]{0,1200})\r\n){0,6}",
        reply in "\\PC{0,1500}|[ -~\r\n]{0,200}",
        address in "\\PC{1,60}",
        body in "[ -~\r\n]{0,100}",
    ) {
        let mut failure = failure();
        for failed in &mut failure.recipients {
            (failed.reply, failed.address) = (reply.clone(), address.clone());
        }
        let content = format!("{header}--=_{}_report\r\n\r\n{body}", failure.id);
        let bytes = bytes(&failure, content.as_bytes());
        prop_assert!(bytes.is_ascii());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{:?}", String::from_utf8_lossy(line));
        }
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        prop_assert_eq!(parsed.parts.len(), 4);
        let status = text(&parsed, 2);
        prop_assert_eq!(status.matches("\r\n\r\nFinal-Recipient: ").count(), 2);
        prop_assert_eq!(status.matches("\r\nStatus: 5.").count(), 2);
    }
}
