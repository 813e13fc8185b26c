//! The header block of a message (RFC 5322 §2.2) as a list of raw fields. An edit touches the fields it names; all other
//! bytes are written back as they came. Only the top block: the headers of MIME parts and of enclosed messages are body.
//!
//! What devices write is read: no space after the colon, space before it, 8-bit text, bare LF. The block ends at the
//! first empty line, or at the first line that is no field: such a message lacks its empty line, and gets one as soon as
//! anything in the block is edited.

use std::borrow::Cow;

/// One field: name, colon, value with its folding, line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    raw: Cow<'a, [u8]>,
    name_octets: usize,
    /// Where the value begins, behind the colon.
    value: usize,
}

/// The fields in their order, and the empty line behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderBlock<'a> {
    fields: Vec<Field<'a>>,
    /// The line end of the empty line; nothing where the message has none.
    separator: &'a [u8],
}

impl<'a> HeaderBlock<'a> {
    /// Parts content into its header block and its body. Every byte is in one of them; content that does not begin with
    /// a field or an empty line is all body.
    pub fn split(content: &'a [u8]) -> (Self, &'a [u8]) {
        let mut fields = Vec::new();
        let mut rest = content;
        while let Some((field, behind)) = Field::read(rest) {
            fields.push(field);
            rest = behind;
        }
        let separator = match rest {
            [b'\r', b'\n', ..] => &rest[..2],
            [b'\n', ..] => &rest[..1],
            _ => &[],
        };
        (Self { fields, separator }, &rest[separator.len()..])
    }

    /// Octets of the fields of content, counted until they are more than `limit`; no list of them is made.
    pub(super) fn octets(content: &[u8], limit: usize) -> usize {
        let mut counted = 0;
        while counted <= limit
            && let Some((field, _)) = Field::read(&content[counted..])
        {
            counted += field.raw.len();
        }
        counted
    }

    /// The fields from top to bottom.
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The fields of this name, from top to bottom. Names are compared without regard to case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The topmost field of this name.
    pub fn find(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.is(name))
    }

    /// How many fields have this name.
    pub fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// Puts a field above all others.
    pub fn prepend(&mut self, field: Field<'a>) {
        self.end_lines();
        self.fields.insert(0, field);
    }

    /// Puts a field below all others.
    pub fn append(&mut self, field: Field<'a>) {
        self.end_lines();
        self.fields.push(field);
    }

    /// Makes a field the only one of its name, in the place of the topmost; appends it where there is none.
    pub fn set(&mut self, field: Field<'a>) {
        if let Some(place) = self.fields.iter().position(|old| old.is(field.name())) {
            let below = self.fields.split_off(place + 1);
            self.fields.extend(below.into_iter().filter(|old| !old.is(field.name())));
        }
        self.replace_topmost(field);
    }

    /// Puts a field in the place of the topmost of its name; appends it where there is none.
    pub fn replace_topmost(&mut self, field: Field<'a>) {
        self.end_lines();
        match self.fields.iter_mut().find(|old| old.is(field.name())) {
            Some(old) => *old = field,
            None => self.fields.push(field),
        }
    }

    /// Removes the fields for which `unwanted` holds; tells how many there were.
    pub fn remove_where(&mut self, mut unwanted: impl FnMut(&Field<'a>) -> bool) -> usize {
        let before = self.fields.len();
        self.fields.retain(|field| !unwanted(field));
        let removed = before - self.fields.len();
        if removed > 0 {
            self.end_lines();
        }
        removed
    }

    /// Replaces each field by what `edit` makes of it, where it makes something.
    ///
    /// # Errors
    /// The first of `edit`; the fields before stay replaced.
    pub fn try_edit<E>(&mut self, mut edit: impl FnMut(&Field<'a>) -> Result<Option<Field<'a>>, E>) -> Result<(), E> {
        for index in 0..self.fields.len() {
            if let Some(field) = edit(&self.fields[index])? {
                self.end_lines();
                self.fields[index] = field;
            }
        }
        Ok(())
    }

    /// Supplies the empty line where it is missing, before the body is edited: the new one might begin like a field.
    pub(super) fn close(&mut self) {
        if self.separator.is_empty() {
            self.end_lines();
            if let Some(last) = self.fields.last_mut() {
                last.raw.to_mut();
            }
        }
    }

    /// Whether a field was added, replaced or closed since the block was read.
    pub(super) fn is_edited(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.raw, Cow::Owned(_)))
    }

    /// The block and its empty line as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.fields.iter().map(|field| field.raw.len()).sum::<usize>() + 2);
        for field in &self.fields {
            bytes.extend_from_slice(&field.raw);
        }
        bytes.extend_from_slice(self.separator);
        bytes
    }

    /// The block, its empty line and `body`: what [`HeaderBlock::split`] parted.
    pub fn join(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// Before an edit: the last line ends, and an empty line follows.
    fn end_lines(&mut self) {
        if let Some(last) = self.fields.last_mut()
            && last.raw.last() != Some(&b'\n')
        {
            last.raw.to_mut().extend_from_slice(b"\r\n");
        }
        if self.separator.is_empty() {
            self.separator = b"\r\n";
        }
    }
}

