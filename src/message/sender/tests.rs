use mail_parser::MessageParser;
use proptest::prelude::*;

use super::*;

fn rule(mode: SenderMode, allowed: &[&str]) -> SenderRule {
    let allowed = allowed.iter().map(|pattern| pattern.parse().unwrap()).collect();
    SenderRule { mode, from: Some("webmaster@example.com".parse().unwrap()), allowed }
}

fn path(text: &str) -> ReversePath {
    text.parse().map_or(ReversePath::Null, ReversePath::Address)
}

/// The header block after a rewrite, and what was done to it.
fn rewritten(head: &str, allowed: &[&str]) -> (String, Vec<&'static str>) {
    let content = format!("{head}\r\nFrom: body@x.org\r\n\0\u{fc}");
    let rule = rule(SenderMode::Rewrite, allowed);
    let repaired = repair(content.as_bytes(), &path("webmaster@example.com"), &rule).unwrap();
    let text = String::from_utf8(repaired.content.into_owned()).unwrap();
    let head = text.strip_suffix("\r\nFrom: body@x.org\r\n\0\u{fc}").expect("the body stays");
    (head.to_owned(), repaired.repairs.iter().map(Repair::kind).collect())
}

/// `From:` before; `From:` and `Reply-To:` after.
const REWRITES: &[(&str, &str, &str)] = &[
    // Contact forms.
    ("Jane Doe <jane@visitor.example>", "Jane Doe <webmaster@example.com>", "Jane Doe <jane@visitor.example>"),
    ("jane@x.org", "\"jane@x.org via example.com\" <webmaster@example.com>", "<jane@x.org>"),
    ("<jane@x.org>", "\"jane@x.org via example.com\" <webmaster@example.com>", "<jane@x.org>"),
    (
        "jane@x.org <jane@x.org>",
        "\"jane@x.org via example.com\" <webmaster@example.com>",
        "\"jane@x.org\" <jane@x.org>",
    ),
    (
        "\"jane@x.org\" <jane@x.org>",
        "\"jane@x.org via example.com\" <webmaster@example.com>",
        "\"jane@x.org\" <jane@x.org>",
    ),
    ("WordPress <wordpress@localhost>", "WordPress <webmaster@example.com>", "WordPress <wordpress@localhost>"),
    ("root@e379890e3f75 (Cron Daemon)", "Cron Daemon <webmaster@example.com>", "Cron Daemon <root@e379890e3f75>"),
    // Devices.
    ("printer", "printer <webmaster@example.com>", ""),
    ("Jane Doe jane@x.org", "Jane Doe <webmaster@example.com>", "Jane Doe <jane@x.org>"),
    ("Jane <jane@x.org", "Jane <webmaster@example.com>", "Jane <jane@x.org>"),
    ("", "<webmaster@example.com>", ""),
    // Names.
    (
        "=?utf-8?Q?J=C3=BCrgen_M?= =?utf-8?Q?=C3=BCller?= <j@x.org>",
        "=?utf-8?Q?J=C3=BCrgen_M?= =?utf-8?Q?=C3=BCller?= <webmaster@example.com>",
        "=?utf-8?Q?J=C3=BCrgen_M?= =?utf-8?Q?=C3=BCller?= <j@x.org>",
    ),
    (
        "=?utf-8?Q?jane=40x.org?= <jane@x.org>",
        "\"jane@x.org via example.com\" <webmaster@example.com>",
        "=?utf-8?Q?jane=40x.org?= <jane@x.org>",
    ),
    (
        "Jürgen <jürgen@müller.example>",
        "=?utf-8?B?SsO8cmdlbg==?= <webmaster@example.com>",
        "=?utf-8?B?SsO8cmdlbg==?= <jürgen@müller.example>",
    ),
    ("\"Doe, Jane\" <jane@x.org>", "\"Doe, Jane\" <webmaster@example.com>", "\"Doe, Jane\" <jane@x.org>"),
    ("Jane [Shop] <jane@x.org>", "\"Jane [Shop]\" <webmaster@example.com>", "\"Jane [Shop]\" <jane@x.org>"),
    (
        "\"jane@x.org via example.com\" <other@example.com>",
        "\"jane@x.org via example.com\" <webmaster@example.com>",
        "\"jane@x.org via example.com\" <other@example.com>",
    ),
    (
        "Jane at work jane@x.org <jane@x.org>",
        "\"Jane at work jane@x.org via example.com\" <webmaster@example.com>",
        "\"Jane at work jane@x.org\" <jane@x.org>",
    ),
    // Lists and groups.
    ("Jane <jane@x.org>, b@y.org", "Jane <webmaster@example.com>", "Jane <jane@x.org>, <b@y.org>"),
    ("Team: Jane <jane@x.org>, b@y.org;", "Jane <webmaster@example.com>", "Jane <jane@x.org>, <b@y.org>"),
    (
        "webmaster@example.com, Jane <jane@x.org>",
        "Jane <webmaster@example.com>",
        "<webmaster@example.com>, Jane <jane@x.org>",
    ),
];

