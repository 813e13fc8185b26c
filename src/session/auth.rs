//! The exchanges of AUTH (RFC 4954 §4): PLAIN (RFC 4616) and LOGIN, each with and without an initial response.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::contract::Credentials;
use crate::smtp::command::Response;

/// The mechanisms, as EHLO names them.
pub(super) const MECHANISMS: &str = "PLAIN LOGIN";

/// An exchange that waits for the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// PLAIN: for user and password in one response.
    Plain,
    /// LOGIN: for the user.
    LoginUser,
    /// LOGIN: for the password.
    LoginPassword {
        /// Whose.
        username: String,
    },
}

/// What a response has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to say.
    Asks(Exchange),
    /// All is said.
    Said(Credentials),
}

/// A response that is not base64, or not what the mechanism asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Exchange {
    /// The exchange of this mechanism, given in upper case.
    pub(super) fn of(mechanism: &str) -> Option<Self> {
        match mechanism {
            "PLAIN" => Some(Self::Plain),
            "LOGIN" => Some(Self::LoginUser),
            _ => None,
        }
    }

    /// What we say when it is the client's turn: nothing, or `Username:` or `Password:` in base64.
    pub(super) fn prompt(&self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::LoginUser => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// Where it makes no sense.
    pub(super) fn respond(self, response: &Response) -> Result<Progress, Malformed> {
        let decoded = decode(response)?;
        match self {
            Self::Plain => plain(&decoded).map(Progress::Said),
            Self::LoginUser => Ok(Progress::Asks(Self::LoginPassword { username: text(&decoded) })),
            Self::LoginPassword { username } => {
                Ok(Progress::Said(Credentials { username, password: SecretString::from(text(&decoded)) }))
            }
        }
    }

    /// Goes on without looking at the response; nothing where all is said.
    pub(super) fn pass_over(self) -> Option<Self> {
        match self {
            Self::LoginUser => Some(Self::LoginPassword { username: String::new() }),
            Self::Plain | Self::LoginPassword { .. } => None,
        }
    }
}

/// Whether a response calls the exchange off.
pub(super) fn is_cancelled(response: &Response) -> bool {
    response.expose() == b"*"
}

/// `=` stands for an empty initial response (RFC 4954 §4). Devices leave the padding out.
fn decode(response: &Response) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    match response.expose() {
        b"=" => Ok(Zeroizing::default()),
        text => engine.decode(text).map(Zeroizing::new).map_err(|_| Malformed),
    }
}

/// `authzid NUL authcid NUL passwd` (RFC 4616 §2). On whose behalf a client acts does not matter: it sends as itself.
fn plain(message: &[u8]) -> Result<Credentials, Malformed> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(user), Some(password)) if !password.contains(&0) => {
            Ok(Credentials { username: text(user), password: SecretString::from(text(password)) })
        }
        _ => Err(Malformed),
    }
}

/// UTF-8, or else Latin-1, which old devices write.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(exchange: Exchange, response: &str) -> Result<Progress, Malformed> {
        exchange.respond(&Response::new(response.into()))
    }

    fn said(username: &str, password: &str) -> Result<Progress, Malformed> {
        Ok(Progress::Said(Credentials { username: username.into(), password: password.to_owned().into() }))
    }

    #[test]
    fn plain_takes_one_response() {
        for (response, result) in [
            ("AHVzZXIAc2VjcmV0", said("user", "secret")),
            ("dXNlcgB1c2VyAHNlY3JldA==", said("user", "secret")),
            ("dXNlcgB1c2VyAHNlY3JldA", said("user", "secret")),
            ("AAA=", said("", "")),
            ("AOkA6Q==", said("é", "é")),
            ("=", Err(Malformed)),
            ("", Err(Malformed)),
            ("dXNlcg==", Err(Malformed)),
            ("AHVzZXIAc2VjAHJldA==", Err(Malformed)),
            ("no base64!", Err(Malformed)),
        ] {
            assert_eq!(respond(Exchange::Plain, response), result, "{response}");
        }
    }

    #[test]
    fn login_asks_for_user_and_password() {
        let password = Exchange::LoginPassword { username: "user".into() };
        assert_eq!(respond(Exchange::LoginUser, "dXNlcg=="), Ok(Progress::Asks(password)));
        let nobody = || Exchange::LoginPassword { username: String::new() };
        for empty in ["", "="] {
            assert_eq!(respond(Exchange::LoginUser, empty), Ok(Progress::Asks(nobody())));
        }
        assert_eq!(respond(nobody(), "c2VjcmV0"), said("", "secret"));
        assert_eq!(respond(Exchange::LoginUser, "!"), Err(Malformed));
    }

    #[test]
    fn what_is_passed_over_asks_as_often() {
        assert_eq!(Exchange::Plain.pass_over(), None);
        let then = Exchange::LoginUser.pass_over().unwrap();
        assert_eq!((then.prompt(), then.pass_over()), ("UGFzc3dvcmQ6", None));
    }
}
