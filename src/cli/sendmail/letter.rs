//! A message with its envelope, as it is handed in: whom it is from and goes to, and what its header must lose and get.

use std::collections::HashSet;
use std::io::{self, Write};

use super::caller::Caller;
use super::complaint::{Code, Complaint};
use super::flags::{NamedBy, Submission};
use super::input::Message;
use super::wire::harmless;
use crate::message::addressees::{self, Addressee};
use crate::message::header::HeaderBlock;

/// A message to be handed in.
#[derive(Debug)]
pub(super) struct Letter {
    /// What stands in the brackets of MAIL: nothing, an address, or a local part that the relay completes.
    pub(super) reverse_path: String,
    /// What stands in the brackets of RCPT, each once, in their order.
    pub(super) recipients: Vec<String>,
    /// What was named as a recipient, and is none.
    pub(super) unreadable: Vec<String>,
    head: Vec<u8>,
    message: Message,
}

impl Letter {
    /// Makes one of a message and what was typed.
    ///
    /// # Errors
    /// There is no recipient or an unreadable sender, or the header cannot be made sense of.
    pub(super) fn new(submission: &Submission, mut message: Message, caller: &Caller) -> Result<Self, Complaint> {
        let head = std::mem::take(&mut message.head);
        let (mut block, below) = HeaderBlock::split(&head);
        if below.is_empty() && message.goes_on() {
            return Err(Complaint::new(Code::Data, "the header goes on beyond 1 MiB: the message was not sent"));
        }
        let reverse_path = reverse_path(submission, caller)?;
        let mut all = Vec::new();
        for typed in &submission.recipients {
            let broken =
                |error| Complaint::new(Code::Data, format!("{}: {error}", harmless(&String::from_utf8_lossy(typed))));
            all.extend(addressees::read(typed).map_err(broken)?);
        }
        if submission.named_by == NamedBy::ArgumentsAndHeader {
            let broken = |field| {
                Complaint::new(Code::Data, format!("{field}: has {}: the message was not sent", addressees::Broken))
            };
            all.extend(addressees::of_header(&block).map_err(broken)?);
        }
        let mut seen = HashSet::new();
        all.retain(|one| seen.insert(one.clone()));
        let (mut recipients, mut unreadable) = (Vec::new(), Vec::new());
        for one in all {
            match one {
                Addressee::Path(path) => recipients.push(path),
                Addressee::Unreadable(text) => unreadable.push(harmless(&text)),
            }
        }
        if recipients.is_empty() {
            return Err(nobody(submission.named_by, &unreadable));
        }
        let full_name = submission.full_name.as_deref().unwrap_or(&caller.full_name);
        edit(&mut block, &reverse_path, full_name);
        let head = block.join(below);
        Ok(Self { reverse_path, recipients, unreadable, head, message })
    }

    /// How large it is, without the dots that are added on the wire.
    pub(super) fn octets(&self) -> u64 {
        self.head.len() as u64 + self.message.octets()
    }

    /// Whether one of its addresses needs SMTPUTF8 (RFC 6531 §3.4).
    pub(super) fn is_beyond_ascii(&self) -> bool {
        std::iter::once(&self.reverse_path).chain(&self.recipients).any(|path| !path.is_ascii())
    }

    /// All of it into `out`, as often as it is asked for.
    ///
    /// # Errors
    /// What the file behind it or `out` says.
    pub(super) fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        self.message.write_rest(out)
    }
}

fn reverse_path(submission: &Submission, caller: &Caller) -> Result<String, Complaint> {
    let Some(typed) = &submission.sender else { return Ok(caller.name.clone()) };
    if matches!(typed.trim_ascii(), b"" | b"<>") {
        return Ok(String::new());
    }
    match addressees::read(typed).as_deref() {
        Ok([Addressee::Path(path)]) => Ok(path.clone()),
        _ => {
            let typed = harmless(&String::from_utf8_lossy(typed));
            Err(Complaint::new(
                Code::Usage,
                format!("-f {typed}: a sender is one address, or '' for none: the message was not sent"),
            ))
        }
    }
}

fn nobody(named_by: NamedBy, unreadable: &[String]) -> Complaint {
    let (code, text) = match (unreadable, named_by) {
        ([_, ..], _) => (Code::NoUser, format!("{}: this is no address", unreadable.join(", "))),
        ([], NamedBy::ArgumentsAndHeader) => {
            (Code::Usage, "there is no recipient on the command line, nor in To, Cc and Bcc".into())
        }
        ([], NamedBy::Arguments) => (
            Code::Usage,
            "there is no recipient: name some on the command line, or say -t to take those of the header".into(),
        ),
    };
    Complaint::new(code, format!("{text}: the message was not sent"))
}