#[test]
fn foreign_authors_become_the_account_and_get_the_answers() {
    for (before, from, reply_to) in REWRITES {
        let (head, kinds) = rewritten(&format!("Subject: a\r\nFrom: {before}\r\nTo: c@d\r\n"), &[]);
        let (block, _) = HeaderBlock::split(head.as_bytes());
        let value = |name| block.find(name).map(|field| String::from_utf8(field.value()).unwrap()).unwrap_or_default();
        assert_eq!((value("From").as_str(), value("Reply-To").as_str()), (*from, *reply_to), "{before}");
        assert!(head.starts_with("Subject: a\r\nFrom: ") && head.contains("\r\nTo: c@d\r\n"), "{head}");
        assert_eq!(kinds.first(), Some(&"from_rewritten"));
        assert_eq!(kinds.contains(&"reply_to_added"), !reply_to.is_empty());
    }
}

#[test]
fn the_field_is_found_however_it_is_written() {
    for head in [
        "From:jane@x.org\r\n <jane@x.org>\r\n",
        "FROM :jane@x.org\r\n",
        "From: a@b\r\nX: y\r\nfrom: jane@x.org\r\n",
        "Subject: no author\r\n",
    ] {
        let (repaired, _) = rewritten(head, &[]);
        assert_eq!(repaired.to_lowercase().matches("from").count(), 1, "{repaired}");
        assert!(repaired.contains("webmaster@example.com"), "{repaired}");
    }
}

#[test]
fn a_scanner_keeps_its_parts() {
    let parts = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nFrom: x@y\r\nBcc: z\r\n\r\nscan\r\n--b--\r\n";
    let content =
        format!("From:mfp@office.example\r\n <mfp@office.example>\r\nSubject:=?utf-8?B?U2Nhbg==?=\r\n{parts}");
    let rule = rule(SenderMode::Rewrite, &[]);
    let repaired = repair(content.as_bytes(), &path("mfp@office.example"), &rule).unwrap();
    let expected = format!(
        "From: \"mfp@office.example via example.com\" <webmaster@example.com>\r\nSubject:=?utf-8?B?U2Nhbg==?=\r\n\
         Content-Type: multipart/mixed; boundary=b\r\nReply-To: \"mfp@office.example\" <mfp@office.example>\r\n{}",
        parts.split_once("\r\n").unwrap().1
    );
    assert_eq!(String::from_utf8_lossy(&repaired.content), expected);
    let kinds: Vec<_> = repaired.repairs.iter().map(Repair::kind).collect();
    assert_eq!(kinds, ["reverse_path_rewritten", "from_rewritten", "reply_to_added"]);
}

