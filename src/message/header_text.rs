//! Raw 8-bit text in header fields as ASCII, each field by its own grammar. Fields of identifiers and dates, which have no
//! place for such text, are taken as unstructured: it stays to be read, and their ASCII stays as it is.

use super::encoded_word::{encode_unstructured, to_text};
use super::header::Field;
use super::mailbox;
use super::mime::{name_and_value, parameters, unquoted};

/// The field in ASCII; nothing where an address in it is not ASCII.
pub(super) fn to_ascii(field: &Field<'_>) -> Option<Field<'static>> {
    let value = field.value();
    let is_one_of = |names: &[&str]| names.iter().any(|name| field.is(name));
    let encoded = if is_one_of(&ADDRESS_FIELDS) {
        mailbox::encode_list(&value)?
    } else if is_one_of(&["Content-Type", "Content-Disposition"]) {
        encode_parameters(&value)
    } else {
        encode_unstructured(&value)
    };
    Some(Field::folded(field.name(), &encoded))
}

/// Values beyond ASCII become extended ones (RFC 2231 §4), in pieces where they are long (§3).
fn encode_parameters(value: &[u8]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = parameters(value).into_iter().map(encode_parameter).collect();
    encoded.join(&b"; "[..])
}

fn encode_parameter(parameter: &[u8]) -> Vec<u8> {
    let (name, value) = match name_and_value(parameter) {
        _ if parameter.is_ascii() => return parameter.to_vec(),
        Some((name, value)) if name.is_ascii() => (to_text(name), to_text(&unquoted(value))),
        _ => return parameter.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect(),
    };
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

/// At three characters an octet these fit a line.
const PIECE_OCTETS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header::HeaderBlock;

    fn ascii(field: &str) -> Option<String> {
        let (block, _) = HeaderBlock::split(field.as_bytes());
        to_ascii(&block.fields()[0]).map(|field| String::from_utf8(field.value()).unwrap())
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
    fn an_address_has_no_other_form() {
        for field in ["To: a@b, jürgen@x\r\n", "From: J <jürgen@x>\r\n", "Cc: ü a@b ö@c\r\n"] {
            assert_eq!(ascii(field), None, "{field}");
        }
    }
}
