//! What the token endpoint of an identity provider answers instead of a token (RFC 6749 §5.2).
//!
//! Sources: learn.microsoft.com, *Microsoft Entra authentication and authorization error codes*, of which programs must not
//! make too much: the numbers only choose the words, what follows is decided by `error`. developers.google.com, *Using
//! OAuth 2.0 to Access Google APIs*.

use super::refusal::{Class, Meaning, Row};

/// Reads the refusal with this `error` and `error_description`.
///
/// [`Class::Login`] where a person must do something; [`Class::Connect`] where the endpoint is asked again soon.
pub fn meaning(error: &str, description: &str) -> Meaning {
    let text = format!("{error} {description}").to_ascii_lowercase();
    if PASSING.contains(&error.to_ascii_lowercase().as_str()) {
        return Meaning {
            class: Class::Connect,
            sentence: "The identity provider gives no tokens just now.",
            mend: None,
        };
    }
    let row = NUMBERS.iter().chain(ERRORS).find(|row| row.holds(0, &text));
    row.map_or(UNKNOWN, |row| row.meaning)
}

/// RFC 6749 §4.1.2.1, RFC 8628 §3.5.
const PASSING: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];

/// By Microsoft's number.
const NUMBERS: &[Row] = &[
    Row::new(&[], &["aadsts7000215"], Class::Login, "The client secret is wrong.").mended(
        "Put the value of the secret, not its id, into `client_secret` (https://entra.microsoft.com under App \
         registrations, Certificates & secrets).",
    ),
    Row::new(&[], &["aadsts7000222"], Class::Login, "The client secret has expired.").mended(
        "Make another one (https://entra.microsoft.com under App registrations, Certificates & secrets), put it into \
         `client_secret`, and its end into `expires`.",
    ),
    Row::new(&[], &["aadsts700016"], Class::Login, "The tenant does not know the application.")
        .mended("Check `client_id` and `tenant` (https://entra.microsoft.com under App registrations)."),
    Row::new(&[], &["aadsts90002"], Class::Login, "There is no such tenant.")
        .mended("Check `tenant`: the domain or the id that https://entra.microsoft.com shows."),
    Row::new(&[], &["aadsts700082|aadsts70008"], Class::Login, "The stored login has expired, as it was not used for 90 days.").mended(LOG_IN),
    Row::new(&[], &["aadsts50173"], Class::Login, "The stored login was revoked: the password was changed, or an administrator ended it.")
        .mended(LOG_IN),
    Row::new(&[], &["aadsts50076|aadsts50079"], Class::Login, "The tenant wants a multi-factor login.").mended(LOG_IN),
    Row::new(&[], &["aadsts53003"], Class::Login, "Conditional Access of the tenant blocks the login.").mended(
        "An administrator exempts the application or this machine: the sign-in logs at https://entra.microsoft.com name \
         the policy.",
    ),
    Row::new(&[], &["aadsts65001"], Class::Login, "Nobody has consented to what the application asks for.").mended(
        "An administrator grants SMTP.SendAsApp, or SMTP.Send for a mailbox user (https://entra.microsoft.com under App \
         registrations, API permissions).",
    ),
];

/// By the word of the standard.
const ERRORS: &[Row] = &[
    Row::new(
        &[],
        &["invalid_client"],
        Class::Login,
        "The identity provider refuses the client's secret or certificate.",
    )
    .mended("Check `client_id` and `client_secret` (or `certificate` and `key`) of the account."),
    Row::new(
        &[],
        &["invalid_grant"],
        Class::Login,
        "The stored login does not count any more: it has expired or was revoked.",
    )
    .mended(LOG_IN),
    Row::new(&[], &["unauthorized_client"], Class::Login, "The application may not have tokens in this way.").mended(
        "Allow it, for device codes as a public client (https://entra.microsoft.com under App registrations, \
         Authentication).",
    ),
    Row::new(&[], &["invalid_scope"], Class::Login, "The identity provider does not know what the token is to be for.")
        .mended("Leave `scope` of the account's `oauth` out, or write it as the provider has it."),
    Row::new(
        &[],
        &["interaction_required|consent_required|login_required"],
        Class::Login,
        "The identity provider wants a person to log in.",
    )
    .mended(LOG_IN),
    Row::new(&[], &["access_denied|authorization_declined"], Class::Login, "The login was declined.").mended(LOG_IN),
    Row::new(
        &[],
        &["expired_token|bad_verification_code|code_expired"],
        Class::Login,
        "The code was not entered in time.",
    )
    .mended(LOG_IN),
];