#[test]
fn an_answer_address_that_is_there_stays() {
    let (head, kinds) = rewritten("From: jane@x.org\r\nReply-To: office@x.org\r\n", &[]);
    assert!(head.ends_with("Reply-To: office@x.org\r\n") && kinds == ["from_rewritten"], "{head}");
    let (head, kinds) = rewritten("Reply-To:\r\nFrom: jane@x.org\r\n", &[]);
    assert!(head.starts_with("Reply-To: <jane@x.org>\r\n") && kinds.contains(&"reply_to_added"), "{head}");
}

#[test]
fn allowed_senders_stay_as_they_are() {
    for head in [
        "From: Shop <SHOP@Example.com>\r\n",
        "From:<webmaster@EXAMPLE.COM>\r\nSender: b@example.com\r\n",
        "From: \"shop@x\" <shop@example.com>, <b@example.com>\r\nSender: c@example.com\r\n",
        "From: =?utf-8?Q?a=40b?= <shop@example.com>\r\n",
    ] {
        assert_eq!(rewritten(head, &["*@example.com"]), (head.to_owned(), vec![]));
    }
}

#[test]
fn a_name_that_could_be_the_address_is_quoted() {
    let quoted = |from: &str| rewritten(&format!("From: {from}\r\n"), &["*@example.com"]);
    for (from, expected) in [
        ("shop@example.com <shop@example.com>", "\"shop@example.com\" <shop@example.com>"),
        ("Jane jane@x.org <shop@example.com>", "\"Jane jane@x.org\" <shop@example.com>"),
        ("Shop shop@example.com", "Shop <shop@example.com>"),
        ("Team: shop@example.com;", "<shop@example.com>"),
        ("<shop@example.com> Shop", "Shop <shop@example.com>"),
    ] {
        assert_eq!(quoted(from), (format!("From: {expected}\r\n"), vec!["display_name_quoted"]));
    }
    let (head, kinds) = rewritten("From: a@example.com\r\nFrom: b@example.com\r\n", &["*@example.com"]);
    assert_eq!((head.as_str(), kinds), ("From: <a@example.com>\r\n", vec!["fields_folded"]));
}

#[test]
fn an_allowed_address_alone_gets_brackets() {
    for (from, expected) in [
        ("webmaster@example.com", "<webmaster@example.com>"),
        (" Webmaster@Example.com (Jane)", "Jane <Webmaster@Example.com>"),
    ] {
        assert_eq!(
            rewritten(&format!("From: {from}\r\nTo: a@b\r\n"), &[]),
            (format!("From: {expected}\r\nTo: a@b\r\n"), vec!["brackets_added"])
        );
    }
}

#[test]
fn several_authors_need_a_sender() {
    let authors = "From: Jane <a@example.com>, <b@example.com>\r\n";
    let expected = format!("{authors}To: a@b\r\nSender: <webmaster@example.com>\r\n");
    let allowed = &["*@example.com"];
    assert_eq!(rewritten(&format!("{authors}To: a@b\r\n"), allowed), (expected.clone(), vec!["sender_added"]));
    let foreign = format!("{authors}Sender: www@host\r\nTo: a@b\r\n");
    assert_eq!(rewritten(&foreign, allowed), (expected, vec!["sender_dropped", "sender_added"]));
}

#[test]
fn no_answers_go_to_a_daemon() {
    for from in ["<MAILER-DAEMON@relay.example>", "Mail Delivery System <mailer-daemon@host>"] {
        let content = format!("From: {from}\r\n\r\n");
        let repaired = repair(content.as_bytes(), &ReversePath::Null, &rule(SenderMode::Rewrite, &[])).unwrap();
        let text = String::from_utf8_lossy(&repaired.content);
        assert!(text.contains("<webmaster@example.com>\r\n") && !text.contains("Reply-To"), "{text}");
    }
}

/// Fields that make a careless reader search to the end again and again.
const HOSTILE: [&str; 6] = ["(", "\\\"", "<,", "[", "=?a?b", "(\\"];

