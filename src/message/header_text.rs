//! Header fields that a host may not take: raw 8-bit text, NUL, lines beyond 998 octets. Each becomes ASCII in short lines
//! by its own grammar. Raw text in fields of identifiers and dates, which have no place for it, is taken as unstructured: it
//! stays to be read, and their ASCII stays as it is.

use mail_parser::decoders::charsets::map::charset_decoder;

use super::encoded_word::{encode_unstructured, to_text};
use super::header::Field;
use super::lines::{self, Found};
use super::mailbox;
use super::mime::{name_and_value, parameters, unquoted};

/// Whose header block a field is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A message's.
    Message,
    /// A part's, where fields that do not describe the part mean nothing (RFC 2046 §5.1).
    Part,
}

/// A field as it should be.
#[derive(Clone, Debug)]
pub(super) struct Mended {
    /// ASCII but for addresses, which have no other form: a field with one is UTF-8.
    pub(super) field: Field<'static>,
    /// What it was mended for.
    pub(super) found: Found,
    /// The charset as which text was read that is not UTF-8.
    pub(super) read_as: Option<String>,
}

/// The field as it should be; nothing where it is so already. Raw text that is not UTF-8 is read as `declared`, the charset
/// of the message's own text, where that is known and fits, else as Windows-1252.
pub(super) fn mend(field: &Field<'_>, owner: Owner, declared: Option<&str>) -> Option<Mended> {
    let found = Found::of(field.raw());
    if found.nothing() {
        return None;
    }
    let value: Vec<u8> = field.value().into_iter().filter(|byte| *byte != 0).collect();
    let (value, read_as) = utf8(value, declared);
    let Some(room) = ROOM.checked_sub(field.name().len()).filter(|room| *room >= LEAST_ROOM) else {
        // Nobody's name is that long: a line of text has a colon.
        let text = [field.name().as_bytes(), b": ", &value].concat();
        let field = Field::folded("Comments", &encode_unstructured(&text, ROOM));
        return Some(Mended { field, found, read_as });
    };
    let encoded = match Grammar::of(field, owner) {
        Grammar::Parameters => Some(encode_parameters(&value, room)),
        Grammar::Addresses => mailbox::encode_list(&value, room)
            // What is no address any more once its words fit a line may be text.
            .or_else(|| {
                let broken = lines::break_words(&value, room);
                (broken != value).then(|| mailbox::encode_list(&broken, room)).flatten()
            }),
        Grammar::Other if value.is_ascii() => Some(value.clone()),
        Grammar::Other | Grammar::Text => Some(encode_unstructured(&value, room)),
    };
    if encoded.is_none() && !value.is_ascii() && read_as.is_none() && !found.nul && !found.long {
        return None;
    }
    let encoded = encoded.unwrap_or(value);
    let mended = Field::folded(field.name(), &lines::break_words(&encoded, room));
    (mended.raw() != field.raw()).then_some(Mended { field: mended, found, read_as })
}

fn utf8(value: Vec<u8>, declared: Option<&str>) -> (Vec<u8>, Option<String>) {
    if std::str::from_utf8(&value).is_ok() {
        return (value, None);
    }
    let in_declared = declared.and_then(|charset| {
        let text = charset_decoder(charset.as_bytes())?(&value);
        // The marks of octets that mean nothing in it.
        (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| (text.into_bytes(), Some(charset.to_owned())))
    });
    in_declared.unwrap_or_else(|| (to_text(&value).into_bytes(), Some(OTHERWISE.to_owned())))
}

/// What is not UTF-8 and says nothing of itself. RFC 1428 §3 would have `unknown-8bit`, which readers show as question
/// marks; what they guess without a word is this, and for most devices it is right.
pub(super) const OTHERWISE: &str = "windows-1252";

enum Grammar {
    Addresses,
    Parameters,
    Text,
    Other,
}

