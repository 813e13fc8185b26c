//! What we know of mail providers: their hosts and caps, and what each of their refusals means in plain words.
//! Facts only; what follows from them is decided in [`crate::schedule`].

pub mod caps;
mod google;
mod mailjet;
mod microsoft365;
pub mod presets;
pub mod refusal;
mod rest;
mod ses;
pub mod token;

pub use caps::{Cap, Caps, Counted};
pub use presets::Mechanism;

/// The providers whose ways we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Microsoft 365 SMTP AUTH client submission.
    Microsoft365,
    /// Microsoft 365 High Volume Email, to recipients of the tenant alone.
    Microsoft365Hve,
    /// Microsoft 365 through an inbound connector, without a login.
    Microsoft365Connector,
    /// Amazon SES, by its SMTP interface.
    Ses,
    /// Mailjet, by its SMTP relay.
    Mailjet,
    /// Any smarthost.
    Smtp,
    /// A directory of `.eml` files, for staging.
    Directory,
}

impl Provider {
    /// The word that the configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Microsoft365 => "microsoft365",
            Self::Microsoft365Hve => "microsoft365-hve",
            Self::Microsoft365Connector => "microsoft365-connector",
            Self::Ses => "ses",
            Self::Mailjet => "mailjet",
            Self::Smtp => "smtp",
            Self::Directory => "directory",
        }
    }
}
