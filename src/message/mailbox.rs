//! Mailbox lists as headers hold them (RFC 5322 §3.4), read as tolerantly as people write them and written strictly.

pub mod addressees;

use super::encoded_word::{self, to_text};
use super::header::is_blank;
use crate::smtp::Address;

/// One mailbox of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The display name as it is written, with its quotes and encoded words; empty where there is none.
    name: Vec<u8>,
    /// What stands where the address should be.
    spec: String,
    /// Whether every reader finds the same address in it: `x@y <x@y>` and `Jane jane@x.org` are not such.
    pub(super) form: Form,
}

/// How a mailbox is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As RFC 5322 has it, or nearly so.
    Plain,
    /// An address alone, perhaps with a comment, without brackets: as RFC 5322 has it, but not for strict readers.
    Bare,
    /// An address stands bare in the display name, brackets are missing or followed by words, or it is in a group.
    Misleading,
}

/// Reads a list; members of groups count, names of groups do not. A mailbox without an address is read too. A list that
/// is longer or more broken than people write them names nobody: were it cut, an address could hide behind the cut.
pub(super) fn read_list(value: &[u8]) -> Vec<Mailbox> {
    if value.len() > LIST_OCTETS {
        return Vec::new();
    }
    elements(value).into_iter().filter_map(Mailbox::read).collect()
}

impl Mailbox {
    pub(super) fn new(name: &[u8], address: &Address) -> Self {
        Self { name: name.to_vec(), spec: address.to_string(), form: Form::Plain }
    }

    /// The same name on another address.
    pub(super) fn with_address(&self, address: &Address) -> Self {
        Self::new(&self.name, address)
    }

    /// The address, where there is one that makes sense.
    pub(super) fn address(&self) -> Option<Address> {
        self.spec.parse().ok()
    }

    /// The display name as a reader sees it; empty where there is none.
    pub(super) fn name(&self) -> String {
        name_text(&self.name)
    }

    /// The name and the address as someone wrote them, for the log.
    pub(super) fn as_written(&self) -> String {
        if self.spec.is_empty() { self.name() } else { self.spec.clone() }
    }

    /// The mailbox as RFC 5322 wants it, in brackets, without which Microsoft refuses some: the name unchanged where it is well formed, quoted or encoded where it is not.
    pub(super) fn write(&self) -> Vec<u8> {
        if self.name.is_empty() {
            return format!("<{}>", self.spec).into_bytes();
        }
        let name = if is_phrase(&self.name) { self.name.clone() } else { write_name(&self.name()) };
        [&name[..], b" <", self.spec.as_bytes(), b">"].concat()
    }

    fn read(element: Element) -> Option<Self> {
        let Element { words, angle, comment, odd } = element;
        let bare: Vec<&[u8]> = words.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).collect();
        let (name, spec, form) = match angle {
            Some(angle) => {
                let odd = odd || has_bare_at(&words) || angle.first() == Some(&b'@');
                (words.clone(), angle, if odd { Form::Misleading } else { Form::Plain })
            }
            None => match bare.iter().rposition(|word| to_text(word).parse::<Address>().is_ok()) {
                Some(at) => {
                    let name = [&bare[..at], &bare[at + 1..]].concat().join(&b' ');
                    let form = if name.is_empty() && !odd { Form::Bare } else { Form::Misleading };
                    (name, bare[at].to_vec(), form)
                }
                // RFC 5322 §4.4 lets old mail have white space around the dots and the at sign.
                None if words.contains(&b'@') => (Vec::new(), bare.concat(), Form::Misleading),
                None => (words.clone(), Vec::new(), Form::Misleading),
            },
        };
        let name = if name.is_empty() { comment } else { name };
        if name.is_empty() && spec.is_empty() {
            return None;
        }
        let spec = to_text(&spec).replace([' ', '\t'], "");
        // The old source route: <@relay,@other:jane@example.org> (RFC 5322 §4.4).
        let spec = match spec.split_once(':') {
            Some((route, spec)) if route.starts_with('@') => spec.to_owned(),
            _ => spec,
        };
        Some(Self { name, spec, form })
    }
}

/// A display name for `text`: atoms as they are, else quoted, else encoded.
pub(super) fn write_name(text: &str) -> Vec<u8> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    if is_phrase(text.as_bytes()) && text.len() <= QUOTED_OCTETS {
        text.as_bytes().to_vec()
    } else if text.is_ascii() && text.len() <= QUOTED_OCTETS && !text.contains("=?") {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes()
    } else {
        encoded_word::encode(text).into_bytes()
    }
}

