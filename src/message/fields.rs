//! Which header fields of clients go on to a provider, which are added, and what becomes of those that occur twice.
//!
//! A provider takes commands from header fields (`X-SES-CONFIGURATION-SET`, `X-MJ-TemplateID`, …); they are for whoever
//! owns the account, not for whoever can reach the listener.

use std::fmt;
use std::str::FromStr;

use super::header::{Field, HeaderBlock};
use super::repair::Repair;
use crate::provider::presets::RepeatedFields;

/// What an account wants of header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Fields that are removed.
    pub removed: Vec<FieldPattern>,
    /// Of those, fields that stay.
    pub allowed: Vec<FieldPattern>,
    /// Fields that are added; those of clients with the same name go.
    pub added: Vec<AddedField>,
    /// What happens to a field that may occur once and occurs twice.
    pub repeated: RepeatedFields,
}

/// The name of a header field, or all that begin like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPattern {
    /// This name.
    Exact(String),
    /// `X-SES-*`: names that begin so.
    Beginning(String),
}

/// A field that an account adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedField {
    /// Its name.
    pub name: String,
    /// Its value, on one line.
    pub value: String,
}

/// The text is no pattern, or no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header field")]
pub struct NotAField;

impl Default for FieldRule {
    /// Leaves everything as it is.
    fn default() -> Self {
        Self { removed: Vec::new(), allowed: Vec::new(), added: Vec::new(), repeated: RepeatedFields::Kept }
    }
}

impl FieldRule {
    /// Applies the rule to a header block; tells what it changed.
    pub fn apply(&self, block: &mut HeaderBlock<'_>) -> Vec<Repair> {
        let mut repairs = Vec::new();
        let holds = |patterns: &[FieldPattern], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        let added = |name: &str| self.added.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        block.remove_where(|field| {
            let unwanted = holds(&self.removed, field.name()) && !holds(&self.allowed, field.name());
            let gone = unwanted || added(field.name());
            if gone {
                repairs.push(Repair::Removed { name: field.name().to_owned() });
            }
            gone
        });
        if self.repeated == RepeatedFields::Folded {
            for name in SINGLE.into_iter().chain(SINGLE_AT_SES) {
                repairs.extend(fold(block, name));
            }
        }
        for AddedField { name, value } in &self.added {
            block.append(Field::folded(name, value.as_bytes()));
            repairs.push(Repair::Added { name: name.clone() });
        }
        repairs
    }
}

/// Makes one field of several of this name: lists of addresses are joined, of others the topmost stays.
fn fold(block: &mut HeaderBlock<'_>, name: &'static str) -> Option<Repair> {
    if block.count(name) < 2 {
        return None;
    }
    let joined = ADDRESS_LISTS.contains(&name).then(|| {
        let values: Vec<Vec<u8>> = block.all(name).map(Field::value).filter(|value| !value.is_empty()).collect();
        values.join(&b", "[..])
    });
    match joined {
        Some(value) => block.set(Field::folded(name, &value)),
        None => {
            let mut first = true;
            block.remove_where(|field| field.is(name) && !std::mem::take(&mut first));
        }
    }
    Some(Repair::MadeOne { name })
}

impl FieldPattern {
    /// Whether a field of this name is meant; case does not matter.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::Beginning(begin) => {
                name.len() >= begin.len() && name.as_bytes()[..begin.len()].eq_ignore_ascii_case(begin.as_bytes())
            }
        }
    }
}

impl FromStr for FieldPattern {
    type Err = NotAField;

    fn from_str(text: &str) -> Result<Self, NotAField> {
        match text.strip_suffix('*') {
            Some(begin) if is_name(begin) => Ok(Self::Beginning(begin.into())),
            None if is_name(text) => Ok(Self::Exact(text.into())),
            _ => Err(NotAField),
        }
    }
}

impl FromStr for AddedField {
    type Err = NotAField;

    /// `Name: value`; not one of those that a message has anyway.
    fn from_str(text: &str) -> Result<Self, NotAField> {
        let (name, value) = text.split_once(':').ok_or(NotAField)?;
        let (name, value) = (name.trim_end(), value.trim());
        let plain = value.bytes().all(|b| matches!(b, b' '..=b'~')) && !value.is_empty();
        let reserved = SINGLE.iter().chain(&WHO).any(|own| own.eq_ignore_ascii_case(name));
        if !is_name(name) || !plain || text.len() > LONGEST || reserved {
            return Err(NotAField);
        }
        Ok(Self { name: name.into(), value: value.into() })
    }
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Beginning(begin) => write!(f, "{begin}*"),
        }
    }
}

/// RFC 5322 §2.2: printable ASCII without the colon.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b'*')
}

/// A line of a message, less its line end (RFC 5322 §2.1.1).
const LONGEST: usize = 998;

/// Fields that may occur once (RFC 5322 §3.6, RFC 2045 §3).
const SINGLE: [&str; 13] = [
    "Date",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "To",
    "Cc",
    "Reply-To",
    "Return-Path",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];
