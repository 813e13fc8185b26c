//! Long lines, NUL, raw header text and missing MIME fields, for servers that take 8-bit text and for those that do not.

use super::*;

const SERVERS: [Carries; 3] = [Carries::SevenBit, Carries::EightBit, Carries::Utf8Header];

fn is_sound(content: &[u8]) -> bool {
    let found = Found::of(content);
    !found.long && !found.nul
}

/// What becomes of content that every server must get in short lines and every reader decode as before.
fn repaired(content: &str, server: Carries) -> (String, Vec<String>) {
    let (out, told) = fitted(content.as_bytes(), server);
    assert!(is_sound(&out), "{told:?}");
    assert!(decoded(&out) == decoded(content.as_bytes()), "{told:?}");
    assert!(fitted(&out, server).0 == out, "{told:?}");
    (String::from_utf8(out).unwrap(), told)
}

#[test]
fn an_attachment_on_one_line_is_folded() {
    let line = "QUJD".repeat(160_000);
    let content = format!(
        "Subject: camera\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
         Content-Type: text/plain\r\n\r\nMotion.\r\n--b\r\nContent-Type: image/jpeg; name=\"a.jpg\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{line}\r\n--b--\r\n"
    );
    for server in SERVERS {
        let (out, told) = repaired(&content, server);
        assert_eq!(told, ["lines beyond 998 octets re-encoded in a part"]);
        let (before, behind) = content.split_once(&line).unwrap();
        let folded = out.strip_prefix(before).unwrap().strip_suffix(behind).unwrap();
        assert!(folded.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(folded.replace("\r\n", ""), line);
    }
}

#[test]
fn a_long_line_of_text_is_encoded_whatever_the_server_takes() {
    let html = format!("<p>{}</p>", "Grüße an alle in diesem großen Haus. ".repeat(140));
    assert!(html.len() > 5000);
    let content = format!(
        "Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{html}\r\n"
    );
    let (out, told) = repaired(&content, Carries::EightBit);
    assert!(out.contains("Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=BC=C3=9Fe"), "{out}");
    assert_eq!(told, ["lines beyond 998 octets re-encoded in a part"]);
    let bare = format!("Subject: a\r\n\r\n{}\r\n", "word ".repeat(400));
    let (out, told) = repaired(&bare, Carries::Utf8Header);
    assert!(out.starts_with("Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{out}");
    let added = "MIME-Version, Content-Type as utf-8 text, Content-Transfer-Encoding as quoted-printable added";
    assert_eq!(told, [added, "lines beyond 998 octets re-encoded in a part"]);
    let binary = bare.replace("\r\n\r\n", "\r\nContent-Type: application/pdf\r\n\r\n");
    assert!(repaired(&binary, Carries::EightBit).0.contains("\r\nContent-Transfer-Encoding: base64\r\n"));
    let quoted = bare.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC");
    assert!(repaired(&quoted, Carries::EightBit).0.contains("\r\n\r\n=C3=BCword word"));
}

#[test]
fn flowed_text_keeps_the_spaces_at_its_ends() {
    let flowed = format!("flows on \r\n-- \r\n{}\r\nend \r\n", "x".repeat(1500));
    let content = format!("MIME-Version: 1.0\r\nContent-Type: text/plain; format=flowed\r\n\r\n{flowed}");
    let (out, _) = repaired(&content, Carries::EightBit);
    assert!(out.contains("\r\n\r\nflows on=20\r\n=2D-=20\r\nxxx") && out.ends_with("\r\nend=20\r\n"), "{out}");
}

#[test]
fn header_text_is_ascii_for_every_server() {
    let long = "x".repeat(2000);
    let content = format!("From: Jürgen <a@b>\r\nSubject: {long}\r\nTo: <a@b>\r\n\r\nbody\r\n");
    for server in SERVERS {
        let (out, told) = repaired(&content, server);
        assert!(out.is_ascii() && out.ends_with("\r\nTo: <a@b>\r\n\r\nbody\r\n"), "{out}");
        assert_eq!(told, ["8-bit text of From encoded", "lines beyond 998 octets folded in Subject"]);
    }
    let (out, told) = fitted(b"Subject: B\xfcro \x80 5\r\nX: a\0b\r\n\r\nbody", Carries::EightBit);
    assert_eq!(out, b"Subject: =?utf-8?B?QsO8cm8g4oKs?= 5\r\nX: ab\r\n\r\nbody");
    assert_eq!(told, ["8-bit text of Subject read as windows-1252 and encoded", "NUL octets dropped or encoded"]);
    let part = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Disposition: attachment; filename=\"Prüfung.pdf\"\r\n\r\nx\r\n--b--\r\n";
    let (out, told) = repaired(part, Carries::Utf8Header);
    assert!(out.contains("; filename*=utf-8''Pr%C3%BCfung.pdf\r\n"), "{out}");
    assert_eq!(told, ["8-bit text of Content-Disposition encoded"]);
}

#[test]
fn an_address_beyond_ascii_stays_and_is_declared_where_the_server_takes_it() {
    let content = "To: Jürgen <jürgen@x>\r\nSubject: ü\r\n\r\nbody\r\n".as_bytes();
    let out = "To: Jürgen <jürgen@x>\r\nSubject: =?utf-8?B?w7w=?=\r\n\r\nbody\r\n".as_bytes();
    let [declared, raw] =
        [Carries::Utf8Header, Carries::EightBit].map(|server| fit(content, server, u64::MAX).unwrap());
    assert_eq!((declared.content.as_deref(), declared.smtp_utf8, declared.repairs.len()), (Some(out), true, 1));
    assert_eq!((raw.content.as_deref(), raw.smtp_utf8), (Some(out), false));
    assert_eq!(raw.repairs[1].to_string(), "octets beyond ASCII in To left as they are");
}

#[test]
fn eight_bit_text_says_what_it_is() {
    let cases: [(&[u8], &str, &str); 5] = [
        (
            b"\r\nB\xc3\xbcro\r\n",
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
            "MIME-Version, Content-Type as utf-8 text, Content-Transfer-Encoding as 8bit added",
        ),
        (
            b"\r\nB\xfcro\r\n",
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=windows-1252\r\nContent-Transfer-Encoding: 8bit\r\n",
            "MIME-Version, Content-Type as windows-1252 text, Content-Transfer-Encoding as 8bit added",
        ),
        (
            b"Content-Type: text/html\r\n\r\n\xc3\xbc",
            "Content-Type: text/html\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n",
            "MIME-Version, Content-Transfer-Encoding as 8bit added",
        ),
        (
            b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n\xc3\xbc",
            "MIME-Version: 1.0\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n",
            "Content-Transfer-Encoding as 8bit added",
        ),
        (
            b"Content-Type: text/html\r\n\r\nascii",
            "Content-Type: text/html\r\nMIME-Version: 1.0\r\n",
            "MIME-Version added",
        ),
    ];
    for (content, header, told) in cases {
        let (out, repairs) = fitted(content, Carries::EightBit);
        let body = HeaderBlock::split(content).1;
        assert_eq!(out, [header.as_bytes(), b"\r\n", body].concat(), "{}", String::from_utf8_lossy(&out));
        assert_eq!(repairs, [told]);
        assert_eq!(fitted(&out, Carries::EightBit), (out, Vec::new()));
    }
}

#[test]
fn a_million_parts_do_not_grow_beyond_what_the_server_takes() {
    let parts = "--b\r\n\r\n\u{fc}\0\r\n".repeat(10_000);
    let content = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    let most = 200_000;
    let Err(CannotFit::TooLarge { octets }) = fit(content.as_bytes(), Carries::EightBit, most) else { panic!() };
    assert!((most + 1..most + 1000).contains(&octets), "{octets}");
    assert!(fit(content.as_bytes(), Carries::EightBit, u64::MAX).is_ok());
}

#[test]
fn nul_is_encoded_in_bodies_and_makes_no_delimiter() {
    let content = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nno\0body\r\n--b\0\r\n--b\r\n\r\na\0b\r\n--b\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nYW\0Jj\r\n-\0-b\r\n--b--\r\n";
    let (out, told) = fitted(content.as_bytes(), Carries::EightBit);
    let out = String::from_utf8(out).unwrap();
    for kept in [
        "\r\n\r\nno?body\r\n--b?\r\n--b\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n\r\na=00b\r\n--b",
        "\r\n\r\nYWJj\r\nb\r\n--b--\r\n",
    ] {
        assert!(out.contains(kept), "{out}");
    }
    assert_eq!(told.last().unwrap(), "NUL octets dropped or encoded");
}

#[test]
fn a_body_that_is_edited_does_not_become_header() {
    for (encoding, nul) in [("base64", ""), ("quoted-printable", "=00")] {
        let header = format!("MIME-Version: 1.0\r\nContent-Transfer-Encoding: {encoding}\r\n");
        let (out, _) = fitted(format!("{header}\0YWJj: x").as_bytes(), Carries::EightBit);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{header}\r\n{nul}YWJj: x"));
    }
}

#[test]
fn what_is_protected_goes_as_it_is_and_that_is_told() {
    let line = "x".repeat(5000);
    for media in ["multipart/signed", "multipart/encrypted", "message/rfc822"] {
        let inner = format!("Content-Type: {media}; boundary=s\r\n\r\n--s\r\n\r\nü{line}\0\r\n--s--");
        let content = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{line}\r\n--b\r\n{inner}\r\n--b--\r\n"
        );
        let fitted = fit(content.as_bytes(), Carries::EightBit, u64::MAX).unwrap();
        let out = String::from_utf8(fitted.content.unwrap()).unwrap();
        assert!(out.ends_with(&format!("\r\n--b\r\n{inner}\r\n--b--\r\n")));
        assert_eq!((fitted.body, fitted.repairs[0].kind()), (Body::Changed, "lines_reencoded"));
        let told: Vec<String> = fitted.repairs[1..].iter().map(Repair::to_string).collect();
        let matters = ["lines beyond 998 octets", "NUL octets", "octets beyond ASCII"];
        assert_eq!(
            told,
            matters[..told.len()]
                .iter()
                .map(|matter| format!("{matter} in {media} left as they are"))
                .collect::<Vec<_>>()
        );
        assert_eq!(told.len(), 2);
    }
    let mime = format!(
        "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        "MIIB".repeat(500)
    );
    assert_eq!(repaired(&mime, Carries::EightBit).1, ["lines beyond 998 octets re-encoded in a part"]);
    let coded = format!("MIME-Version: 1.0\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n{line}\r\n");
    let (out, told) = fitted(coded.as_bytes(), Carries::EightBit);
    assert_eq!(
        (out, told),
        (coded.into_bytes(), vec!["lines beyond 998 octets in x-uuencode left as they are".to_owned()])
    );
}

#[test]
fn what_nobody_reads_is_broken_but_for_delimiters() {
    let (line, boundary) = ("-".repeat(1500), "b".repeat(60));
    let content = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary={boundary}\r\n\r\n{line}\r\n--{boundary}{}\r\n\r\nText.\r\n--{boundary}--\r\n{line}",
        " ".repeat(1500)
    );
    let (out, _) = repaired(&content, Carries::EightBit);
    assert!(out.contains(&format!("\r\n--{boundary}\r\n\r\nText.\r\n--{boundary}--\r\n")), "{out}");
    // What begins a line where none began is no delimiter.
    let preamble = format!("{}--c", "x".repeat(76 * 14));
    let parts = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{preamble}\r\n--c\r\n\r\nText.\r\n--c--\r\n"
    );
    let (out, _) = repaired(&parts, Carries::EightBit);
    assert!(out.contains("x\r\n --c\r\n--c\r\n\r\nText.\r\n--c--\r\n"), "{out}");
    let no_parts = format!("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{line}\r\n");
    assert!(is_sound(&fitted(no_parts.as_bytes(), Carries::EightBit).0));
}

