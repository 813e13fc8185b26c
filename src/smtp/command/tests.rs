use proptest::prelude::*;

use super::name::NAME_OCTETS;
use super::*;

fn read(line: &[u8]) -> Parsed {
    Command::parse(line, "lan.example")
}

fn parse(line: &str) -> Result<Command, CommandError> {
    read(line.as_bytes()).command
}

/// The addresses of a MAIL or RCPT command, and what was beside the rules.
fn paths(line: &str) -> (String, Vec<Lapse>) {
    let Parsed { command, lapses } = read(line.as_bytes());
    let paths = match command {
        Ok(Command::Mail { from, .. }) => from.to_string(),
        Ok(Command::Rcpt { to, .. }) => {
            let paths = to.iter().map(|path| match path {
                ForwardPath::Postmaster => "postmaster",
                ForwardPath::Bare(address) | ForwardPath::Mailbox(address) => address.as_str(),
            });
            paths.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{line}: {other:?}"),
    };
    (paths, lapses)
}

#[test]
fn well_formed_paths_have_no_lapse() {
    for (line, path) in [
        ("MAIL FROM:<a@b.example>", "a@b.example"),
        ("mail from:<a@b.example> SIZE=1 AUTH=<>", "a@b.example"),
        ("MAIL FROM:<>", "<>"),
        ("MAIL FROM:<\"a>b\"@c.example> SIZE=5", "\"a>b\"@c.example"),
        ("MAIL FROM:<\"a\\\">b\"@c.example>", "\"a\\\">b\"@c.example"),
        ("MAIL FROM:<jürgen@müller.example> SMTPUTF8", "jürgen@müller.example"),
        ("RCPT TO:<Postmaster>", "postmaster"),
        ("rcpt to:<POSTMASTER>", "postmaster"),
        ("RCPT TO:<\"a,b;c\"@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@y", "\"a,b;c\"@d.example"),
    ] {
        assert_eq!(paths(line), (path.to_owned(), vec![]), "{line}");
    }
}

#[test]
fn paths_in_other_forms_are_understood_and_the_form_is_named() {
    use Lapse::{
        BareLocalPart, DisplayName, NoBrackets, SeveralPaths, SourceRoute, SpaceBefore, SpaceBehind, SpaceInPath,
    };
    for (line, path, lapses) in [
        (" mail from:<a@b.example> ", "a@b.example", vec![SpaceBefore, SpaceBehind]),
        ("MAIL FROM: <a@b.example>", "a@b.example", vec![SpaceInPath]),
        ("MAIL FROM : <a@b.example>", "a@b.example", vec![SpaceInPath]),
        ("MAIL FROM :<a@b.example>", "a@b.example", vec![SpaceInPath]),
        ("MAIL  FROM:<a@b.example>", "a@b.example", vec![SpaceInPath]),
        ("MAIL FROM:< a@b.example >", "a@b.example", vec![SpaceInPath]),
        ("MAIL FROM:a@b.example", "a@b.example", vec![NoBrackets]),
        ("MAIL FROM: a@b.example SIZE=5 AUTH=<>", "a@b.example", vec![SpaceInPath, NoBrackets]),
        ("MAIL FROM:a@b.example AUTH=<>", "a@b.example", vec![NoBrackets]),
        ("MAIL FROM:", "<>", vec![NoBrackets]),
        ("MAIL FROM:Hall 3 <a@b.example> SIZE=5", "a@b.example", vec![DisplayName]),
        ("MAIL FROM:\"Cam, hall <3>\" <a@b.example>", "a@b.example", vec![DisplayName]),
        ("MAIL FROM:x@y <x@y.example>", "x@y.example", vec![DisplayName]),
        ("MAIL FROM:=?utf-8?Q?x?=<a@b.example>", "a@b.example", vec![DisplayName]),
        ("MAIL FROM:<Hall 3 <a@b.example>>", "a@b.example", vec![DisplayName]),
        ("MAIL FROM:<printer>", "printer@lan.example", vec![BareLocalPart]),
        ("MAIL FROM:root", "root@lan.example", vec![NoBrackets, BareLocalPart]),
        ("MAIL FROM:<@x.example,@y.example:a@b.example>", "a@b.example", vec![SourceRoute]),
        ("MAIL FROM:@x.example:a@b.example", "a@b.example", vec![NoBrackets, SourceRoute]),
        ("MAIL FROM:<@[IPv6:::1]:a@b.example>", "a@b.example", vec![SourceRoute]),
        ("RCPT TO:<@relay.example:postmaster>", "postmaster", vec![SourceRoute]),
        ("RCPT TO:postmaster", "postmaster", vec![NoBrackets]),
        ("RCPT TO:<a@b.example>,<c@d.example>", "a@b.example c@d.example", vec![SeveralPaths]),
        ("RCPT TO:<a@b.example> ; <c@d.example> X=1", "a@b.example c@d.example", vec![SeveralPaths]),
        (
            "RCPT TO:<a@b.example, c@d.example;e>",
            "a@b.example c@d.example e@lan.example",
            vec![SeveralPaths, BareLocalPart],
        ),
        ("RCPT TO:a@b.example;c@d.example", "a@b.example c@d.example", vec![NoBrackets, SeveralPaths]),
        (
            "RCPT TO:a@b.example, c@d.example NOTIFY=SUCCESS,DELAY",
            "a@b.example c@d.example",
            vec![NoBrackets, SeveralPaths],
        ),
        ("RCPT TO:a@b.example ORCPT=rfc822;c@d.example", "a@b.example", vec![NoBrackets]),
        ("RCPT TO:<a@b.example>;", "a@b.example", vec![SeveralPaths]),
        ("RCPT TO:\"A, B\" <a@b.example>, C <c@d.example>", "a@b.example c@d.example", vec![DisplayName, SeveralPaths]),
        ("RCPT TO:Doe, Jane <a@b.example>", "a@b.example", vec![DisplayName]),
        ("RCPT TO:<Doe, Jane <a@b.example>>", "a@b.example", vec![DisplayName]),
        (
            "RCPT TO:c@d.example, Doe, Jane <a@b.example>; Roe, Rick <e@f.example>",
            "c@d.example a@b.example e@f.example",
            vec![NoBrackets, SeveralPaths, DisplayName],
        ),
        ("RCPT TO:root,<a@b.example>", "root@lan.example a@b.example", vec![NoBrackets, SeveralPaths, BareLocalPart]),
        (
            "RCPT TO:<@x.example,@y.example:a@b.example,c@d.example>",
            "a@b.example c@d.example",
            vec![SourceRoute, SeveralPaths],
        ),
    ] {
        assert_eq!(paths(line), (path.to_owned(), lapses), "{line}");
    }
}

#[test]
fn parameters_keep_their_values() {
    let Ok(Command::Mail { parameters, .. }) = parse("MAIL FROM:<> size=10  SMTPUTF8 X=") else { panic!() };
    let parameters: Vec<_> = parameters.iter().map(|p| (p.keyword.as_str(), p.value.as_deref())).collect();
    assert_eq!(parameters, [("SIZE", Some("10")), ("SMTPUTF8", None), ("X", Some(""))]);
}

#[test]
fn what_is_ill_formed_is_told_apart() {
    let mail = |error| Err(CommandError::Mail(error));
    let rcpt = |error| Err(CommandError::Rcpt(error));
    for (line, result) in [
        ("", Err(CommandError::Unknown(String::new()))),
        ("FROB x", Err(CommandError::Unknown("FROB".into()))),
        ("QUITE", Err(CommandError::Unknown("QUITE".into()))),
        ("BDAT 5 LAST", Err(CommandError::NotImplemented("BDAT"))),
        ("STARTTLS now", Err(CommandError::Argument("STARTTLS"))),
        ("MAIL", mail(PathError::Form)),
        ("MAIL TO:<a@b>", mail(PathError::Form)),
        ("MAIL FROM <a@b>", mail(PathError::Form)),
        ("MAIL FROM:<a@b", mail(PathError::Form)),
        ("MAIL FROM:<a@b>SIZE=1", mail(PathError::Form)),
        ("MAIL FROM:<a@b>,<c@d>", mail(PathError::Form)),
        ("MAIL FROM:<a@b> =1", mail(PathError::Parameter("=1".into()))),
        ("MAIL FROM:<John Doe>", mail(PathError::Address("John Doe".into(), AddressError::LocalPart))),
        ("RCPT TO:<>", rcpt(PathError::Address(String::new(), AddressError::NoDomain))),
        ("RCPT TO:,", rcpt(PathError::Address(String::new(), AddressError::NoDomain))),
        // Taken for a name, the first would get nothing.
        ("RCPT TO:<a@b, Jane <c@d>>", rcpt(PathError::Form)),
        ("RCPT TO:a@b c@d", rcpt(PathError::Parameter("c@d".into()))),
        ("RCPT TO:<a@b>,<c@>", rcpt(PathError::Address("c@".into(), AddressError::Domain))),
        ("RCPT TO:<a\u{7}@b>", rcpt(PathError::Address("a?@b".into(), AddressError::LocalPart))),
    ] {
        assert_eq!(parse(line), result, "{line:?}");
    }
    assert_eq!(read(b"MAIL FROM:<j\xFCrgen@b>").command, mail(PathError::Encoding));
}

#[test]
fn commands_that_stand_alone_are_known_whatever_follows() {
    for (line, command, name) in [
        ("QUIT now", Command::Quit, "QUIT"),
        ("quit.", Command::Quit, "QUIT"),
        ("QUIT\0", Command::Quit, "QUIT"),
        ("DATA x", Command::Data, "DATA"),
        ("RSET\t1", Command::Rset, "RSET"),
    ] {
        let expected = Parsed { command: Ok(command), lapses: vec![Lapse::Argument(name)] };
        assert_eq!(read(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn any_name_is_taken_at_helo() {
    for (line, name, lapses) in [
        ("HELO web.example", "web.example", vec![]),
        ("EHLO localhost", "localhost", vec![]),
        ("EHLO [192.0.2.1]", "[192.0.2.1]", vec![]),
        ("EHLO [IPv6:fe80::1]", "[IPv6:fe80::1]", vec![]),
        ("EHLO bücher.example", "bücher.example", vec![]),
        ("HELO", "", vec![Lapse::OddName]),
        ("HELO ", "", vec![Lapse::OddName, Lapse::SpaceBehind]),
        ("EHLO my_cam", "my_cam", vec![Lapse::OddName]),
        ("EHLO PhpStorm 9.0.3", "PhpStorm 9.0.3", vec![Lapse::OddName]),
        ("EHLO 192.0.2.1", "192.0.2.1", vec![Lapse::OddName]),
        ("helo fe80::1", "fe80::1", vec![Lapse::OddName]),
        ("EHLO http://x/", "http://x/", vec![Lapse::OddName]),
        ("EHLO [fe80::1]", "[fe80::1]", vec![Lapse::OddName]),
        ("EHLO -a.b", "-a.b", vec![Lapse::OddName]),
        ("EHLO a.", "a.", vec![Lapse::OddName]),
        ("HELO a\tb\0", "a?b?", vec![Lapse::OddName]),
    ] {
        let Parsed { command, lapses: found } = read(line.as_bytes());
        let (Ok(Command::Helo(heard)) | Ok(Command::Ehlo(heard))) = command else { panic!("{line}") };
        assert_eq!((heard.as_str(), found), (name, lapses), "{line:?}");
    }
    for long in [vec![0xE9; 4000], vec![b'x'; 600]] {
        let Parsed { command, lapses } = read(&[b"EHLO ".as_slice(), &long].concat());
        let Ok(Command::Ehlo(name)) = command else { panic!() };
        assert!(name.len() <= NAME_OCTETS && name.len() > NAME_OCTETS - 3);
        assert_eq!(lapses, [Lapse::OddName]);
    }
}

#[test]
fn a_login_is_read_and_not_shown() {
    let response = |text: &str| Some(Response::new(text.into()));
    for (line, mechanism, initial) in [
        ("AUTH", "", None),
        ("auth plain", "PLAIN", None),
        ("AUTH PLAIN =", "PLAIN", response("=")),
        ("AUTH  LOGIN  c2VjcmV0", "LOGIN", response("c2VjcmV0")),
    ] {
        let command = parse(line).unwrap();
        assert_eq!(command, Command::Auth { mechanism: mechanism.into(), initial }, "{line}");
        assert!(!format!("{command:?}").contains("c2VjcmV0"));
    }
}

proptest! {
    #[test]
    fn no_line_panics(start in "(HELO |AUTH |MAIL FROM:<?|RCPT TO:<?@?|MAIL FROM:<>)?", rest: Vec<u8>) {
        let _ = read(&[start.as_bytes(), &rest].concat());
    }

    #[test]
    fn no_arrangement_of_signs_panics(
        start in "(MAIL FROM:|RCPT TO:)", rest in "[<>,;:@\"\\\\ =aü\\[\\]]{0,30}",
    ) {
        let Parsed { command, .. } = read(format!("{start}{rest}").as_bytes());
        if let Ok(Command::Rcpt { to, .. }) = command {
            prop_assert!(!to.is_empty());
        }
    }
}
