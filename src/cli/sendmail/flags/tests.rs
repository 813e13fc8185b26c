use proptest::prelude::*;

use super::*;

fn order(typed: &[&str]) -> Result<Order, Complaint> {
    read(Name::Sendmail, typed.iter().map(OsString::from))
}

fn submission(typed: &[&str]) -> Submission {
    match order(typed).unwrap_or_else(|complaint| panic!("{typed:?}: {complaint:?}")).mode {
        Mode::Submit(submission) => submission,
        other => panic!("{typed:?}: {other:?}"),
    }
}

fn recipients(submission: &Submission) -> Vec<&str> {
    submission.recipients.iter().map(|one| std::str::from_utf8(one).unwrap()).collect()
}

/// Who writes it, what, whether -t and -i are meant, and what is left as recipients.
type Caller = (&'static str, &'static [&'static str], bool, bool, &'static [&'static str]);

#[test]
fn what_real_callers_write_is_understood() {
    let callers: [Caller; 14] = [
        ("PHP", &["-t", "-i"], true, true, &[]),
        ("PHP with a sender", &["-t", "-i", "-fshop@example.com"], true, true, &[]),
        ("cron of Debian", &["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"], false, true, &["root"]),
        ("mdadm", &["-t"], true, false, &[]),
        ("bsd-mailx", &["-i", "--", "root", "a@b"], false, true, &["root", "a@b"]),
        ("mutt", &["-oem", "-oi", "-f", "jane@x.org", "--", "-odd@x.org"], false, true, &["-odd@x.org"]),
        ("git", &["-f", "jane@x.org", "-i", "a@b", "c@d"], false, true, &["a@b", "c@d"]),
        ("Nagios", &["-ti"], true, true, &[]),
        ("a script", &["-it"], true, true, &[]),
        ("a script", &["-oi", "-t"], true, true, &[]),
        ("a script", &["-toi"], true, true, &[]),
        ("a script", &["root", "-t", "-oi"], true, true, &["root"]),
        ("Python", &["-t", "-oi", "-odb", "-oee"], true, true, &[]),
        ("a script", &["-bm", "-G", "-N", "never", "-RHDRS", "x"], false, false, &["x"]),
    ];
    for (who, typed, header, input, to) in callers {
        let got = submission(typed);
        assert_eq!(got.named_by == NamedBy::ArgumentsAndHeader, header, "{who}");
        assert_eq!(got.end == End::Input, input, "{who}");
        assert_eq!(recipients(&got), to, "{who}");
    }
}

#[test]
fn a_value_stands_in_its_option_or_behind_it() {
    for typed in [&["-fa@b"][..], &["-f", "a@b"], &["-r", "a@b"], &["-tfa@b"], &["-tif", "a@b"], &["-f", "x", "-ra@b"]]
    {
        assert_eq!(submission(typed).sender.as_deref(), Some(&b"a@b"[..]), "{typed:?}");
    }
    assert_eq!(submission(&["-f", ""]).sender.as_deref(), Some(&b""[..]));
    assert_eq!(submission(&["-f<>"]).sender.as_deref(), Some(&b"<>"[..]));
    assert_eq!(submission(&["-F", "Jane Doe", "-F", "Jane"]).full_name.as_deref(), Some("Jane"));
    assert_eq!(submission(&["-f", "-t"]).named_by, NamedBy::Arguments);
}

#[test]
fn dots_are_ignored_where_it_is_said() {
    for (typed, end) in [
        (&["-i"][..], End::Input),
        (&["-oi"], End::Input),
        (&["-o", "i"], End::Input),
        (&["-oiTrue"], End::Input),
        (&["-O", "IgnoreDots"], End::Input),
        (&["-OIgnoreDots=true"], End::Input),
        (&["-i", "-oifalse"], End::LoneDot),
        (&["-i", "-O", "ignoredots=No"], End::LoneDot),
        (&["-oem", "-odi"], End::LoneDot),
    ] {
        assert_eq!(submission(typed).end, end, "{typed:?}");
    }
}

#[test]
fn other_work_is_known_by_its_letter_and_by_the_programs_name() {
    for (typed, mode) in [
        (&["-bs"][..], Mode::Converse),
        (&["-bp", "-v"], Mode::ListQueue),
        (&["-b", "i"], Mode::ReadAliases),
        (&["-I"], Mode::ReadAliases),
        (&["-q"], Mode::Flush),
        (&["-q30m"], Mode::Flush),
        (&["--help"], Mode::Help),
        (&["--version"], Mode::Version),
    ] {
        assert_eq!(order(typed).unwrap().mode, mode, "{typed:?}");
    }
    assert!(matches!(order(&["-bs", "-bm"]).unwrap().mode, Mode::Submit(_)));
    for (program, mode) in [("/usr/bin/mailq", Mode::ListQueue), ("newaliases", Mode::ReadAliases)] {
        let name = Name::of(program.as_ref()).unwrap();
        assert_eq!(read(name, []).unwrap().mode, mode, "{program}");
    }
    assert_eq!(Name::of("/usr/sbin/sendmail".as_ref()), Some(Name::Sendmail));
    assert_eq!(Name::of("/usr/bin/mailsluice".as_ref()), None);
    for typed in [&["--socket", "/s", "-C/c"][..], &["--socket=/s", "-C", "/c"]] {
        let order = order(typed).unwrap();
        assert_eq!((order.socket, order.config), (Some("/s".into()), Some("/c".into())), "{typed:?}");
    }
}

#[test]
fn what_cannot_be_had_is_told() {
    for (typed, why) in [
        (&["-bd"][..], "mailsluice serve"),
        (&["-bv", "root"], "not verified"),
        (&["-bt"], "mailsluice check"),
        (&["-bh"], "-bh is not known"),
        (&["-Z"], "-Z is not known"),
        (&["-t\u{fc}"], "is not known"),
        (&["--frobnicate"], "--frobnicate is not known"),
        (&["-t", "-f"], "-f wants a value"),
        (&["--socket"], "--socket wants a path"),
        (&["-N", "sometimes"], "-N sometimes"),
        (&["-R", "most"], "full or hdrs"),
        (&["-B", "9BIT"], "7BIT or 8BITMIME"),
    ] {
        let complaint = order(typed).unwrap_err();
        assert_eq!(complaint.code, Code::Usage, "{typed:?}");
        assert!(complaint.text.contains(why) && complaint.text.contains("--help"), "{typed:?}: {}", complaint.text);
    }
}

proptest! {
    /// However flags are put together and wherever they stand, they mean the same.
    #[test]
    fn flags_mean_the_same_in_every_order_and_form(
        flags in prop::collection::vec(
            prop_oneof![
                Just(vec!["-t"]), Just(vec!["-oi"]), Just(vec!["-i"]), Just(vec!["-ti"]), Just(vec!["-odb"]), Just(vec!["-o", "em"]),
                Just(vec!["-m"]), Just(vec!["-fa@b"]), Just(vec!["-f", "a@b"]), Just(vec!["-FName"]), Just(vec!["-nti"]),
                Just(vec!["-h", "3"]), Just(vec!["-d0.1"]), Just(vec!["a@b"]), Just(vec!["Name <c@d>, e@f"]),
            ],
            0..12,
        ),
    ) {
        let got = submission(&flags.concat());
        let has = |wanted: &[&str]| flags.iter().any(|flag| wanted.contains(&flag[0]));
        prop_assert_eq!(got.named_by == NamedBy::ArgumentsAndHeader, has(&["-t", "-ti", "-nti"]));
        prop_assert_eq!(got.end == End::Input, has(&["-i", "-oi", "-ti", "-nti"]));
        prop_assert_eq!(got.sender.is_some(), has(&["-fa@b", "-f"]));
        prop_assert_eq!(got.full_name.is_some(), has(&["-FName"]));
        let to = flags.iter().filter(|flag| !flag[0].starts_with('-')).count();
        prop_assert_eq!(got.recipients.len(), to);
    }

    #[test]
    fn whatever_is_typed_is_read_or_refused(typed in prop::collection::vec(prop::collection::vec(1_u8.., 0..6), 0..6)) {
        let _ = read(Name::Sendmail, typed.into_iter().map(OsString::from_vec));
    }
}