impl Grammar {
    fn of(field: &Field<'_>, owner: Owner) -> Self {
        let is_one_of = |names: &[&str]| names.iter().any(|name| field.is(name));
        let begins = |beginning: &&str| {
            field.name().get(..beginning.len()).is_some_and(|name| name.eq_ignore_ascii_case(beginning))
        };
        if is_one_of(&["Content-Type", "Content-Disposition"]) {
            Self::Parameters
        } else if owner == Owner::Message && is_one_of(&ADDRESS_FIELDS) {
            Self::Addresses
        } else if is_one_of(&OTHER_FIELDS) || OTHER_BEGINNINGS.iter().any(begins) {
            Self::Other
        } else {
            Self::Text
        }
    }
}

/// Values beyond ASCII, and those that fit no line, become extended ones (RFC 2231 §4), in pieces where they are long (§3).
fn encode_parameters(value: &[u8], room: usize) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> =
        parameters(value).into_iter().map(|parameter| encode_parameter(parameter, room)).collect();
    encoded.join(&b"; "[..])
}

fn encode_parameter(parameter: &[u8], room: usize) -> Vec<u8> {
    let ascii = parameter.is_ascii();
    let (name, value) = match name_and_value(parameter) {
        _ if ascii && parameter.len() <= room => return parameter.to_vec(),
        Some((name, value)) if name.is_ascii() && name.len() <= NAME_OCTETS => {
            (to_text(name), to_text(&unquoted(value)))
        }
        _ => return parameter.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect(),
    };
    if ascii && name.contains('*') {
        return extended_in_pieces(&name, &value).unwrap_or_else(|| parameter.to_vec());
    }
    let octets: Vec<String> = value.bytes().map(percent).collect();
    let pieces: Vec<String> = octets.chunks(PIECE_OCTETS).map(<[String]>::concat).collect();
    if let [whole] = pieces.as_slice() {
        return format!("{name}*=utf-8''{whole}").into_bytes();
    }
    let numbered = pieces.iter().enumerate().map(|(index, piece)| {
        let charset = if index == 0 { "utf-8''" } else { "" };
        format!("{name}*{index}*={charset}{piece}")
    });
    numbered.collect::<Vec<_>>().join("; ").into_bytes()
}

/// An extended value that is too long, as it is but in pieces; nothing where it is a piece already.
fn extended_in_pieces(name: &str, value: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('*').filter(|name| !name.contains('*'))?;
    let mut pieces = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let mut end = rest.len().min(3 * PIECE_OCTETS);
        // An octet is a percent sign and two digits.
        if end < rest.len()
            && let Some(percent) = rest[end - 2..end].find('%')
        {
            end = end - 2 + percent;
        }
        let (piece, behind) = rest.split_at(end);
        pieces.push(format!("{name}*{}*={piece}", pieces.len()));
        rest = behind;
    }
    Some(pieces.join("; ").into_bytes())
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

const ADDRESS_FIELDS: [&str; 14] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Reply-To",
    "Disposition-Notification-To",
    "Errors-To",
    "Mail-Followup-To",
];

/// Fields whose words are not text. Words of theirs that fit no line are parted where their grammar has a place for it,
/// and between any two octets where it has none.
const OTHER_FIELDS: [&str; 16] = [
    "Authentication-Results",
    "Content-ID",
    "Content-Transfer-Encoding",
    "Date",
    "DKIM-Signature",
    "DomainKey-Signature",
    "In-Reply-To",
    "Message-ID",
    "MIME-Version",
    "Received",
    "Received-SPF",
    "References",
    "Resent-Date",
    "Resent-Message-ID",
    "Return-Path",
    "X-SMTPAPI",
];
const OTHER_BEGINNINGS: [&str; 2] = ["ARC-", "List-"];

/// A line less the white space that a fold leaves at its beginning, and less the name in front of its first word.
const ROOM: usize = 900;
const _: () = assert!(ROOM < lines::LONGEST - 78);
/// An encoded word has 75 octets.
const LEAST_ROOM: usize = 100;

/// More than the name of any parameter has.
const NAME_OCTETS: usize = 78;