/// Further fields that Amazon SES refuses where they occur twice (docs.aws.amazon.com/ses, *Header fields*). `From:` and
/// `Sender:` are one already where senders are repaired.
const SINGLE_AT_SES: [&str; 49] = [
    "From",
    "Sender",
    "Accept-Language",
    "acceptLanguage",
    "Archived-At",
    "Auto-Submitted",
    "Bounces-to",
    "Comments",
    "Content-Alternative",
    "Content-Base",
    "Content-Class",
    "Content-Description",
    "Content-Duration",
    "Content-ID",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-MD5",
    "Delivered-To",
    "Disposition-Notification-Options",
    "Disposition-Notification-To",
    "DKIM-Signature",
    "DomainKey-Signature",
    "Errors-To",
    "Importance",
    "Keywords",
    "List-Archive",
    "List-Help",
    "List-Id",
    "List-Owner",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Message-Context",
    "Organization",
    "Original-From",
    "Original-Message-ID",
    "Original-Recipient",
    "Original-Subject",
    "Precedence",
    "Priority",
    "Return-Receipt-To",
    "Sensitivity",
    "Solicitation",
    "Thread-Index",
    "Thread-Topic",
    "User-Agent",
    "VBR-Info",
];
/// Fields that say who sends and who receives: they are the envelope's and the sender repair's.
const WHO: [&str; 5] = ["From", "Sender", "Bcc", "Received", "DKIM-Signature"];
/// Of [`SINGLE`], those that hold lists of addresses.
const ADDRESS_LISTS: [&str; 3] = ["To", "Cc", "Reply-To"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(removed: &[&str], allowed: &[&str], added: &[&str], repeated: RepeatedFields) -> FieldRule {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let added = added.iter().map(|text| text.parse().unwrap()).collect();
        FieldRule { removed: patterns(removed), allowed: patterns(allowed), added, repeated }
    }

    fn applied(rule: &FieldRule, header: &str) -> (String, Vec<String>) {
        let (mut block, body) = HeaderBlock::split(header.as_bytes());
        let repairs = rule.apply(&mut block).iter().map(ToString::to_string).collect();
        (String::from_utf8(block.join(body)).unwrap(), repairs)
    }

    #[test]
    fn commands_to_the_provider_go_unless_they_are_allowed() {
        let rule = rule(&["X-SES-*", "X-SMTPAPI"], &["x-ses-message-tags"], &[], RepeatedFields::Kept);
        let header = "X-SES-SOURCE-ARN: a\r\n\tb\r\nSubject: x\r\nx-ses-Message-Tags: t=1\r\nX-SmtpApi: {}\r\nX-SE: y\r\n\r\nX-SES-Z: body\r\n";
        let (content, repairs) = applied(&rule, header);
        assert_eq!(content, "Subject: x\r\nx-ses-Message-Tags: t=1\r\nX-SE: y\r\n\r\nX-SES-Z: body\r\n");
        assert_eq!(repairs, ["X-SES-SOURCE-ARN removed", "X-SmtpApi removed"]);
    }

    #[test]
    fn the_fields_of_the_account_take_the_place_of_the_clients() {
        let rule = rule(&["X-MJ-*"], &["X-MJ-*"], &["X-MJ-CustomID: relay 1"], RepeatedFields::Kept);
        let (content, repairs) = applied(&rule, "x-mj-customid: mine\r\nSubject: x\r\n\r\n");
        assert_eq!(content, "Subject: x\r\nX-MJ-CustomID: relay 1\r\n\r\n");
        assert_eq!(repairs, ["x-mj-customid removed", "X-MJ-CustomID added"]);
    }

    #[test]
    fn of_what_may_occur_once_one_is_left_and_no_recipient_is_lost() {
        let rule = rule(&[], &[], &[], RepeatedFields::Folded);
        let header = "To: a@x\r\nSubject: one\r\nTo:\r\nto: B <b@x>,\r\n c@x\r\nSubject: two\r\nReceived: 1\r\nReceived: 2\r\n\r\nbody";
        let (content, repairs) = applied(&rule, header);
        assert_eq!(content, "To: a@x, B <b@x>, c@x\r\nSubject: one\r\nReceived: 1\r\nReceived: 2\r\n\r\nbody");
        assert_eq!(repairs, ["several Subject became one", "several To became one"]);
    }

    #[test]
    fn what_amazon_takes_once_occurs_once() {
        let rule = rule(&[], &[], &[], RepeatedFields::Folded);
        assert_eq!(SINGLE.len() + SINGLE_AT_SES.len(), 62);
        for name in SINGLE_AT_SES {
            let (content, repairs) = applied(&rule, &format!("{name}: one\r\nTo: a@x\r\n{name}: two\r\n\r\n"));
            assert_eq!(content, format!("{name}: one\r\nTo: a@x\r\n\r\n"));
            assert_eq!(repairs, [format!("several {name} became one")]);
        }
    }

    #[test]
    fn what_nothing_is_wanted_of_stays_octet_for_octet() {
        let header = "Subject:one\nSubject: two\r\nX-SES-A: ü\r\nno header";
        for repeated in [RepeatedFields::Kept, RepeatedFields::Folded] {
            let rule = rule(&["X-MJ-*"], &[], &[], repeated);
            let once = header.replacen("Subject: two\r\n", "", 1);
            assert_eq!(applied(&rule, &once).0, once);
        }
        assert_eq!(applied(&FieldRule::default(), header).0, header);
    }

    #[test]
    fn who_sends_and_who_receives_is_not_added_by_rule() {
        for text in
            ["To: a@b", "subject: x", "X", "X: ", ": x", "X Y: z", "X: ü", "X: a\r\nBcc: b@c", "From: a@b", "Bcc: a@b"]
        {
            assert!(text.parse::<AddedField>().is_err(), "{text}");
        }
        for text in ["", "*", "X-*-Y", "X:", "X Y", "ü"] {
            assert!(text.parse::<FieldPattern>().is_err(), "{text}");
        }
    }
}