#[test]
fn a_large_message_takes_time_in_proportion() {
    // Were any step quadratic, these would take hours.
    let line = "QUJD".repeat(2 << 20);
    let parts = "--b\r\nA: 1\r\n\r\nx\r\n".repeat(200_000);
    let head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    let words = "=?utf-8?Q?=C3=BC?=, ü <a@b>,".repeat(9000);
    for content in [
        format!("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n{line}\r\n"),
        format!("MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n", "=".repeat(4 << 20)),
        format!("{head}{parts}{line}"),
        format!("{head}--b\r\n{}\r\n\0", "a:\r\n".repeat(1 << 20)),
        format!("To: {words}\r\nX-List: {words}\r\nSubject: {}\r\n\r\n", "=?utf-8?".repeat(20_000)),
        format!("\r\n{}", "\0\r\n".repeat(1 << 20)),
    ] {
        assert!(fit(content.as_bytes(), Carries::EightBit, u64::MAX).is_ok());
    }
}

/// Text and attachments of any length of line, in any encoding, as programs write them.
fn entity(depth: u32) -> BoxedStrategy<String> {
    let words = prop_oneof![4 => "[a-zäö€=. -]{0,60}", 1 => "[a-zäö=. -]{0,9}x{900,1100}[a-z=. -]{0,200}"];
    let text = prop::collection::vec(words, 1..4).prop_map(|lines| lines.join("\r\n") + "\r\n");
    let plain =
        (text.clone(), "(Content-Type: text/plain; charset=utf-8\r\n)(Content-Transfer-Encoding: (8bit|binary)\r\n)?")
            .prop_map(|(text, header)| format!("{header}\r\n{text}"));
    let binary = (text.clone(), "[a-zäß]{1,20}").prop_map(|(text, name)| {
        format!("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n{text}")
    });
    let base64 = "([A-Za-z0-9+/]{4}){1,500}".prop_map(|data| {
        format!("Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{data}\r\n")
    });
    let quoted = "([a-z -]{0,30}=C3=BC){0,60}".prop_map(|text| {
        format!(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{text}\r\n"
        )
    });
    let leaf = prop_oneof![plain, binary, base64, quoted];
    if depth == 0 {
        return leaf.boxed();
    }
    let frame = prop_oneof![3 => "[a-z ü]{0,10}", 1 => "[a-z -]{990,1010}"];
    let multipart = (prop::collection::vec(entity(depth - 1), 1..4), frame).prop_map(move |(parts, frame)| {
        let parts: String = parts.iter().map(|part| format!("--=_{depth}\r\n{part}\r\n")).collect();
        format!(
            "Content-Type: multipart/mixed; boundary=\"=_{depth}\"\r\n\r\n{frame}\r\n{parts}--=_{depth}--\r\n{frame}"
        )
    });
    let protected = (text, prop_oneof![Just("message/rfc822"), Just("multipart/signed; boundary=\"=_s\"")])
        .prop_map(|(text, media)| format!("Content-Type: {media}\r\n\r\n--=_s\r\n\r\n{text}--=_s--\r\n"));
    prop_oneof![2 => leaf, 3 => multipart, 1 => protected].boxed()
}