impl<'a> Field<'a> {
    /// A field of `name` with this value, folded at white space so that lines are of 78 octets where they can be (RFC
    /// 5322 §2.1.1). Line ends and NUL in the value become spaces.
    pub fn folded(name: &str, value: &[u8]) -> Field<'static> {
        let value: Vec<u8> =
            value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }).collect();
        let mut raw = format!("{name}: ").into_bytes();
        let mut column = raw.len();
        let mut rest = value.trim_ascii();
        while !rest.is_empty() {
            let space = rest.iter().take_while(|byte| is_blank(**byte)).count();
            let word = rest[space..].iter().take_while(|byte| !is_blank(**byte)).count();
            if column + space + word > LINE_OCTETS && space > 0 {
                raw.extend_from_slice(b"\r\n");
                column = 0;
            }
            raw.extend_from_slice(&rest[..space + word]);
            column += space + word;
            rest = &rest[space + word..];
        }
        raw.extend_from_slice(b"\r\n");
        Field { raw: raw.into(), name_octets: name.len(), value: name.len() + 1 }
    }

    /// A field of `name` whose value has these lines, none of them empty or with a line end inside.
    pub(super) fn from_lines(name: &str, lines: &[String]) -> Field<'static> {
        let raw = format!("{name}: {}\r\n", lines.join("\r\n ")).into_bytes();
        Field { raw: raw.into(), name_octets: name.len(), value: name.len() + 1 }
    }

    /// The name as it is written.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.raw[..self.name_octets]).unwrap_or_default()
    }

    /// Whether it has this name, without regard to case.
    pub fn is(&self, name: &str) -> bool {
        self.raw[..self.name_octets].eq_ignore_ascii_case(name.as_bytes())
    }

    /// The whole field with its folding and its line end.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The value on one line: line ends removed (RFC 5322 §2.2.3), white space around it too.
    pub fn value(&self) -> Vec<u8> {
        let on_one_line: Vec<u8> =
            self.raw[self.value..].iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        on_one_line.trim_ascii().to_vec()
    }

    /// The field at the beginning of `content` with its continuation lines, and what follows it.
    fn read(content: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let name_octets = content.iter().take_while(|byte| byte.is_ascii_graphic() && **byte != b':').count();
        let space = content[name_octets..].iter().take_while(|byte| is_blank(**byte)).count();
        let colon = name_octets + space;
        if name_octets == 0 || content.get(colon) != Some(&b':') {
            return None;
        }
        let mut end = line_octets(content);
        while content.get(end).copied().is_some_and(is_blank) {
            end += line_octets(&content[end..]);
        }
        let (raw, behind) = content.split_at(end);
        Some((Self { raw: raw.into(), name_octets, value: colon + 1 }, behind))
    }
}