/// The list with every display name and comment in ASCII and in words of at most `room` octets, and all else as it was but
/// for a space behind the commas of a long list; nothing where an address is not ASCII.
pub(super) fn encode_list(value: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut encoded = Vec::with_capacity(value.len() * 2);
    let mut words = Vec::new();
    let mut closers = Closers::default();
    let mut at = 0;
    let dense = !fits(value, room);
    while at < value.len() {
        let token = &value[at..at + closers.token_octets(&value[at..])];
        at += token.len();
        match token[0] {
            b'<' | b',' | b';' | b':' => {
                encoded.extend(encode_words(&words, room)?);
                encoded.extend(token.is_ascii().then_some(token)?);
                if dense && matches!(token, b"," | b";") && value.get(at).is_some_and(|byte| !is_blank(*byte)) {
                    encoded.push(b' ');
                }
                words.clear();
            }
            b'(' if token.len() > 1 => {
                encoded.extend(encode_words(&words, room)?);
                encoded.extend(encode_comment(token, room));
                words.clear();
            }
            _ => words.extend_from_slice(token),
        }
    }
    encoded.extend(encode_words(&words, room)?);
    Some(encoded)
}

/// Whether it is ASCII and every word of it fits a line.
fn fits(words: &[u8], room: usize) -> bool {
    words.is_ascii() && words.split(|byte| is_blank(*byte)).all(|word| word.len() <= room)
}

fn encode_words(words: &[u8], room: usize) -> Option<Vec<u8>> {
    if fits(words, room) {
        return Some(words.to_vec());
    }
    if has_bare_at(words) {
        // A name and an address without brackets; the address must come through as it is.
        let encoded = encoded_word::encode_unstructured(words, room);
        let ats = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'@').count();
        return if ats(&encoded) == ats(words) { Some(encoded) } else { words.is_ascii().then(|| words.to_vec()) };
    }
    let start = words.len() - words.trim_ascii_start().len();
    let end = words.trim_ascii_end().len();
    Some([&words[..start], &write_name(&name_text(words)), &words[end..]].concat())
}

fn encode_comment(comment: &[u8], room: usize) -> Vec<u8> {
    let text = inside(comment, b')');
    let encoded = match text {
        text if fits(text, room) => text.to_vec(),
        // Half of a comment inside the comment must not be encoded away.
        text if text.contains(&b'(') => encoded_word::encode(&encoded_word::decode(text)).into_bytes(),
        text => encoded_word::encode_unstructured(text, room),
    };
    [b"(", &encoded[..], b")"].concat()
}

/// Between commas: the words outside comments and angle brackets, what stands in the brackets, and the last comment.
#[derive(Default)]
struct Element {
    words: Vec<u8>,
    angle: Option<Vec<u8>>,
    comment: Vec<u8>,
    /// It is in a group, its brackets do not close, or words follow them.
    odd: bool,
}

fn elements(value: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut element = Element::default();
    let last_semicolon = value.iter().rposition(|byte| *byte == b';');
    let mut closers = Closers::default();
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        let rest = &value[at..];
        let octets = closers.token_octets(rest);
        let token = &rest[..octets];
        match byte {
            b'(' => element.comment = inside(token, b')').trim_ascii().to_vec(),
            // A second pair of brackets leaves open whom the mail is from: then it is from nobody.
            b'<' if element.angle.is_some() => element.angle = Some(Vec::new()),
            b'<' => {
                element.angle = Some(inside(token, b'>').trim_ascii().to_vec());
                element.odd |= token.last() != Some(&b'>');
            }
            b',' | b';' => elements.push(std::mem::take(&mut element)),
            b':' if element.angle.is_none() && Some(at) < last_semicolon => {
                element = Element { odd: true, ..Element::default() };
            }
            _ => {
                element.odd |= element.angle.is_some() && !is_blank(*byte);
                element.words.extend_from_slice(token);
            }
        }
        at += octets;
    }
    if closers.gave_up() {
        return Vec::new();
    }
    elements.push(element);
    for element in &mut elements {
        element.words = element.words.trim_ascii().to_vec();
    }
    elements
}

/// Looks for the ends of tokens, and gives up where too many have none: each search that fails begins again at the next
/// byte, and a hostile value could be made of nothing else.
#[derive(Default)]
struct Closers {
    missing: u32,
}

impl Closers {
    /// Octets of the quoted string, comment, address in brackets, encoded word, literal, or other byte at the beginning.
    fn token_octets(&mut self, rest: &[u8]) -> usize {
        let rest = &rest[..rest.len().min(TOKEN_OCTETS)];
        match rest {
            [b'"', ..] => self.quoted_octets(rest),
            [b'(', ..] => self.search(rest, comment_octets).unwrap_or(1),
            [b'<', ..] => self.search(rest, angle_octets).unwrap_or_else(|| until_separator(rest)),
            // An encoded word is no place for commas and brackets (RFC 2047 §5), but some mailers put them there.
            [b'=', b'?', ..] => self.search(rest, encoded_word::encoded_octets).unwrap_or(1),
            [b'[', ..] => self.search(rest, |rest| closed_octets(rest, b']')).unwrap_or(1),
            _ => 1,
        }
    }

