//! The structure of MIME entities (RFC 2045, RFC 2046), read as far as re-encoding asks for it.

use super::header::is_blank;
use super::lines;

/// A `Content-Type:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType {
    /// `text/plain`, in lower case.
    pub(super) name: String,
    /// The boundary of a multipart: one to any number of ASCII characters.
    boundary: Option<Vec<u8>>,
    /// The charset of a text, as it is written.
    pub(super) charset: Option<String>,
}

/// A stretch of a multipart body. All of them in a row are the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section<'a> {
    /// Preamble, delimiter lines and epilogue, with the line ends that belong to a delimiter.
    Frame(&'a [u8]),
    /// A part: its header, empty line and body.
    Part(&'a [u8]),
}

impl MediaType {
    pub(super) fn read(value: &[u8]) -> Self {
        let parameters = parameters(value);
        let name = parameters.first().copied().unwrap_or_default();
        let bare = without_comments(name);
        let mut words = bare.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        // What stands in front of a type is passed over by readers: what they take for signed must not be touched.
        let typed = words.clone().find(|word| word.contains(&b'/'));
        let name = typed.or_else(|| words.next()).unwrap_or_default();
        let parameter = |wanted: &[u8]| {
            parameters.iter().skip(1).find_map(|parameter| {
                let (name, value) = name_and_value(parameter)?;
                name.eq_ignore_ascii_case(wanted).then(|| unquoted(value))
            })
        };
        Self {
            name: String::from_utf8_lossy(name).to_ascii_lowercase(),
            boundary: parameter(b"boundary").filter(|boundary| !boundary.is_empty() && boundary.is_ascii()),
            charset: parameter(b"charset").and_then(|charset| String::from_utf8(charset).ok()),
        }
    }

    pub(super) fn is_multipart(&self) -> bool {
        self.name.starts_with("multipart/")
    }

    /// Whether a body of this type is text; what is no type at all is (RFC 2045 §5.2).
    pub(super) fn is_text(&self) -> bool {
        self.name.starts_with("text/") || !self.name.contains('/')
    }

    /// What is signed, encrypted or another message is not ours to re-encode (RFC 1847 §2.1, RFC 2046 §5.2).
    pub(super) fn is_protected(&self) -> bool {
        matches!(self.name.as_str(), "multipart/signed" | "multipart/encrypted") || self.name.starts_with("message/")
    }

    /// Parts a multipart body at its delimiter lines (RFC 2046 §5.1.1); nothing where it has none.
    pub(super) fn sections<'a>(&'a self, body: &'a [u8]) -> Option<Sections<'a>> {
        let boundary = self.boundary.as_deref()?;
        let sections = Sections { boundary, body, begin: 0, next: Next::Frame };
        lines::each(body).any(|line| sections.delimiter(line).is_some()).then_some(sections)
    }

    /// Whether this line of a multipart body is one of its delimiters.
    pub(super) fn is_delimiter(&self, line: &[u8]) -> bool {
        self.boundary.as_deref().is_some_and(|boundary| Delimiter::read(line, boundary).is_some())
    }
}

/// The stretches of a multipart body, one at a time: there may be as many as it has lines.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    boundary: &'a [u8],
    body: &'a [u8],
    /// Where the next stretch begins.
    begin: usize,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Frame,
    Part,
    Nothing,
}

impl Sections<'_> {
    fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        Delimiter::read(line, self.boundary)
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let rest = &self.body[self.begin..];
        let mut lines = lines::each(rest).scan(0, |end, line| {
            *end += line.len();
            Some((*end - line.len(), *end, self.delimiter(line)))
        });
        let (section, next) = match self.next {
            Next::Nothing => return None,
            Next::Frame => match lines.find_map(|(_, end, delimiter)| delimiter.map(|delimiter| (end, delimiter))) {
                Some((end, Delimiter::Part)) => (Section::Frame(&rest[..end]), Next::Part),
                // Behind the close delimiter all is epilogue.
                _ => (Section::Frame(rest), Next::Nothing),
            },
            Next::Part => match lines.find_map(|(begin, _, delimiter)| delimiter.map(|_| begin)) {
                // The line end in front of a delimiter belongs to it.
                Some(begin) => (Section::Part(lines::parted(&rest[..begin]).0), Next::Frame),
                // Never closed: the last part goes to the end.
                None => (Section::Part(rest), Next::Nothing),
            },
        };
        self.begin += section.octets().len();
        self.next = next;
        Some(section)
    }
}

impl<'a> Section<'a> {
    pub(super) fn octets(self) -> &'a [u8] {
        let (Self::Frame(octets) | Self::Part(octets)) = self;
        octets
    }
}

