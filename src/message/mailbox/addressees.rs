//! Whom lists of mailboxes name as those who get the mail: the fields `To:`, `Cc:` and `Bcc:`, and what programs write behind
//! `sendmail`. Read as tolerantly as people write them, but nobody is left out: what cannot be read is told.

use super::{Element, Mailbox, elements, has_bare_at, is_blank, name_text, write_name};
use crate::message::encoded_word::to_text;
use crate::message::header::{Field, HeaderBlock};
use crate::smtp::Address;

/// One of those named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addressee {
    /// What a path holds: an address, or a local part of which the domain is to be supplied.
    Path(String),
    /// This names nobody, as it was written.
    Unreadable(String),
}

/// Reads a list of any length: members of groups count, names of groups do not.
///
/// # Errors
/// The list is broken in so many places that it cannot be said where its members end.
pub fn read(value: &[u8]) -> Result<Vec<Addressee>, Broken> {
    let elements = elements(value);
    if elements.is_empty() {
        return Err(Broken);
    }
    Ok(elements.iter().flat_map(Element::addressees).collect())
}

/// A list of which nobody can say whom it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quotes, comments or brackets that do not close")]
pub struct Broken;

/// Whom the header sends the message to: by `Resent-To:`, `Resent-Cc:` and `Resent-Bcc:` where it has one of them (RFC 5322
/// §3.6.6), else by `To:`, `Cc:` and `Bcc:`.
///
/// # Errors
/// The name of the field that is broken.
pub fn of_header(block: &HeaderBlock<'_>) -> Result<Vec<Addressee>, &'static str> {
    let resent = RESENT.iter().any(|name| block.find(name).is_some());
    let mut all = Vec::new();
    for name in if resent { RESENT } else { FIRST_SENT } {
        for field in block.all(name) {
            all.extend(read(&field.value()).map_err(|Broken| name)?);
        }
    }
    Ok(all)
}

const FIRST_SENT: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// A `From:` for who has this name, and an address, or a local part of which the domain is to be supplied.
pub fn author(name: &str, path: &str) -> Field<'static> {
    let name = write_name(name);
    Field::folded("From", &[&name[..], b" <", path.as_bytes(), b">"].concat())
}