#[test]
fn an_address_field_beyond_all_measure_names_nobody() {
    for shape in HOSTILE {
        for octets in [256 * 1024, 8 * 1024 - 40] {
            let padding = shape.repeat(octets / shape.len());
            let head =
                format!("From: <webmaster@example.com>,{padding}\r\nSender: <webmaster@example.com>{padding}\r\n");
            let (repaired, kinds) = rewritten(&head, &[]);
            let expected = ("From: <webmaster@example.com>\r\n", vec!["from_rewritten", "sender_dropped"]);
            assert!((repaired.as_str(), kinds) == expected, "{shape}");
        }
    }
    let many = format!("From: {}Jane <jane@x.org>\r\n", "<webmaster@example.com>, ".repeat(400));
    let (repaired, kinds) = rewritten(&many, &[]);
    assert_eq!((repaired.as_str(), kinds), ("From: <webmaster@example.com>\r\n", vec!["from_rewritten"]));
}

#[test]
fn a_foreign_sender_field_goes() {
    for sender in ["www-data@host", "", "nobody", "webmaster@example.com, www@x"] {
        let head = format!("From: <webmaster@example.com>\r\nSender: {sender}\r\nTo: a@b\r\n");
        let expected = "From: <webmaster@example.com>\r\nTo: a@b\r\n".to_owned();
        assert_eq!(rewritten(&head, &[]), (expected, vec!["sender_dropped"]));
    }
}

#[test]
fn of_a_resent_message_the_resent_sender_is_repaired() {
    let author = "From: Jane <jane@x.org>\r\nSender: s@x.org\r\n";
    for (resent, expected, kind) in [
        ("Resent-From: Bob <bob@y.org>\r\n", "Resent-From: Bob <webmaster@example.com>\r\n", "resent_from_rewritten"),
        ("Resent-Sender: Bob <b@y>\r\n", "Resent-Sender: Bob <webmaster@example.com>\r\n", "resent_sender_rewritten"),
        (
            "Resent-From: b@y\r\nResent-From: older@z\r\n",
            "Resent-From: \"b@y via example.com\" <webmaster@example.com>\r\nResent-From: older@z\r\n",
            "resent_from_rewritten",
        ),
    ] {
        assert_eq!(rewritten(&format!("{resent}{author}"), &[]), (format!("{expected}{author}"), vec![kind]));
    }
    let own = format!("Resent-From: webmaster@example.com\r\n{author}");
    assert_eq!(rewritten(&own, &[]), (own.clone(), vec![]));
}

#[test]
fn the_reverse_path_is_judged_on_its_own() {
    let rule = rule(SenderMode::Rewrite, &["*@shop.example"]);
    for (before, after) in
        [("", "webmaster@example.com"), ("a@x.org", "webmaster@example.com"), ("a@SHOP.example", "a@SHOP.example")]
    {
        let repaired = repair(b"From: <webmaster@example.com>\r\n\r\n", &path(before), &rule).unwrap();
        assert_eq!(repaired.reverse_path, path(after));
        assert!(matches!(repaired.content, Cow::Borrowed(_)));
        assert_eq!(repaired.repairs.is_empty(), before == after);
    }
}

#[test]
fn keep_changes_nothing() {
    let content = b"From: x@y <x@y>\r\nSender: a\r\n\r\n";
    let repaired = repair(content, &ReversePath::Null, &rule(SenderMode::Keep, &[])).unwrap();
    assert_eq!((&*repaired.content, &repaired.reverse_path), (&content[..], &ReversePath::Null));
    assert!(matches!(repaired.content, Cow::Borrowed(_)) && repaired.repairs.is_empty());
}