/// At three characters an octet these fit a line.
const PIECE_OCTETS: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::encoded_word::decode;
    use crate::message::header::HeaderBlock;

    fn ascii(field: &str) -> Option<String> {
        let (block, _) = HeaderBlock::split(field.as_bytes());
        let mended = mend(&block.fields()[0], Owner::Message, None)?;
        mended.field.raw().is_ascii().then(|| String::from_utf8(mended.field.value()).unwrap())
    }

    #[test]
    fn each_field_by_its_grammar() {
        for (field, expected) in [
            ("Subject: Für Sie\r\n", "=?utf-8?B?RsO8cg==?= Sie"),
            ("To: Jürgen <a@b>, c@d\r\n", "=?utf-8?B?SsO8cmdlbg==?= <a@b>, c@d"),
            ("To: \"Mü, J\" <a@b>, Team: \"C, D\" <c@d>;\r\n", "=?utf-8?B?TcO8LCBK?= <a@b>, Team: \"C, D\" <c@d>;"),
            ("From: a@b (Jürgen)\r\n", "a@b (=?utf-8?B?SsO8cmdlbg==?=)"),
            ("From: Jürgen a@b\r\n", "=?utf-8?B?SsO8cmdlbg==?= a@b"),
            ("Cc: ü a@b ö\r\n", "=?utf-8?B?w7w=?= a@b =?utf-8?B?w7Y=?="),
            ("Errors-To: ü <a@b>, ö <c@d>\r\n", "=?utf-8?B?w7w=?= <a@b>, =?utf-8?B?w7Y=?= <c@d>"),
            ("Mail-Followup-To: \"ü, x\" <a@b>\r\n", "=?utf-8?B?w7wsIHg=?= <a@b>"),
            ("Disposition-Notification-To: a@b (ü), c@d (ö)\r\n", "a@b (=?utf-8?B?w7w=?=), c@d (=?utf-8?B?w7Y=?=)"),
            ("X-Copies: ü <a@b>, ö <c@d>\r\n", "=?utf-8?B?w7w=?= <a@b>, =?utf-8?B?w7Y=?= <c@d>"),
            (
                "Content-Disposition: attachment; filename=\"Prüf ung.pdf\"; size=3\r\n",
                "attachment; filename*=utf-8''Pr%C3%BCf%20ung.pdf; size=3",
            ),
            ("Content-Type: text/plain; nä=b\r\n", "text/plain; n??=b"),
        ] {
            assert_eq!(ascii(field).as_deref(), Some(expected));
        }
        let long = ascii(&format!("Content-Type: a/b; name={}\r\n", "ü".repeat(30))).unwrap();
        assert!(long.contains("; name*0*=utf-8''%C3") && long.contains("; name*1*=%C3"), "{long}");
    }

    #[test]
    fn text_that_is_not_utf_8_is_what_the_message_says_or_what_most_devices_mean() {
        for (field, declared, text, read_as) in [
            (&b"Subject: B\xfcro \x80 5\r\n"[..], None, "Büro € 5", "windows-1252"),
            (b"Subject: B\xfcro\r\n", Some("utf-8"), "Büro", "windows-1252"),
            (b"Subject: \xf0\xc9\xd3\xd8\xcd\xcf\r\n", Some("KOI8-R"), "Письмо", "KOI8-R"),
            (b"Subject: \xd6\xd0\r\n", Some("gb2312"), "ÖÐ", "windows-1252"),
        ] {
            let (block, _) = HeaderBlock::split(field);
            let mended = mend(&block.fields()[0], Owner::Message, declared).unwrap();
            assert_eq!(decode(&mended.field.value()), text);
            assert_eq!(mended.read_as.as_deref(), Some(read_as));
        }
        let (block, _) = HeaderBlock::split(b"To: j\xfcrgen@x\r\n");
        assert_eq!(mend(&block.fields()[0], Owner::Message, None).unwrap().field.raw(), "To: jürgen@x\r\n".as_bytes());
    }

    #[test]
    fn long_lines_are_folded_by_their_grammar() {
        let (long, id) = ("x".repeat(2000), format!("<{}@b>", "i".repeat(70)));
        let list = (0..80).map(|index| format!("a{index}@example.com")).collect::<Vec<_>>();
        for (field, expected) in [
            (format!("To: {}\r\n", list.join(",")), list.join(", ")),
            (format!("Cc: Team:{};\r\n", list.join(",")), format!("Team:{};", list.join(", "))),
            (format!("Subject: {}\r\n", ["word"; 300].join(" ")), ["word"; 300].join(" ")),
            (format!("X-Spaces: a{}b\r\n", " ".repeat(2000)), "a b".to_owned()),
        ] {
            assert_eq!(ascii(&field).as_deref(), Some(expected.as_str()));
        }
        let references = ascii(&format!("References: {}\r\n", [id.as_str(); 20].concat())).unwrap();
        assert!(references.split(' ').all(|ids| ids.starts_with('<') && ids.ends_with("@b>")), "{references}");
        let url = ascii(&format!("List-Unsubscribe: <https://x/{long}>\r\n")).unwrap();
        assert_eq!(url.replace(' ', ""), format!("<https://x/{long}>"));
        let subject = ascii(&format!("Subject: {long}\r\n")).unwrap();
        assert_eq!(decode(subject.as_bytes()), long);
        let name = ascii(&format!("From: \"{long}\" <a@b>\r\n")).unwrap();
        assert!(name.starts_with("=?utf-8?B?") && name.ends_with("?= <a@b>"), "{name}");
        for parameter in [format!("name=\"{long}\""), format!("name*=utf-8''{}", "%C3%BC".repeat(400))] {
            let pieces = ascii(&format!("Content-Type: a/b; {parameter}\r\n")).unwrap();
            assert!(pieces.starts_with("a/b; name*0*=utf-8''") && !pieces.contains("%; "), "{pieces}");
        }
        for octets in [800, 801, 899, 900, 901, 2000] {
            let name = "n".repeat(octets);
            let prose = ascii(&format!("{name}: \u{fc} {long}\r\n")).unwrap();
            let expected = format!("\u{fc} {long}");
            assert_eq!(decode(prose.as_bytes()), if octets > 800 { format!("{name}: {expected}") } else { expected });
        }
    }

    #[test]
    fn stray_addresses_in_a_part_are_text() {
        let (block, _) = HeaderBlock::split("To: jürgen@x\r\n".as_bytes());
        assert!(mend(&block.fields()[0], Owner::Part, None).unwrap().field.raw().is_ascii());
    }

    proptest! {
        #[test]
        fn whatever_it_is_its_lines_are_short_and_stay(
            name in "To|From|Subject|Content-Type|Content-Disposition|References|List-Id|X-A|[a-z]{700,1100}|[a-z]{890,910}",
            value in prop::collection::vec(prop_oneof![
                "[ -~ü\0]{0,40}".prop_map(String::into_bytes),
                "[a-z]{800,1200}|;? ?name\\*?=\"?[a-z%]{900,1100}\"?|<[a-z]{1000}@b>,|\\([a-z]{900,999}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..5),
        ) {
            let raw = [name.as_bytes(), b": ", &value.concat().into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect::<Vec<_>>(), b"\r\n"].concat();
            let (block, _) = HeaderBlock::split(&raw);
            for owner in [Owner::Message, Owner::Part] {
                let Some(mended) = mend(&block.fields()[0], owner, None) else { continue };
                prop_assert!(!lines::has_long_line(mended.field.raw()) && !mended.field.raw().contains(&0));
                let (again, rest) = HeaderBlock::split(mended.field.raw());
                prop_assert_eq!((again.fields().len(), rest.len()), (1, 0));
                let twice = mend(&again.fields()[0], owner, None);
                prop_assert!(twice.is_none(), "{}\n{twice:?}", String::from_utf8_lossy(mended.field.raw()));
            }
        }
    }

    #[test]
    fn what_has_been_mended_stays_as_it_is() {
        // The comment has no end, and its word fits a line but leaves no room.
        let raw = format!("To: ü({}@b\0\r\n", "a".repeat(950));
        let (block, _) = HeaderBlock::split(raw.as_bytes());
        let mended = mend(&block.fields()[0], Owner::Message, None).unwrap().field;
        let (again, _) = HeaderBlock::split(mended.raw());
        assert!(mend(&again.fields()[0], Owner::Message, None).is_none(), "{}", String::from_utf8_lossy(mended.raw()));
    }

    #[test]
    fn an_address_has_no_other_form() {
        for field in ["To: a@b, jürgen@x\r\n", "From: J <jürgen@x>\r\n", "Cc: ü a@b ö@c\r\n"] {
            assert_eq!(ascii(field), None, "{field}");
        }
    }
}
