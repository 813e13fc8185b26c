//! What an identity provider means by refusing a token (RFC 6749 §5.2).

use super::refusal::{Class, Meaning};

/// Reads the error code and the description of a refusal.
pub fn meaning(error: &str, _description: &str) -> Meaning {
    match error {
        "temporarily_unavailable" | "server_error" => {
            Meaning { class: Class::Connect, sentence: "The identity provider cannot give out tokens just now." }
        }
        _ => Meaning {
            class: Class::Login,
            sentence: "The identity provider gives no token: check the account's [account.oauth] and the registration \
                       of the application.",
        },
    }
}
