//! Some smarthosts and identity providers repeat in a refusal what they were sent. What they say is logged and stored: what
//! is secret in it must not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth2::url::form_urlencoded;

/// What must not be seen of a login: a password or a token, and the lines in which it is sent.
pub struct Hidden {
    /// Hidden wherever they stand.
    whole: Vec<String>,
    /// Hidden from their beginning as far as they go: who repeats a line may cut it short.
    begun: Vec<String>,
}

impl Hidden {
    /// For a secret and the lines in which it is sent.
    pub fn new<'l>(secret: &str, lines: impl Iterator<Item = &'l str>) -> Self {
        let printed: String = secret.bytes().map(as_replies_have_it).collect();
        let quoted = format!("{printed:?}");
        let mut whole = vec![secret.to_owned(), quoted[1..quoted.len() - 1].to_owned(), printed];
        whole.extend(in_base64(secret));
        let coded = lines.filter_map(|line| line.rsplit(' ').next()).filter(|word| !MECHANISMS.contains(word));
        let mut hidden = Self { whole, begun: coded.map(str::to_owned).collect() };
        hidden.whole.retain(|form| form.len() >= SHORTEST);
        // The longest first: one may be part of another.
        hidden.whole.sort_by_key(|form| std::cmp::Reverse(form.len()));
        hidden
    }

    /// For a secret that is sent in a form (`application/x-www-form-urlencoded`).
    pub(super) fn in_form(secret: &str) -> Self {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let forms = [secret, &encoded].into_iter().filter(|form| form.len() >= SHORTEST && !form.contains(' '));
        Self::new(secret, forms)
    }

    /// The text with `…` in place of what is hidden.
    pub fn out_of(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match self.octets_at(rest) {
                Some(octets) => {
                    shown.push('…');
                    rest = &rest[octets..];
                }
                None => {
                    shown.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        shown
    }

    /// How much at the beginning of this is hidden. In any case: some write what they repeat in capitals.
    fn octets_at(&self, text: &str) -> Option<usize> {
        let whole = self.whole.iter().map(|form| (form, form.len()));
        let begun = self.begun.iter().map(|form| (form, SHORTEST_BEGINNING.min(form.len())));
        let found = whole.chain(begun).filter_map(|(form, least)| {
            let alike = text.bytes().zip(form.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            // No character is cut in two.
            (least > 0 && alike >= least && text.is_char_boundary(alike)).then_some(alike)
        });
        found.max()
    }
}

/// The base64 of all that may hold the text: wherever it begins, without the characters it shares with its neighbours.
fn in_base64(text: &str) -> impl Iterator<Item = String> {
    (0..3).map(move |before| {
        let coded = STANDARD.encode([&vec![0; before], text.as_bytes()].concat());
        let (begin, end) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
        coded[begin.min(end)..end].to_owned()
    })
}

/// As octets beyond printable ASCII come out of a reply.
fn as_replies_have_it(octet: u8) -> char {
    if matches!(octet, b' '..=b'~') { char::from(octet) } else { '?' }
}

/// What stands alone in the line that begins an exchange.
const MECHANISMS: [&str; 2] = ["LOGIN", "XOAUTH2"];
/// A shorter password is no secret, and would take the sense out of a reply.
const SHORTEST: usize = 4;
/// Fewer characters of a line are found in what was not repeated, too.
const SHORTEST_BEGINNING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "pass \"wörd\"";

    #[test]
    fn what_is_repeated_is_hidden_in_all_its_forms() {
        let plain = STANDARD.encode(format!("\0tim\0{PASSWORD}"));
        let line = format!("AUTH PLAIN {plain}");
        let hidden = Hidden::new(PASSWORD, ["AUTH LOGIN", &line, "dGlt"].into_iter());
        for (text, wanted) in [
            (format!("5.5.1 Command unrecognized: \"{line}\""), "5.5.1 Command unrecognized: \"AUTH PLAIN …\""),
            (format!("unknown: {}", line.to_uppercase()), "unknown: AUTH PLAIN …"),
            (format!("cut: {}...", &line[..25]), "cut: AUTH PLAIN …..."),
            (format!("no {PASSWORD}!"), "no …!"),
            ("no pass \"w??rd\"!".into(), "no …!"),
            (format!("{:?}", "no pass \"w??rd\"!"), "\"no …!\""),
            (format!("in between {}", STANDARD.encode(format!("x{PASSWORD}"))), "in between eH…g"),
            ("dGlt?".into(), "…?"),
            (
                "AUTH LOGIN is disabled for pass, wörd and AHRpb".into(),
                "AUTH LOGIN is disabled for pass, wörd and AHRpb",
            ),
        ] {
            assert_eq!(hidden.out_of(&text).trim_end_matches('='), wanted, "{text}");
        }
    }

    #[test]
    fn a_password_that_is_none_leaves_replies_as_they_are() {
        let hidden = Hidden::new("5", ["AUTH LOGIN", "dGlt", "NQ=="].into_iter());
        assert_eq!(hidden.out_of("5.7.139 Authentication unsuccessful"), "5.7.139 Authentication unsuccessful");
        assert_eq!(Hidden::new("", std::iter::once("")).out_of("5.7.3 no"), "5.7.3 no");
    }
}
