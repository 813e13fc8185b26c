//! What a client has said of itself: its name, and who it has logged in as.

use super::contract::Tls;
use super::extensions::Repertoire;

/// What the client said at HELO or EHLO.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// What it calls itself; empty where it has not said.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Which of the two commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Neither.
    #[default]
    Nothing,
    Helo,
    Ehlo,
}

/// Whether the client has logged in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not.
    #[default]
    Anonymous,
    /// It wanted to, and was let, where nobody looks at credentials: that proves nothing.
    Waved,
    /// As this user.
    User(String),
}

impl Greeting {
    /// What `Received:` calls the protocol (RFC 3848, RFC 6531 §4.3). TLS and AUTH are extensions: who uses them speaks
    /// ESMTP, whatever it has said.
    pub(super) fn protocol(&self, tls: Tls, standing: &Standing, repertoire: Repertoire) -> &'static str {
        let is_encrypted = tls == Tls::Active;
        let is_user = matches!(standing, Standing::User(_));
        match (repertoire, is_encrypted, is_user) {
            (Repertoire::Utf8, false, false) => "UTF8SMTP",
            (Repertoire::Utf8, true, false) => "UTF8SMTPS",
            (Repertoire::Utf8, false, true) => "UTF8SMTPA",
            (Repertoire::Utf8, true, true) => "UTF8SMTPSA",
            (Repertoire::Ascii, true, false) => "ESMTPS",
            (Repertoire::Ascii, false, true) => "ESMTPA",
            (Repertoire::Ascii, true, true) => "ESMTPSA",
            (Repertoire::Ascii, false, false) if self.kind == Kind::Ehlo => "ESMTP",
            (Repertoire::Ascii, false, false) => "SMTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_tells_what_protected_the_message() {
        let user = || Standing::User("cam".into());
        for (kind, tls, standing, repertoire, protocol) in [
            (Kind::Nothing, Tls::Absent, Standing::Anonymous, Repertoire::Ascii, "SMTP"),
            (Kind::Helo, Tls::Offered, Standing::Waved, Repertoire::Ascii, "SMTP"),
            (Kind::Ehlo, Tls::Offered, Standing::Waved, Repertoire::Ascii, "ESMTP"),
            (Kind::Ehlo, Tls::Active, Standing::Waved, Repertoire::Ascii, "ESMTPS"),
            (Kind::Helo, Tls::Absent, user(), Repertoire::Ascii, "ESMTPA"),
            (Kind::Ehlo, Tls::Active, user(), Repertoire::Ascii, "ESMTPSA"),
            (Kind::Helo, Tls::Absent, Standing::Anonymous, Repertoire::Utf8, "UTF8SMTP"),
            (Kind::Ehlo, Tls::Active, Standing::Anonymous, Repertoire::Utf8, "UTF8SMTPS"),
            (Kind::Ehlo, Tls::Absent, user(), Repertoire::Utf8, "UTF8SMTPA"),
            (Kind::Ehlo, Tls::Active, user(), Repertoire::Utf8, "UTF8SMTPSA"),
        ] {
            let greeting = Greeting { name: String::new(), kind };
            assert_eq!(greeting.protocol(tls, &standing, repertoire), protocol);
        }
    }
}
