//! The presets as data: what an account of each kind of provider has where its configuration does not say otherwise.

use std::time::Duration;

use super::{Cap, Caps, Provider, caps::Counted};
use crate::message::sender::SenderMode;

/// When TLS begins on a connection to a smarthost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// After STARTTLS, which the server must offer.
    StartTls,
    /// At once (port 465, RFC 8314).
    Implicit,
    /// Never; refuses credentials unless the host is loopback.
    None,
}

/// What an account has where its configuration is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// How its mail leaves.
    pub way: Way,
    /// What it lets through.
    pub caps: Caps,
    /// What happens to senders that are not the account's own.
    pub sender: SenderMode,
}

/// How the mail of an account leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a smarthost.
    Smarthost {
        /// Its name; none where the configuration has to say.
        host: Option<&'static str>,
        /// When TLS begins; the port follows from it.
        tls: TlsMode,
        /// Whether it lets anybody in without a login.
        login: LoginNeed,
    },
    /// Into files.
    Directory,
}

/// Whether a smarthost lets anybody in without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNeed {
    /// It never does.
    Required,
    /// It may know us by our address.
    Optional,
}

impl Provider {
    /// Every kind, by the word that the configuration uses.
    pub const WORDS: [(&'static str, Self); 3] =
        [("microsoft365", Self::Microsoft365), ("smtp", Self::Smtp), ("directory", Self::Directory)];

    /// What an account of this kind has where its configuration is silent.
    pub fn preset(self) -> Preset {
        match self {
            Self::Microsoft365 => microsoft365(),
            Self::Smtp => Preset {
                way: Way::Smarthost { host: None, tls: TlsMode::StartTls, login: LoginNeed::Optional },
                // A server must take 100 recipients (RFC 5321 §4.5.3.1.8); the rest is what nearly every one bears.
                caps: Caps { windows: vec![], connections: 5, recipients_per_message: 100, message_size: 35 * MIB },
                sender: SenderMode::Keep,
            },
            Self::Directory => Preset {
                way: Way::Directory,
                caps: Caps { windows: vec![], connections: 5, recipients_per_message: 1000, message_size: 1024 * MIB },
                sender: SenderMode::Keep,
            },
        }
    }
}

impl TlsMode {
    /// The port where a server usually speaks so: submission 587 (RFC 6409), submissions 465 (RFC 8314 §3.3), smtp 25.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// Client submission with SMTP AUTH: 30 messages a minute, 10,000 recipients in any 24 hours and three connections a
/// mailbox (learn.microsoft.com, *Exchange Online limits*, sending limits). A mailbox may send to 1,000 recipients at
/// once and 150 MB; tenants start at 500 and 35 MB.
fn microsoft365() -> Preset {
    let minute = Cap { counted: Counted::Messages, count: 30, window: Duration::from_secs(60) };
    let day = Cap { counted: Counted::Recipients, count: 10_000, window: Duration::from_secs(24 * 3600) };
    Preset {
        way: Way::Smarthost { host: Some("smtp.office365.com"), tls: TlsMode::StartTls, login: LoginNeed::Required },
        caps: Caps { windows: vec![minute, day], connections: 3, recipients_per_message: 500, message_size: 35 * MIB },
        sender: SenderMode::Rewrite,
    }
}

const MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_kinds() {
        for (word, provider) in Provider::WORDS {
            assert_eq!(provider.as_str(), word);
        }
    }

    #[test]
    fn microsoft_365_has_the_published_caps() {
        let windows: Vec<String> = Provider::Microsoft365.preset().caps.windows.iter().map(Cap::to_string).collect();
        assert_eq!(windows, ["30/min", "10000/24h"]);
    }
}