#[test]
fn refuse_names_the_sender_that_is_not_allowed() {
    use SenderField::{From, ResentFrom, Sender};
    let rule = rule(SenderMode::Refuse, &["*@shop.example"]);
    let header = |field, text: &str| Err(SenderRefused::Header { field, text: text.to_owned() });
    for (reverse_path, head, expected) in [
        ("a@shop.example", "From: webmaster@example.com\r\n", Ok(())),
        ("", "From: webmaster@example.com\r\n", Ok(())),
        ("a@x.org", "From: b@shop.example\r\n", Err(SenderRefused::ReversePath("a@x.org".parse().unwrap()))),
        ("a@shop.example", "From: b@shop.example, Jane <jane@x.org>\r\n", header(From, "jane@x.org")),
        ("a@shop.example", "From: jane\r\n", header(From, "jane")),
        ("a@shop.example", "From: a@shop.example\r\nSender: www@x\r\n", header(Sender, "www@x")),
        ("a@shop.example", "From: jane@x.org\r\nResent-From: a@shop.example\r\n", Ok(())),
        ("a@shop.example", "From: a@shop.example\r\nResent-From: b@y\r\n", header(ResentFrom, "b@y")),
        ("a@shop.example", "Subject: x\r\n", Ok(())),
        ("", "Subject: x\r\n", Err(SenderRefused::Nobody)),
    ] {
        assert_eq!(judge(head.as_bytes(), &path(reverse_path), &rule), expected, "{head}");
        let repaired = repair(head.as_bytes(), &path(reverse_path), &rule).map(|repaired| repaired.repairs);
        assert_eq!(repaired, expected.map(|()| Vec::new()));
    }
}

#[test]
fn repairs_read_well_in_a_log() {
    let was = format!("x\r\n{}", "y".repeat(500));
    let repair = Repair::Rewritten { field: SenderField::From, was };
    let text = repair.to_string();
    assert!(text.starts_with("From was x??yyy") && text.len() < 220, "{text}");
}

fn header_text() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "[a-c@.,:;<>()\"\\\\\\[\\]ü =?\t]{0,30}",
        "(Jane|\"J, D\"|=\\?utf-8\\?Q\\?a=40b\\?=|x@y|ü| |\r\n )*(<jane@x.org>|b@y|<webmaster@example.com>|<a@b)?",
    ];
    let name = prop_oneof!["From", "from", "Sender", "Reply-To", "Subject"];
    let field = (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n"));
    let fields = prop::collection::vec(field, 0..5);
    let odd = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..40)];
    (fields, odd).prop_map(|(fields, odd)| [fields.concat().as_bytes(), &odd].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_leaves_is_from_the_account(content in header_text(), reverse_path in "a@b|webmaster@example.com|") {
        let rule = rule(SenderMode::Rewrite, &[]);
        let once = repair(&content, &path(&reverse_path), &rule).unwrap();
        prop_assert_eq!(&once.reverse_path, &path("webmaster@example.com"));
        prop_assert_eq!(HeaderBlock::split(&once.content).1, HeaderBlock::split(&content).1);

        let parsed = MessageParser::default().parse_headers(&once.content[..]).unwrap();
        let authors: Vec<_> = parsed.from().unwrap().iter().map(|author| author.address().unwrap_or_default()).collect();
        prop_assert!(!authors.is_empty() && authors.iter().all(|author| author.eq_ignore_ascii_case("webmaster@example.com")),
            "{:?} from {:?}", authors, String::from_utf8_lossy(&once.content));

        let twice = repair(&once.content, &once.reverse_path, &rule).unwrap();
        prop_assert_eq!(&twice.content, &once.content);
        prop_assert!(twice.repairs.is_empty());
    }

    #[test]
    fn no_content_is_too_odd(content in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..3) {
        let mode = [SenderMode::Rewrite, SenderMode::Keep, SenderMode::Refuse][at];
        if let Ok(repaired) = repair(&content, &ReversePath::Null, &rule(mode, &["*"])) {
            prop_assert_eq!(HeaderBlock::split(&repaired.content).1, HeaderBlock::split(&content).1);
        }
    }
}