/// RFC 5322 §2.1.1: what a line should not exceed, without its end.
const LINE_OCTETS: usize = 78;

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Octets of the first line of `bytes` with its end.
pub(super) fn line_octets(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(content: &str) -> (Vec<String>, String) {
        let (block, body) = HeaderBlock::split(content.as_bytes());
        let names = block.fields().iter().map(|field| field.name().to_owned()).collect();
        (names, String::from_utf8_lossy(body).into_owned())
    }

    #[test]
    fn the_block_ends_where_the_fields_end() {
        for (content, fields, body) in [
            ("A: 1\r\nB: 2\r\n\r\nC: 3\r\n", vec!["A", "B"], "C: 3\r\n"),
            ("\r\nA: 1\r\n", vec![], "A: 1\r\n"),
            ("Alarm in hall 3\r\nA: 1\r\n", vec![], "Alarm in hall 3\r\nA: 1\r\n"),
            ("A: 1\r\nSmoke.\r\n\r\nB: 2", vec!["A"], "Smoke.\r\n\r\nB: 2"),
            ("A:1\r\n\tfolded: yes\r\nB : 2\r\n\r\n", vec!["A", "B"], ""),
            ("A: 1\nB: 2\n\nbody", vec!["A", "B"], "body"),
            ("My field: 1\r\n\r\nbody", vec![], "My field: 1\r\n\r\nbody"),
            (": 1\r\n", vec![], ": 1\r\n"),
            (" A: 1\r\n", vec![], " A: 1\r\n"),
            ("A: ü", vec!["A"], ""),
            ("", vec![], ""),
        ] {
            assert_eq!(
                names(content),
                (fields.into_iter().map(str::to_owned).collect(), body.to_owned()),
                "{content:?}"
            );
        }
    }

    #[test]
    fn values_are_unfolded() {
        let (block, _) = HeaderBlock::split(b"From:x@y\r\n <x@y>  \r\nSubject :\r\n a\r\n\tb\r\n\r\n");
        assert_eq!(block.find("FROM").unwrap().value(), b"x@y <x@y>");
        assert_eq!(block.find("subject").unwrap().value(), b"a\tb");
        assert_eq!((block.count("from"), block.count("to")), (1, 0));
    }

    #[test]
    fn an_edit_leaves_the_other_fields_and_supplies_what_is_missing() {
        let edit = |content: &str, edit: fn(&mut HeaderBlock<'_>)| {
            let (mut block, body) = HeaderBlock::split(content.as_bytes());
            edit(&mut block);
            String::from_utf8(block.join(body)).unwrap()
        };
        let set = |block: &mut HeaderBlock<'_>| block.set(Field::folded("b", b"new"));
        let remove = |block: &mut HeaderBlock<'_>| {
            block.remove_where(|field| field.is("b"));
        };
        assert_eq!(edit("A:1\r\nB: 1\r\nC :\r\n 1\r\nB: 2\r\n\r\nx", set), "A:1\r\nb: new\r\nC :\r\n 1\r\n\r\nx");
        assert_eq!(edit("A:1", set), "A:1\r\nb: new\r\n\r\n");
        assert_eq!(edit("A:1\r\ntext", set), "A:1\r\nb: new\r\n\r\ntext");
        assert_eq!(edit("text", |block| block.prepend(Field::folded("A", b"1"))), "A: 1\r\n\r\ntext");
        assert_eq!(edit("A: 1\r\nB: 2", remove), "A: 1\r\n\r\n");
        assert_eq!(edit("A: 1\r\ntext", remove), "A: 1\r\ntext");
    }

    #[test]
    fn long_values_are_folded_and_line_ends_cannot_be_smuggled_in() {
        let value = ["word"; 60].join(" ");
        let field = Field::folded("Subject", value.as_bytes());
        assert!(field.raw().split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_OCTETS + 1));
        assert_eq!(field.value(), value.as_bytes());
        assert_eq!(Field::folded("A", b"1\r\nB: 2\0").raw(), b"A: 1  B: 2\r\n");
    }

    proptest! {
        #[test]
        fn split_and_join_lose_nothing(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let (block, body) = HeaderBlock::split(&content);
            prop_assert_eq!(block.join(body), content);
        }

        #[test]
        fn split_and_join_lose_nothing_of_what_looks_like_a_header(content in "([A-Za-z:ü]{0,3}[ :\t\r\n]{1,2}){0,20}") {
            let (block, body) = HeaderBlock::split(content.as_bytes());
            prop_assert_eq!(block.join(body), content.as_bytes());
        }
    }
}