enum Delimiter {
    Part,
    Close,
}

impl Delimiter {
    fn read(line: &[u8], boundary: &[u8]) -> Option<Self> {
        match line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end() {
            b"" => Some(Self::Part),
            b"--" => Some(Self::Close),
            _ => None,
        }
    }
}

/// The value of a field parted at semicolons outside quotes: first the type or disposition, then its parameters.
pub(super) fn parameters(value: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(|byte| {
        let separates = *byte == b';' && !quoted;
        match byte {
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *byte == b'\\' && !escaped;
        separates
    });
    parts.map(<[u8]>::trim_ascii).collect()
}

/// What stands outside of comments (RFC 5322 §3.2.2).
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let outside = text.iter().filter(|byte| {
        let before = depth;
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before == 0 && depth == 0
    });
    outside.copied().collect()
}

/// A parameter's name and its value as it is written.
pub(super) fn name_and_value(parameter: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = parameter.iter().position(|byte| *byte == b'=')?;
    Some((parameter[..equals].trim_ascii_end(), parameter[equals + 1..].trim_ascii_start()))
}

/// The value without its quotes; of an unquoted one what stands before white space or a comment.
pub(super) fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        return value.iter().copied().take_while(|byte| !is_blank(*byte) && *byte != b'(').collect();
    };
    let mut text = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => text.extend(bytes.next()),
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_read() {
        for (value, name, boundary) in [
            ("text/plain", "text/plain", None),
            ("Multipart/MIXED; boundary=\"a b;c\"; x=y", "multipart/mixed", Some("a b;c")),
            ("multipart/mixed;charset=x; BOUNDARY = abc (comment)", "multipart/mixed", Some("abc")),
            ("multipart/mixed (x); boundary=\"a\\\"b\"", "multipart/mixed", Some("a\"b")),
            ("multipart/mixed; boundary=", "multipart/mixed", None),
            ("x multipart/signed; boundary=b", "multipart/signed", Some("b")),
            ("text/plain charset=a/b", "text/plain", None),
            ("(a (b)) multipart/signed(c); boundary=b", "multipart/signed", Some("b")),
            ("text", "text", None),
            ("", "", None),
        ] {
            let boundary = boundary.map(|boundary: &str| boundary.as_bytes().to_vec());
            let media = MediaType::read(value.as_bytes());
            assert_eq!((media.name.as_str(), media.boundary), (name, boundary), "{value}");
        }
    }

    #[test]
    fn bodies_are_parted_at_whole_delimiter_lines() {
        use Section::{Frame, Part};
        let multipart = MediaType::read(b"multipart/mixed; boundary=b");
        for (body, expected) in [
            (
                "pre\r\n--b\r\none\r\n--b \t\r\n\r\ntwo\r\n\r\n--b--\r\nepi\r\n--b\r\n",
                vec![
                    Frame(&b"pre\r\n--b\r\n"[..]),
                    Part(b"one"),
                    Frame(b"\r\n--b \t\r\n"),
                    Part(b"\r\ntwo\r\n"),
                    Frame(b"\r\n--b--\r\nepi\r\n--b\r\n"),
                ],
            ),
            ("--b\r\n--bc\r\nx--b\r\n", vec![Frame(b"--b\r\n"), Part(b"--bc\r\nx--b\r\n")]),
            ("--b\r\n--b--", vec![Frame(b"--b\r\n"), Part(b""), Frame(b"--b--")]),
            ("--b--\r\nx", vec![Frame(b"--b--\r\nx")]),
        ] {
            let sections: Vec<Section<'_>> = multipart.sections(body.as_bytes()).unwrap().collect();
            assert_eq!(sections, expected, "{body}");
        }
        assert!(multipart.sections(b"no parts\r\n").is_none());
        assert!(MediaType::read(b"multipart/mixed").sections(b"--\r\n").is_none());
    }

    proptest! {
        #[test]
        fn sections_in_a_row_are_the_body(body in "(--b|--b--|\r\n|\n|a|-| ){0,30}") {
            let multipart = MediaType::read(b"multipart/mixed; boundary=b");
            let Some(sections) = multipart.sections(body.as_bytes()) else { return Ok(()) };
            let joined: Vec<&[u8]> = sections.map(Section::octets).collect();
            prop_assert_eq!(joined.concat(), body.as_bytes());
        }

        #[test]
        fn no_value_is_too_odd(value in prop::collection::vec(any::<u8>(), 0..60)) {
            MediaType::read(&value);
        }
    }
}
