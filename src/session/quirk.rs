//! What a client does beside the rules and is let do: named, so that its owner can read it in the log.

use crate::smtp::command::Lapse;

/// A habit of a client that a stricter server would refuse, or trip over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quirk {
    /// A command ends in LF alone (RFC 5321 §2.3.8).
    BareLfCommand,
    /// White space around a command.
    SpaceAroundCommand,
    /// A command came before the banner (RFC 5321 §4.3.1).
    EarlyCommand,
    /// Something stands behind QUIT, DATA or RSET.
    ArgumentIgnored,
    /// The name at HELO or EHLO is missing, or is neither a domain nor an address literal (RFC 5321 §4.1.1.1).
    OddHelo,
    /// MAIL without HELO or EHLO before it (RFC 5321 §4.1.4).
    NoHelo,
    /// HELO after EHLO, which to the RFC begins anew without extensions, and takes nothing back (RFC 5321 §4.1.4).
    HeloAfterEhlo,
    /// AUTH without EHLO before it (RFC 4954 §4).
    AuthAfterHelo,
    /// AUTH again, although it has succeeded, or where nobody asks for it.
    NeedlessAuth,
    /// White space around the colon of `FROM:` or `TO:` (RFC 5321 §3.3).
    SpaceInPath,
    /// A path without angle brackets.
    NoBrackets,
    /// A display name in front of the path.
    DisplayName,
    /// A local part without a domain, completed with `default_domain`.
    BareLocalPart,
    /// A source route, dropped (RFC 5321 appendix C).
    SourceRoute,
    /// A parameter of MAIL or RCPT that was not offered, ignored (RFC 5321 §4.1.1.11).
    UnknownParameter,
    /// A parameter whose value makes no sense, ignored.
    BadParameterValue,
    /// SIZE announced another size than the content had (RFC 1870 §6.1).
    WrongSize,
    /// An address beyond ASCII without SMTPUTF8 (RFC 6531 §3.4).
    NoSmtpUtf8,
    /// Several recipients in one RCPT.
    SeveralRecipients,
    /// Lines of content that end in a bare CR or LF (RFC 5321 §2.3.8).
    BareLineEnds,
    /// Lines of content beyond 998 octets (RFC 5322 §2.1.1).
    LongLines,
    /// NUL in content (RFC 5322 §4).
    Nul,
    /// Octets beyond ASCII in the header block (RFC 5322 §2.2).
    EightBitHeader,
    /// Octets beyond ASCII in the body of a message without MIME fields (RFC 2045 §4).
    EightBitBody,
    /// No header block, or one that ends without an empty line (RFC 5322 §2.1).
    NoHeader,
    /// The connection broke, or was reset, without QUIT, behind a message that was taken (RFC 5321 §4.1.1.10).
    NoQuit,
    /// Content ended in LF.LF, which this client may (`lf_end`).
    LfEnd,
}

impl Quirk {
    /// The word that log lines use.
    pub fn as_str(self) -> &'static str {
        self.words().0
    }

    /// What the client does, as the end of a sentence that begins with its name.
    pub fn told(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::BareLfCommand => ("bare_lf_command", "ends commands in a bare LF"),
            Self::SpaceAroundCommand => ("space_around_command", "puts white space around commands"),
            Self::EarlyCommand => ("early_command", "sends commands before the banner"),
            Self::ArgumentIgnored => ("argument_ignored", "puts something behind a command that stands alone"),
            Self::OddHelo => ("odd_helo", "gives a name at HELO that is none"),
            Self::NoHelo => ("no_helo", "sends mail without HELO or EHLO"),
            Self::HeloAfterEhlo => ("helo_after_ehlo", "says HELO after EHLO and goes on as after EHLO"),
            Self::AuthAfterHelo => ("auth_after_helo", "logs in without EHLO"),
            Self::NeedlessAuth => ("needless_auth", "logs in again, or where no login is asked for"),
            Self::SpaceInPath => ("space_in_path", "puts white space around the colon of FROM: or TO:"),
            Self::NoBrackets => ("no_brackets", "writes addresses without angle brackets"),
            Self::DisplayName => ("display_name", "puts a display name in front of an address of the envelope"),
            Self::BareLocalPart => ("bare_local_part", "gives addresses without a domain"),
            Self::SourceRoute => ("source_route", "gives source routes"),
            Self::UnknownParameter => ("unknown_parameter", "uses parameters of MAIL or RCPT that were not offered"),
            Self::BadParameterValue => ("bad_parameter_value", "gives parameters values that make no sense"),
            Self::WrongSize => ("wrong_size", "announces another size than it sends"),
            Self::NoSmtpUtf8 => ("no_smtputf8", "uses addresses beyond ASCII without SMTPUTF8"),
            Self::SeveralRecipients => ("several_recipients", "names several recipients in one RCPT"),
            Self::BareLineEnds => ("bare_line_ends", "ends lines of content in a bare CR or LF"),
            Self::LongLines => ("long_lines", "sends lines of more than 998 octets"),
            Self::Nul => ("nul", "sends NUL in content"),
            Self::EightBitHeader => ("eight_bit_header", "sends raw 8-bit text in header fields"),
            Self::EightBitBody => ("eight_bit_body", "sends 8-bit text without MIME fields"),
            Self::NoHeader => ("no_header", "sends messages without a whole header block"),
            Self::NoQuit => ("no_quit", "drops the connection without QUIT"),
            Self::LfEnd => ("lf_end", "ends content with LF.LF"),
        }
    }
}

impl From<Lapse> for Quirk {
    fn from(lapse: Lapse) -> Self {
        match lapse {
            Lapse::SpaceBefore | Lapse::SpaceBehind => Self::SpaceAroundCommand,
            Lapse::Argument(_) => Self::ArgumentIgnored,
            Lapse::OddName => Self::OddHelo,
            Lapse::SpaceInPath => Self::SpaceInPath,
            Lapse::NoBrackets => Self::NoBrackets,
            Lapse::DisplayName => Self::DisplayName,
            Lapse::BareLocalPart => Self::BareLocalPart,
            Lapse::SourceRoute => Self::SourceRoute,
            Lapse::SeveralPaths => Self::SeveralRecipients,
        }
    }
}
