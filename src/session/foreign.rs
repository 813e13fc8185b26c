//! Who speaks another protocol: a browser, or a client that begins with TLS. Each is told so once; nothing of what it
//! sends is a command, lest a web page make a browser send mail.

/// What is spoken instead of SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// HTTP/1 (RFC 9112 §3) or HTTP/2 (RFC 9113 §3.4).
    Http,
    /// A ClientHello of TLS (RFC 8446 §5.1), or of SSL 2.
    Tls,
}

impl Foreign {
    /// What a line is that begins so; known at the first octets, since binary may have no line end for long.
    pub(super) fn beginning(start: &[u8]) -> Option<Self> {
        match start {
            // A handshake record of any version.
            [0x16, 3, 0..=4, ..] => Some(Self::Tls),
            // SSL 2: a length, CLIENT-HELLO, and the version that is asked for.
            [0x80..=0xFF, _, 1, 0, 2, ..] | [0x80..=0xFF, _, 1, 3, 0..=4, ..] => Some(Self::Tls),
            _ => None,
        }
    }

    /// What a whole line is, or one of which only the start is known.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        Self::beginning(line).or_else(|| is_http(line).then_some(Self::Http))
    }
}

/// A request line: by its method, since its end may be far, or by its end, since methods are many.
fn is_http(line: &[u8]) -> bool {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let has_method = method.len() < line.len() && METHODS.iter().any(|known| known.as_bytes() == method);
    has_method || version.len() < line.len() && version.starts_with(b"HTTP/")
}

/// RFC 9110 §9, RFC 5789, and the first word of HTTP/2. None of them is a command of SMTP.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_told_from_commands() {
        let http = Some(Foreign::Http);
        let tls = Some(Foreign::Tls);
        for (line, foreign) in [
            (b"GET / HTTP/1.1".as_slice(), http),
            (b"PRI * HTTP/2.0", http),
            (b"PROPFIND /x HTTP/1.1", http),
            (b"POST /very/long/of/w", http),
            (b"get / http/1.1", None),
            (b"GETTING x", None),
            (b"GET", None),
            (b"HTTP/1.1", None),
            (b"NOOP GET / x", None),
            (b"MAIL FROM:<HTTP/1.1@x>", None),
            (b"\x16\x03\x01\x02\x00\x01", tls),
            (b"\x16\x03\x01", tls),
            (b"\x16\x03\x01GET / HTTP/1.1", tls),
            (b"\x16\x03", None),
            (b"\x16\x04\x01", None),
            (b"\x80\x2E\x01\x03\x01\x00", tls),
            (b"\x80\x2E\x01\x00\x02", tls),
            (b"\xC3\xBC\x01\x02\x03", None),
            (b"", None),
        ] {
            assert_eq!(Foreign::of(line), foreign, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