/// The lines of what is protected.
fn protected(content: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(content);
    let inside = text.split("--=_s\r\n").skip(1).map(|rest| rest.split("--=_s--\r\n").next().unwrap_or_default());
    inside.map(|text| text.as_bytes().to_vec()).collect()
}

proptest! {
    #[test]
    fn every_reader_decodes_the_same_from_short_lines(
        subject in "[a-zäöü]{1,9}( [a-zäöü]{1,9}){0,20}|[a-z]{900,1100}( [a-zü]{1,1100})?",
        name in "[A-Zäöü]{1,9}( [a-zäöü]{1,5}){0,3}",
        entity in entity(2),
    ) {
        let content = format!("Subject: {subject}\r\nFrom: {name} <a@b>\r\nMIME-Version: 1.0\r\n{entity}");
        for server in [Carries::EightBit, Carries::Utf8Header] {
            let (out, told) = fitted(content.as_bytes(), server);
            prop_assert_eq!(decoded(&out), decoded(content.as_bytes()), "{}", String::from_utf8_lossy(&out));
            let inside = protected(&out);
            prop_assert_eq!(&inside, &protected(content.as_bytes()));
            prop_assert!(lines::has_long_line(&inside.concat()) || !lines::has_long_line(&out), "{:?}", told);
            let kept = told.iter().all(|told| told.ends_with("left as they are"));
            prop_assert_eq!(kept, out == content.as_bytes());
            prop_assert_eq!(fitted(&out, server).0, out);
        }
    }

    #[test]
    fn whatever_it_is_it_comes_out_in_short_lines_and_stays(content in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "(Content-Type: (multipart/mixed; boundary=b|text/plain|a/b)\r\n|Content-Transfer-Encoding: (base64|quoted-printable|8bit)\r\n|\
          To: [ü<>(),@\"]{0,9}\r\n|--b\r\n|--b--\r\n|ü\0|[a=-]{990,1100}|\r\n){0,12}".prop_map(String::into_bytes),
    ]) {
        for server in SERVERS {
            if let Ok(Fitted { content: Some(out), .. }) = fit(&content, server, u64::MAX) {
                prop_assert!(is_sound(&out), "{}", String::from_utf8_lossy(&out));
                let again = fit(&out, server, u64::MAX).unwrap();
                prop_assert_eq!((again.content, again.body), (None, Body::Kept), "{}", String::from_utf8_lossy(&out));
            }
        }
    }
}

#[test]
fn no_line_is_a_dot_once_nul_is_dropped_even_in_what_must_not_be_touched() {
    let smuggled = "\0.\r\nMAIL FROM:<a@b>\r\n.\0\r\n\0\0.\0\r\n\0..\r\na\0\r\n";
    let dots = ".\r\nMAIL FROM:<a@b>\r\n.\0\r\n.\r\n\0..\r\na\0\r\n";
    let part = |number: usize| format!("Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n--b{number}\r\n");
    let nested: String = (0..60).map(part).collect();
    for head in [
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n",
        "Content-Type: message/rfc822\r\n\r\nSubject: a\r\n\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n",
        &nested,
    ] {
        let head = format!("MIME-Version: 1.0\r\n{head}");
        for server in SERVERS {
            let (out, told) = fitted(format!("{head}{smuggled}").as_bytes(), server);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{head}{dots}"), "{told:?}");
        }
    }
}