/// A field that names the local part of `address` and no domain, as programs of one machine write it (`root (Cron Daemon)`),
/// with the whole address; nothing where it names somebody else, or more than one.
pub(in crate::message) fn completed(field: &Field<'_>, address: &Address) -> Option<Field<'static>> {
    let elements = elements(&field.value());
    let [element] = &elements[..] else { return None };
    let (name, local_part) = match &element.angle {
        Some(angle) => (&element.words, angle),
        None => (&element.comment, &element.words),
    };
    if !local_part.eq_ignore_ascii_case(address.local_part().as_bytes()) {
        return None;
    }
    let mailbox = Mailbox::new(&write_name(&name_text(name)), address);
    Some(Field::folded(field.name(), &mailbox.write()))
}

impl Element {
    fn addressees(&self) -> Vec<Addressee> {
        let Some(angle) = &self.angle else { return bare(&self.words) };
        let spec = to_text(angle).replace([' ', '\t'], "");
        // The old source route: <@relay,@other:jane@example.org> (RFC 5322 §4.4).
        let spec = match spec.split_once(':') {
            Some((route, spec)) if route.starts_with('@') => spec.to_owned(),
            _ => spec,
        };
        if is_path(&spec) {
            return vec![Addressee::Path(spec)];
        }
        let (name, angle) = (to_text(&self.words), to_text(angle));
        vec![Addressee::Unreadable(format!("{name} <{angle}>").trim_start().to_owned())]
    }
}

/// Of what stands without brackets: one address or local part, several that only spaces part, or a name and an address.
fn bare(words: &[u8]) -> Vec<Addressee> {
    let whole = to_text(words);
    if whole.is_empty() {
        return Vec::new();
    }
    if is_path(&whole) {
        return vec![Addressee::Path(whole)];
    }
    let parts: Vec<String> = words.split(|byte| is_blank(*byte)).filter(|part| !part.is_empty()).map(to_text).collect();
    let addresses: Vec<&String> = parts.iter().filter(|part| part.parse::<Address>().is_ok()).collect();
    let others = parts.iter().filter(|part| part.parse::<Address>().is_err());
    let is_name = addresses.len() == 1 && others.into_iter().all(|part| !has_bare_at(part.as_bytes()));
    if is_name || addresses.len() == parts.len() {
        return addresses.into_iter().cloned().map(Addressee::Path).collect();
    }
    // RFC 5322 §4.4 lets old mail have white space around the dots and the at sign.
    match parts.concat().parse::<Address>() {
        Ok(address) if addresses.is_empty() => vec![Addressee::Path(address.to_string())],
        _ => vec![Addressee::Unreadable(whole)],
    }
}

fn is_path(spec: &str) -> bool {
    spec.parse::<Address>().is_ok() || !spec.contains('@') && format!("{spec}@x").parse::<Address>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Paths as they are, what is unreadable behind a `!`.
    fn named(value: &str) -> Vec<String> {
        let shown = |one| match one {
            Addressee::Path(path) => path,
            Addressee::Unreadable(text) => format!("!{text}"),
        };
        read(value.as_bytes()).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn everybody_is_found_in_what_people_write() {
        for (value, wanted) in [
            ("root", &["root"][..]),
            ("a@b", &["a@b"]),
            ("Jane Doe <jane@x.org>", &["jane@x.org"]),
            ("\"Doe, Jane\" <jane@x.org>, root (Charlie), <www-data>", &["jane@x.org", "root", "www-data"]),
            ("a@b, c@d;e@f", &["a@b", "c@d", "e@f"]),
            ("a@b c@d", &["a@b", "c@d"]),
            ("Jane jane@x.org", &["jane@x.org"]),
            ("\"john doe\"@x.org, \"john doe\"", &["\"john doe\"@x.org", "\"john doe\""]),
            ("jane @ x.org", &["jane@x.org"]),
            ("Team: a@b, root;, e@f", &["a@b", "root", "e@f"]),
            ("undisclosed-recipients:;", &[]),
            ("", &[]),
            (" , ,", &[]),
            ("<@relay,@other:jane@x.org>", &["jane@x.org"]),
            ("x@y <z@w>", &["z@w"]),
            ("j\u{fc}rgen@m\u{fc}ller.example", &["j\u{fc}rgen@m\u{fc}ller.example"]),
            ("Jane Doe, a@b", &["!Jane Doe", "a@b"]),
            ("Jane <>, a@b..c, root@", &["!Jane <>", "!a@b..c", "!root@"]),
            ("a@b and c@d", &["!a@b and c@d"]),
        ] {
            assert_eq!(named(value), wanted, "{value:?}");
        }
        assert_eq!(read(&b"(((((((((".repeat(9)), Err(Broken));
    }

    #[test]
    fn a_list_may_be_long() {
        let list: Vec<String> = (0..20_000).map(|number| format!("Name {number} <r{number}@list.example>")).collect();
        assert_eq!(read(list.join(", ").as_bytes()).unwrap().len(), 20_000);
    }

    #[test]
    fn what_is_sent_again_goes_to_those_it_is_sent_again_to() {
        let of = |text: &str| of_header(&HeaderBlock::split(text.as_bytes()).0).map(|all| all.len());
        assert_eq!(of("To: a@b\r\nBcc: c@d,\r\n e@f\r\nCC:g@h\r\nTo: i@j\r\n\r\nTo: body@x\r\n"), Ok(5));
        assert_eq!(of("To: a@b\r\nBcc: c@d\r\nResent-To: e@f\r\n\r\n"), Ok(1));
        assert_eq!(of("Subject: x\r\n\r\n"), Ok(0));
        assert_eq!(of(&format!("To: a@b\r\nCc: {}\r\n\r\n", "(".repeat(50))), Err("Cc"));
    }

    #[test]
    fn a_local_part_that_is_the_senders_is_completed() {
        let address = "root@shop.example".parse().unwrap();
        for (field, wanted) in [
            ("From: root (Cron Daemon)\r\n", Some("From: Cron Daemon <root@shop.example>\r\n")),
            ("From: Root\r\n", Some("From: <root@shop.example>\r\n")),
            ("FROM: J\u{fc}rgen <root>\r\n", Some("FROM: =?utf-8?B?SsO8cmdlbg==?= <root@shop.example>\r\n")),
            ("From: root@other.example\r\n", None),
            ("From: www-data\r\n", None),
            ("From: root, www-data\r\n", None),
            ("From: root is here\r\n", None),
        ] {
            let (block, _) = HeaderBlock::split(field.as_bytes());
            let got = completed(&block.fields()[0], &address);
            assert_eq!(got.as_ref().map(Field::raw), wanted.map(str::as_bytes), "{field}");
        }
    }

    #[test]
    fn the_author_has_a_name_that_can_be_read() {
        assert_eq!(author("Doe, Jane", "jane").raw(), b"From: \"Doe, Jane\" <jane>\r\n");
        assert_eq!(author("CronDaemon", "root@x.org").raw(), b"From: CronDaemon <root@x.org>\r\n");
    }

    proptest! {
        #[test]
        fn no_path_can_break_a_command(value in prop::collection::vec(any::<u8>(), 0..80)) {
            for one in read(&value).into_iter().flatten() {
                if let Addressee::Path(path) = one {
                    prop_assert!(!path.chars().any(char::is_control), "{path:?}");
                    prop_assert!(is_path(&path));
                }
            }
        }
    }
}