    /// Octets of the quoted string at the beginning; a lone quote is one octet.
    fn quoted_octets(&mut self, rest: &[u8]) -> usize {
        self.search(rest, quoted_octets).unwrap_or(1)
    }

    fn search(&mut self, rest: &[u8], octets: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        if self.gave_up() {
            return None;
        }
        let found = octets(&rest[..rest.len().min(TOKEN_OCTETS)]);
        self.missing += u32::from(found.is_none());
        found
    }

    fn gave_up(&self) -> bool {
        self.missing > MISSING_CLOSERS
    }
}

/// A token without its first byte and, where it has it, its closing one.
fn inside(token: &[u8], closing: u8) -> &[u8] {
    let token = token.get(1..).unwrap_or_default();
    token.strip_suffix(&[closing]).unwrap_or(token)
}

/// Octets of the quoted string at the beginning.
fn quoted_octets(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return Some(index + 1),
            _ => escaped = *byte == b'\\' && !escaped,
        }
    }
    None
}

/// Octets of the comment at the beginning, with comments inside it.
fn comment_octets(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut escaped) = (0_u32, false);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(index + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn closed_octets(bytes: &[u8], closing: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == closing).map(|end| end + 1)
}

/// Octets of the address in brackets at the beginning: a quoted local part may hold the closing bracket (RFC 5321 §4.1.2).
/// Where a quote does not close, the first bracket counts.
fn angle_octets(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'>' => return Some(at + 1),
            b'"' => match quoted_octets(&bytes[at..]) {
                Some(octets) => at += octets,
                None => return closed_octets(bytes, b'>'),
            },
            _ => at += 1,
        }
    }
}

fn until_separator(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b',' | b';')).unwrap_or(bytes.len())
}

/// Whether every reader takes it for one display name: atoms, quoted strings and encoded words (RFC 5322 §3.2.5), with
/// the dots that §4.1 allows, all ASCII and of a length that can be folded.
fn is_phrase(name: &[u8]) -> bool {
    let mut rest = name.trim_ascii();
    while let Some(byte) = rest.first() {
        let octets = match byte {
            b'"' => {
                let octets = Closers::default().quoted_octets(rest);
                let printable = rest[..octets].iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
                if octets == 1 || !printable || looks_encoded(&rest[..octets]) {
                    return false;
                }
                octets
            }
            byte if is_blank(*byte) => 1,
            _ => {
                let octets = rest.iter().take_while(|byte| is_atom_octet(**byte)).count();
                if looks_encoded(&rest[..octets]) && !encoded_word::is_encoded(&rest[..octets]) {
                    return false;
                }
                octets
            }
        };
        if octets == 0 || octets > QUOTED_OCTETS {
            return false;
        }
        rest = &rest[octets..];
    }
    true
}

/// Some readers decode what begins like an encoded word wherever it stands, and beyond a closing quote.
fn looks_encoded(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"=?")
}

fn is_atom_octet(byte: u8) -> bool {
    byte == b'.' || crate::smtp::address::is_atext(char::from(byte))
}

fn has_bare_at(words: &[u8]) -> bool {
    let mut closers = Closers::default();
    let mut rest = words;
    while let Some(byte) = rest.first() {
        match byte {
            b'@' => return true,
            b'"' => rest = &rest[closers.quoted_octets(rest)..],
            _ => rest = &rest[1..],
        }
    }
    false
}

/// A phrase as text: quotes and backslashes removed, encoded words decoded, also inside quotes, where they should not be
/// but often are.
fn name_text(phrase: &[u8]) -> String {
    let mut unquoted = Vec::with_capacity(phrase.len());
    let mut closers = Closers::default();
    let mut rest = phrase;
    while let Some(byte) = rest.first() {
        let octets = if *byte == b'"' { closers.quoted_octets(rest) } else { 1 };
        if octets > 1 {
            let mut escaped = false;
            for byte in &rest[1..octets - 1] {
                escaped = *byte == b'\\' && !escaped;
                if !escaped {
                    unquoted.push(*byte);
                }
            }
        } else {
            unquoted.push(*byte);
        }
        rest = &rest[octets..];
    }
    encoded_word::decode(unquoted.trim_ascii())
}

/// How long a list of senders may be: a hundred of them.
const LIST_OCTETS: usize = 8 * 1024;

/// How far the end of a token is looked for. Nothing real is longer than a line (RFC 5322 §2.1.1).
const TOKEN_OCTETS: usize = 998;

/// How many tokens may have no end: people write `:-(`, and an apostrophe for a quote, but not often.
const MISSING_CLOSERS: u32 = 16;

/// Far enough below the 998 octets of a line (RFC 5322 §2.1.1) to stand on one with an address.
const QUOTED_OCTETS: usize = 250;

#[cfg(test)]
mod tests;
