use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

mod repairs;

/// Of a part without parts its type, its file name and its decoded body.
type Part = (String, String, Vec<u8>);

/// What a reader sees: subject and author, and the bodies.
fn decoded(content: &[u8]) -> (Vec<String>, Vec<Part>) {
    let message = MessageParser::default().parse(content).unwrap();
    let name = |part: &mail_parser::MessagePart<'_>| part.attachment_name().unwrap_or_default().to_owned();
    let media = |part: &mail_parser::MessagePart<'_>| {
        let media =
            part.content_type().map(|media| format!("{}/{}", media.ctype(), media.subtype().unwrap_or_default()));
        media.unwrap_or("text/plain".into()).to_ascii_lowercase()
    };
    let bodies = message.parts.iter().filter_map(|part| match &part.body {
        PartType::Text(text) | PartType::Html(text) => Some((media(part), name(part), text.as_bytes().to_vec())),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => Some((media(part), name(part), bytes.to_vec())),
        PartType::Message(_) | PartType::Multipart(_) => None,
    });
    let author = message.from().and_then(|from| from.first());
    let head = [
        message.subject().unwrap_or_default(),
        author.and_then(|author| author.name()).unwrap_or_default(),
        author.and_then(|author| author.address()).unwrap_or_default(),
    ];
    (head.map(str::to_owned).to_vec(), bodies.collect())
}

/// The content as this server gets it, and what is told of the repairs.
fn fitted(content: &[u8], server: Carries) -> (Vec<u8>, Vec<String>) {
    let fitted = fit(content, server, u64::MAX).unwrap();
    let told = fitted.repairs.iter().map(Repair::to_string).collect();
    (fitted.content.unwrap_or(content.to_vec()), told)
}

fn to_seven_bit(content: &[u8]) -> Result<Vec<u8>, CannotFit> {
    fit(content, Carries::SevenBit, u64::MAX).map(|fitted| fitted.content.unwrap_or(content.to_vec()))
}

fn seven_bit(content: &str) -> String {
    let encoded = to_seven_bit(content.as_bytes()).unwrap();
    assert!(encoded.is_ascii(), "{}", String::from_utf8_lossy(&encoded));
    assert_eq!(decoded(&encoded), decoded(content.as_bytes()), "{}", String::from_utf8_lossy(&encoded));
    String::from_utf8(encoded).unwrap()
}

#[test]
fn what_needs_nothing_is_not_even_copied() {
    let multipart = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n\r\nno parts\r\n";
    for content in ["", "Subject: a\r\n\r\nbody\r\n", multipart, "x\x7f", "Disk full\r\n", &"x".repeat(998)] {
        for server in [Carries::SevenBit, Carries::EightBit, Carries::Utf8Header] {
            let nothing = Fitted { content: None, smtp_utf8: false, body: Body::Kept, repairs: Vec::new() };
            assert_eq!(fit(content.as_bytes(), server, u64::MAX), Ok(nothing));
        }
    }
    // What an encoding leaves no room for needs nothing either, where the server takes it.
    for encoding in ["quoted-printable", "base64"] {
        let odd = format!("MIME-Version: 1.0\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nQUJD\u{fc}\r\n");
        for server in [Carries::EightBit, Carries::Utf8Header] {
            assert_eq!(fit(odd.as_bytes(), server, u64::MAX).unwrap().content, None, "{encoding}");
        }
    }
}

#[test]
fn text_without_mime_gets_its_header() {
    let content = "From: Jürgen <a@b>\r\nSubject: Störung Keller\r\nX-A:  b\r\n\r\nRauch im Büro.\r\n";
    assert_eq!(
        seven_bit(content),
        "From: =?utf-8?B?SsO8cmdlbg==?= <a@b>\r\nSubject: =?utf-8?B?U3TDtnJ1bmc=?= Keller\r\nX-A:  b\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         \r\nRauch im B=C3=BCro.\r\n"
    );
    let latin = to_seven_bit(b"Subject: a\r\n\r\nB\xfcro\r\n").unwrap();
    let latin = String::from_utf8(latin).unwrap();
    assert!(latin.contains("charset=windows-1252\r\n") && latin.ends_with("\r\n\r\nB=FCro\r\n"), "{latin}");
    let greek = seven_bit("Subject: a\r\n\r\nαβγδεζηθικλμνξοπρστυφχψω\r\n");
    assert!(greek.contains("Content-Transfer-Encoding: base64\r\n") && greek.ends_with("\r\n"), "{greek}");
}

#[test]
fn parts_are_encoded_one_by_one() {
    let content = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\
        Content-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n--o\r\n\
        Content-Type: multipart/alternative; boundary=\"o-i\"\r\n\r\n\
        --o-i\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nIm Büro brennt Licht\r\n\
        --o-i\r\nContent-Type: text/html\r\n\r\n<p>plain</p>\r\n--o-i--\r\n\r\n--o  \r\n\
        Content-Type: application/pdf; name=\"Prüfung.pdf\"\r\nContent-Disposition: attachment; filename=\"Prüfung.pdf\"\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n\u{1}ü\r\n--o--\r\nepilogue\r\n";
    let encoded = seven_bit(content);
    for kept in [
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n",
        "\r\n\r\npreamble\r\n--o\r\nContent-Type: multipart/alternative",
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nIm B=C3=BCro brennt Licht\r\n--o-i\r\n",
        "--o-i\r\nContent-Type: text/html\r\n\r\n<p>plain</p>\r\n--o-i--\r\n\r\n--o  \r\n",
        "filename*=utf-8''Pr%C3%BCfung.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAcO8\r\n--o--\r\nepilogue\r\n",
    ] {
        assert!(encoded.contains(kept), "{kept} in {encoded}");
    }
}

