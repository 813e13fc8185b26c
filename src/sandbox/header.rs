//! The few header fields that the sandbox looks at. It reads them leniently, and never changes a byte.

/// The header block: everything before the first empty line.
pub(super) fn block(content: &[u8]) -> &[u8] {
    if content.starts_with(b"\r\n") {
        return &[];
    }
    content.windows(4).position(|four| four == b"\r\n\r\n").map_or(content, |end| &content[..end + 2])
}

/// The bodies of the fields of this name, unfolded and trimmed.
pub(super) fn fields(block: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(block);
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(body) = found.last_mut().filter(|_| inside) {
                body.push(' ');
                body.push_str(line.trim());
            }
            continue;
        }
        let body = line.split_once(':').filter(|(field, _)| field.trim_end().eq_ignore_ascii_case(name));
        inside = body.is_some();
        found.extend(body.map(|(_, body)| body.trim().to_owned()));
    }
    found
}

/// The address of a field of one mailbox: what stands in the last angle brackets, else all of it.
pub(super) fn address(body: &str) -> &str {
    let inside = body.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(body, |(address, _)| address).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_found_in_any_case() {
        let content =
            b"FROM: \"<a@b>\"\r\n <c@d>\r\nX-From: no\r\nSubject : one\r\nsubject:two\r\n\tthree\r\n\r\nFrom: body\r\n";
        let block = block(content);
        assert_eq!(fields(block, "From"), ["\"<a@b>\" <c@d>"]);
        assert_eq!(address(&fields(block, "From")[0]), "c@d");
        assert_eq!(fields(block, "Subject"), ["one", "two three"]);
        assert_eq!(address(" x@y "), "x@y");
        assert_eq!(fields(super::block(b"\r\nFrom: body\r\n"), "From"), [""; 0]);
    }
}
