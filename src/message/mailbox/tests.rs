use proptest::prelude::*;

use super::*;

fn read(value: &str) -> Vec<(String, String)> {
    read_list(value.as_bytes()).iter().map(|mailbox| (mailbox.name(), mailbox.spec.clone())).collect()
}

#[test]
fn mailboxes_are_read_as_people_write_them() {
    for (value, expected) in [
        ("Jane Doe <jane@x.org>", vec![("Jane Doe", "jane@x.org")]),
        ("jane@x.org", vec![("", "jane@x.org")]),
        ("x@y <x@y>", vec![("x@y", "x@y")]),
        ("jane", vec![("jane", "")]),
        ("Jane Doe jane@x.org", vec![("Jane Doe", "jane@x.org")]),
        ("Jane <jane@x.org", vec![("Jane", "jane@x.org")]),
        ("jane@x.org (Jane Doe)", vec![("Jane Doe", "jane@x.org")]),
        ("jane @ x.org", vec![("", "jane@x.org")]),
        ("\"Doe, Jane\" <jane@x.org>, b@c", vec![("Doe, Jane", "jane@x.org"), ("", "b@c")]),
        ("Team: a@b, C <c@d>;", vec![("", "a@b"), ("C", "c@d")]),
        ("Re: Shop <a@b>", vec![("Re: Shop", "a@b")]),
        ("=?utf-8?Q?J=C3=BCrgen?= <j@x.org>", vec![("Jürgen", "j@x.org")]),
        ("\"=?utf-8?Q?J=C3=BCrgen?=\" <j@x.org>", vec![("Jürgen", "j@x.org")]),
        ("<@a,@b:jane@x.org>", vec![("", "jane@x.org")]),
        ("Jane <a@b> <c@d>", vec![("Jane", "")]),
        ("root@[IPv6:::1]", vec![("", "root@[IPv6:::1]")]),
        ("a@b; c@d", vec![("", "a@b"), ("", "c@d")]),
        ("\"a \\\"b\\\" c\" <a@b>", vec![("a \"b\" c", "a@b")]),
        ("\"open <a@b>", vec![("\"open", "a@b")]),
        ("<>", vec![]),
        ("", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        assert_eq!(read(value), expected, "{value}");
    }
}

#[test]
fn names_are_written_strictly() {
    for (value, expected) in [
        ("Dr. Jane  Doe <a@b>", "Dr. Jane  Doe <a@b>"),
        ("Jane [Shop] <a@b>", "\"Jane [Shop]\" <a@b>"),
        ("x@y <x@y>", "\"x@y\" <x@y>"),
        ("=?utf-8?Q?J=C3=BCrgen?= <a@b>", "=?utf-8?Q?J=C3=BCrgen?= <a@b>"),
        ("=?utf-8?Q?Doe,_J=C3=BCrgen?= (x) <a@b>", "=?utf-8?B?RG9lLCBKw7xyZ2Vu?= <a@b>"),
        ("Jürgen <jürgen@müller.example>", "=?utf-8?B?SsO8cmdlbg==?= <jürgen@müller.example>"),
        ("a@b (say \"hi\")", "say \"hi\" <a@b>"),
        ("a@b", "<a@b>"),
    ] {
        let written: Vec<_> = read_list(value.as_bytes()).iter().map(Mailbox::write).collect();
        assert_eq!(String::from_utf8(written.join(&b", "[..])).unwrap(), expected);
    }
}

#[test]
fn a_search_that_fails_too_often_is_given_up() {
    for shape in ["(", "\\\"", "<,", "[", "=?a?b", "(\\"] {
        let value = shape.repeat(256 * 1024 / shape.len()).into_bytes();
        let mut closers = Closers::default();
        let mut rest = value.as_slice();
        while !rest.is_empty() {
            rest = &rest[closers.token_octets(rest)..];
        }
        assert!(closers.gave_up() && closers.missing == MISSING_CLOSERS + 1, "{shape}: {}", closers.missing);
        encode_list(&[&value[..], "\u{fc}".as_bytes()].concat(), 900);
    }
}

#[test]
fn a_bracket_within_quotes_does_not_close() {
    let list = read_list("<\">\"@b>, <a\"b@c>, x".as_bytes());
    let specs: Vec<&str> = list.iter().map(|mailbox| mailbox.spec.as_str()).collect();
    assert_eq!(specs, ["\">\"@b", "a\"b@c", ""]);
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(value in "[ab@.,:;<>()\"\\\\\\[\\]ü =?\t]{0,40}") {
        for mailbox in read_list(value.as_bytes()).iter().filter(|mailbox| mailbox.address().is_some()) {
            let again = read_list(&mailbox.write());
            prop_assert_eq!(again.len(), 1);
            prop_assert_eq!(again[0].address(), mailbox.address());
            prop_assert_eq!(again[0].form, Form::Plain);
        }
    }

    #[test]
    fn no_bytes_are_too_odd(value in prop::collection::vec(any::<u8>(), 0..200)) {
        for mailbox in read_list(&value) {
            mailbox.write();
        }
    }
}