/// Blind recipients are nobody's business, and an author gets a name, which the relay does not know. What else is missing it
/// adds.
fn edit(block: &mut HeaderBlock<'_>, reverse_path: &str, full_name: &str) {
    block.remove_where(|field| field.is("Bcc") || field.is("Resent-Bcc"));
    if block.find("From").is_none() && !reverse_path.is_empty() && !full_name.is_empty() {
        block.append(addressees::author(full_name, reverse_path));
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::End;
    use super::*;

    fn letter(submission: Submission, text: &str) -> Result<Letter, Complaint> {
        let message = Message::read(text.as_bytes(), End::Input).unwrap();
        Letter::new(&submission, message, &Caller { name: "jane".into(), full_name: "Jane Doe".into() })
    }

    fn typed(recipients: &[&str], named_by: NamedBy) -> Submission {
        let recipients = recipients.iter().map(|one| one.as_bytes().to_vec()).collect();
        Submission { recipients, named_by, ..Submission::default() }
    }

    fn text(letter: &mut Letter) -> String {
        let mut all = Vec::new();
        letter.write(&mut all).unwrap();
        assert_eq!(letter.octets(), all.len() as u64);
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn recipients_of_header_and_command_line_are_put_together_and_the_blind_ones_hidden() {
        let given = "To: a@b, root\nBcc: c@d,\n e@f\nSubject: x\n\nBcc: body\n";
        let mut both = letter(typed(&["g@h, a@b"], NamedBy::ArgumentsAndHeader), given).unwrap();
        assert_eq!(both.recipients, ["g@h", "a@b", "root", "c@d", "e@f"]);
        assert_eq!(text(&mut both), "To: a@b, root\r\nSubject: x\r\nFrom: Jane Doe <jane>\r\n\r\nBcc: body\r\n");
        let alone = letter(typed(&["g@h", "Jane Doe"], NamedBy::Arguments), given).unwrap();
        assert_eq!((alone.recipients, alone.unreadable), (vec!["g@h".to_owned()], vec!["Jane Doe".to_owned()]));
    }

    #[test]
    fn the_author_is_added_where_there_is_none_and_a_name_for_it() {
        let of = |sender: Option<&str>, name: Option<&str>, given: &str| {
            let sender = sender.map(|typed| typed.as_bytes().to_vec());
            let submission =
                Submission { sender, full_name: name.map(str::to_owned), ..typed(&["a@b"], NamedBy::Arguments) };
            let mut letter = letter(submission, given).unwrap();
            (text(&mut letter), letter.reverse_path)
        };
        let is = |text: &str, path: &str| (text.to_owned(), path.to_owned());
        assert_eq!(of(None, None, "Subject: x\n\n"), is("Subject: x\r\nFrom: Jane Doe <jane>\r\n\r\n", "jane"));
        assert_eq!(of(Some("Shop <s@x>"), Some("C"), "hello\n"), is("From: C <s@x>\r\n\r\nhello\r\n", "s@x"));
        assert_eq!(of(None, Some("C"), "From: a@b\n\n"), is("From: a@b\r\n\r\n", "jane"));
        assert_eq!(of(Some(""), None, "Subject: x\n\n"), is("Subject: x\r\n\r\n", ""));
        assert_eq!(of(Some(" <> "), None, "Subject: x\n\n").1, "");
        assert_eq!(of(None, Some(""), "Subject: x\n\n").0, "Subject: x\r\n\r\n");
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        for (submission, given, code, why) in [
            (typed(&[], NamedBy::Arguments), "x\n", Code::Usage, "say -t"),
            (
                typed(&[], NamedBy::ArgumentsAndHeader),
                "Subject: x\n\n",
                Code::Usage,
                "nor in To, Cc and Bcc: the message",
            ),
            (typed(&["Jane Doe"], NamedBy::Arguments), "x\n", Code::NoUser, "Jane Doe: this is no address"),
            (
                typed(&["a@b"], NamedBy::ArgumentsAndHeader),
                "Cc: (((((((((((((((((((((((\n\n",
                Code::Data,
                "Cc: has quotes",
            ),
            (
                Submission { sender: Some(b"a b c".to_vec()), ..typed(&["a@b"], NamedBy::Arguments) },
                "x\n",
                Code::Usage,
                "-f a b c",
            ),
        ] {
            let complaint = letter(submission, given).unwrap_err();
            assert!(complaint.code == code && complaint.text.contains(why), "{complaint:?}");
        }
        let long = "X: y\n".repeat(300_000);
        assert_eq!(letter(typed(&["a@b"], NamedBy::Arguments), &long).unwrap_err().code, Code::Data);
    }
}
