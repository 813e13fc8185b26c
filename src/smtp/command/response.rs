//! What a client says in an AUTH exchange (RFC 4954 §4).

use secrecy::{ExposeSecret, SecretSlice};

/// A line of the exchange, as it came: base64, as a rule. It is never shown, and wiped when it is dropped.
#[derive(Debug)]
pub struct Response(SecretSlice<u8>);

impl Response {
    /// This line.
    pub fn new(line: Vec<u8>) -> Self {
        Self(line.into())
    }

    /// The line without white space around it.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().trim_ascii()
    }
}

impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Response {}
