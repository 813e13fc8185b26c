//! What smarthosts say, word for word where their words are known. A reply begins with its code; `{host}` and the like
//! stand for what is filled in. Enhanced status codes are left out again where a profile does not offer them.

pub(super) mod google;
pub(super) mod mailjet;
pub(super) mod microsoft365;
pub(super) mod ses;

/// All that a service says by itself.
pub(super) struct Wording {
    pub(super) banner: &'static str,
    /// The first line of the answer to EHLO, without its code.
    pub(super) hello: &'static str,
    pub(super) hello_first: &'static str,
    pub(super) bad_hello: &'static str,
    pub(super) starttls_first: &'static str,
    pub(super) tls_ready: &'static str,
    pub(super) logged_in: &'static str,
    pub(super) logged_in_already: &'static str,
    pub(super) bad_credentials: &'static str,
    pub(super) bad_token: &'static str,
    /// What explains a refused token in a challenge before the refusal.
    pub(super) token_challenge: Option<&'static str>,
    pub(super) bad_base64: &'static str,
    pub(super) login_canceled: &'static str,
    pub(super) unknown_mechanism: &'static str,
    pub(super) not_authenticated: &'static str,
    pub(super) sender_ok: &'static str,
    pub(super) sender_given: &'static str,
    pub(super) bad_sender: &'static str,
    pub(super) recipient_ok: &'static str,
    pub(super) bad_recipient: &'static str,
    pub(super) unknown_recipient: &'static str,
    pub(super) too_many_recipients: &'static str,
    pub(super) need_mail: &'static str,
    pub(super) need_rcpt: &'static str,
    pub(super) bad_arguments: &'static str,
    pub(super) unsupported: &'static str,
    pub(super) needs_utf8: &'static str,
    pub(super) start_input: &'static str,
    /// The message is taken.
    pub(super) accepted: &'static str,
    /// The id that the service gives a message, which `{id}` in `accepted` stands for.
    pub(super) id: &'static str,
    pub(super) concurrency: &'static str,
    pub(super) rate: &'static str,
    pub(super) quota: &'static str,
    pub(super) too_big: &'static str,
    pub(super) bare_linefeed: &'static str,
    pub(super) eight_bit: &'static str,
    pub(super) repeated_field: &'static str,
    pub(super) no_from: &'static str,
    pub(super) sender_refused: &'static str,
    pub(super) no_resources: &'static str,
    pub(super) too_many_connections: &'static str,
    pub(super) too_many_errors: &'static str,
    pub(super) idle: &'static str,
    pub(super) unrecognized: &'static str,
    pub(super) line_too_long: &'static str,
    pub(super) reset: &'static str,
    pub(super) noop: &'static str,
    pub(super) vrfy: &'static str,
    pub(super) bye: &'static str,
    pub(super) ending: Ending,
}

/// What ends a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The bracket of Exchange: server, time and a mark, or the server alone where the store driver speaks.
    Exchange,
    /// Nothing.
    Bare,
}

/// The text with each `{name}` replaced by its value.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_may_look_like_a_name() {
        assert_eq!(fill("a {sender} b {user}", &[("user", "u"), ("sender", "s")]), "a s b u");
        assert_eq!(fill("{host}", &[]), "{host}");
    }
}