#[test]
fn what_is_protected_is_not_touched() {
    let protected = |media: &str| Err(CannotFit::Protected(media.to_owned()));
    let part = |media: &str, text: &str| {
        let head =
            "Subject: ü\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: ";
        format!("{head}{media}; boundary=s\r\n\r\n--s\r\n\r\n{text}\r\n--s--\r\n--b--\r\n")
    };
    for media in ["multipart/signed", "Multipart/Encrypted", "message/rfc822", "message/delivery-status"] {
        let expected = protected(&media.to_ascii_lowercase());
        assert_eq!(to_seven_bit(part(media, "ü").as_bytes()).map(|_| ()), expected);
        let encoded = to_seven_bit(part(media, "ue").as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encoded).unwrap(), part(media, "ue").replace('ü', "=?utf-8?B?w7w=?="));
    }
    let digest = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: ü\r\n\r\n--b--\r\n";
    assert_eq!(to_seven_bit(digest.as_bytes()).map(|_| ()), protected("message/rfc822"));
}

#[test]
fn what_cannot_be_understood_is_said() {
    use CannotFit::{Address, NoParts, TooDeep, UnknownEncoding};
    let deep = |depth: usize| {
        let open = |level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
        (0..depth).map(open).collect::<String>() + "\r\nü"
    };
    assert!(to_seven_bit(deep(MAX_DEPTH).as_bytes()).is_ok());
    for (content, expected) in [
        ("To: jürgen@x\r\n\r\n".to_owned(), Address("To".into())),
        ("Content-Type: multipart/mixed; boundary=x\r\n\r\nü".into(), NoParts("multipart/mixed".into())),
        ("Content-Transfer-Encoding: X-yEnc\r\n\r\nü".into(), UnknownEncoding("x-yenc".into())),
        (deep(5000), TooDeep),
    ] {
        assert_eq!(to_seven_bit(content.as_bytes()), Err(expected));
    }
}

#[test]
fn encodings_that_are_broken_are_mended() {
    let broken = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable (x)\r\nMIME-Version: 1.0\r\n\r\n=C3=BC ü=\r\n";
    let mended = String::from_utf8(to_seven_bit(broken.as_bytes()).unwrap()).unwrap();
    assert!(mended.ends_with("(x)\r\nMIME-Version: 1.0\r\n\r\n=C3=BC =C3=BC=\r\n"), "{mended}");
    let broken = "Content-Transfer-Encoding: base64\r\n\r\nYWJ\u{fc}j\r\n";
    assert!(to_seven_bit(broken.as_bytes()).unwrap().ends_with(b"base64\r\n\r\nYWJj\r\n"));
    let sloppy = seven_bit("Content-Type: text/plain\r\nContent-Transfer-Encoding: UTF-8\r\n\r\nfür\r\n");
    assert!(sloppy.contains("Content-Transfer-Encoding: quoted-printable\r\n"), "{sloppy}");
}

/// A well-formed entity with 8-bit text at any place, its boundaries numbered by depth.
fn entity(depth: u32) -> BoxedStrategy<String> {
    let text = "([a-zäöüß€=. -]{0,60}\r\n){1,4}";
    let encoding = prop_oneof![
        Just(""),
        Just("Content-Transfer-Encoding: 8bit\r\n"),
        Just("content-transfer-encoding:binary\r\n"),
    ];
    let media = prop_oneof![
        Just("Content-Type: text/plain; charset=utf-8\r\n".to_owned()),
        Just("Content-Type: text/html\r\nContent-Disposition: inline\r\n".to_owned()),
        "[a-zäß]{1,20}".prop_map(|name| {
            format!(
                "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n"
            )
        }),
    ];
    let leaf = (media, encoding, text).prop_map(|(media, encoding, text)| format!("{media}{encoding}\r\n{text}"));
    if depth == 0 {
        return leaf.boxed();
    }
    let parts = prop::collection::vec(entity(depth - 1), 1..4);
    let multipart = (parts, "[a-z ü]{0,10}").prop_map(move |(parts, preamble)| {
        let parts: String = parts.iter().map(|part| format!("--=_{depth}\r\n{part}\r\n")).collect();
        format!("Content-Type: multipart/mixed; boundary=\"=_{depth}\"\r\n\r\n{preamble}\r\n{parts}--=_{depth}--\r\n")
    });
    prop_oneof![leaf, multipart].boxed()
}

proptest! {
    #[test]
    fn a_reader_decodes_the_same(subject in "[a-zäöü]{1,9}( [a-zäöü]{1,9}){0,20}", name in "[A-Zäöü]{1,9}( [a-zäöü]{1,5}){0,3}", entity in entity(2)) {
        let content = format!("Subject: {subject}\r\nFrom: {name} <a@b>\r\n{entity}");
        let encoded = to_seven_bit(content.as_bytes()).unwrap();
        prop_assert!(encoded.is_ascii());
        prop_assert_eq!(decoded(&encoded), decoded(content.as_bytes()), "{}", String::from_utf8_lossy(&encoded));
    }

    #[test]
    fn what_comes_out_is_ascii_and_stays(content in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "(Content-Type: (multipart/mixed; boundary=b|text/plain|message/rfc822)\r\n|To: [ü<>(),@\"]{0,9}\r\n|--b\r\n|--b--\r\n|ü|\r\n){0,12}"
            .prop_map(String::into_bytes),
    ]) {
        if let Ok(encoded) = to_seven_bit(&content) {
            prop_assert!(encoded.is_ascii());
            prop_assert_eq!(to_seven_bit(&encoded), Ok(encoded));
        }
    }
}