const UNKNOWN: Meaning = Meaning {
    class: Class::Login,
    sentence: "The identity provider refuses a token.",
    mend: Some("Check the account's `oauth` table (README, \"Move to OAuth\")."),
};
const LOG_IN: &str = "Run `mailsluice account login NAME`.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_known_refusal_says_what_to_do() {
        for (error, description, word, mend) in [
            (
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent",
                "wrong",
                "value",
            ),
            (
                "invalid_client",
                "AADSTS7000222: The provided client secret keys are expired.",
                "expired",
                "`client_secret`",
            ),
            (
                "unauthorized_client",
                "AADSTS700016: Application with identifier 'x' was not found",
                "application",
                "`client_id`",
            ),
            ("invalid_request", "AADSTS90002: Tenant 'contoso' not found.", "no such tenant", "`tenant`"),
            (
                "invalid_grant",
                "AADSTS70008: The refresh token has expired due to inactivity.",
                "90 days",
                "account login",
            ),
            (
                "invalid_grant",
                "AADSTS700082: The refresh token has expired due to inactivity.",
                "90 days",
                "account login",
            ),
            (
                "invalid_grant",
                "AADSTS50173: The provided grant has expired due to it being revoked",
                "revoked",
                "account login",
            ),
            (
                "invalid_grant",
                "AADSTS50076: Due to a configuration change made by your administrator",
                "multi-factor",
                "account login",
            ),
            (
                "invalid_grant",
                "AADSTS53003: Access has been blocked by Conditional Access policies.",
                "Conditional Access",
                "sign-in logs",
            ),
            (
                "invalid_grant",
                "AADSTS65001: The user or administrator has not consented",
                "consented",
                "SMTP.SendAsApp",
            ),
            ("invalid_client", "", "secret or certificate", "`client_secret`"),
            ("invalid_grant", "Token has been expired or revoked.", "revoked", "account login"),
            ("invalid_grant", "Bad Request", "revoked", "account login"),
            ("unauthorized_client", "", "may not have tokens", "device codes"),
            ("invalid_scope", "", "to be for", "`scope`"),
            ("interaction_required", "", "a person", "account login"),
            ("authorization_declined", "", "declined", "account login"),
            ("expired_token", "", "in time", "account login"),
            ("something_new", "of tomorrow", "refuses a token", "`oauth`"),
        ] {
            let meaning = meaning(error, description);
            assert_eq!(meaning.class, Class::Login, "{error} {description}");
            assert!(meaning.sentence.contains(word) && meaning.sentence.ends_with('.'), "{}", meaning.sentence);
            assert!(meaning.mend.is_some_and(|text| text.contains(mend)), "{error} {description}: {:?}", meaning.mend);
        }
    }

    #[test]
    fn what_passes_by_itself_is_asked_again_soon() {
        for error in ["temporarily_unavailable", "server_error", "slow_down"] {
            assert_eq!(meaning(error, "AADSTS90033: A transient error has occurred.").class, Class::Connect);
        }
    }

    #[test]
    fn every_row_of_a_token_endpoint_has_a_mend() {
        assert!(NUMBERS.iter().chain(ERRORS).all(|row| row.meaning.mend.is_some()));
    }
}
