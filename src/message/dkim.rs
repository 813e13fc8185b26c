//! DKIM signatures (RFC 6376) that a message brings: which of them an edit breaks. None is verified, and of a body any
//! change counts, also behind the octets that `l=` covers.

use super::encoding::Body;
use super::header::{Field, HeaderBlock, is_blank};
use super::repair::{Names, Repair};

/// What the signatures of a header block cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signatures(Vec<Signature>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    /// The field without its white space, by which it is found again.
    identity: Vec<u8>,
    domain: String,
    /// The fields it covers, itself included, each as it is compared; nothing for one that is not there.
    covered: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canonicalization {
    Simple,
    Relaxed,
}

impl Signatures {
    pub(super) fn of(block: &HeaderBlock<'_>) -> Self {
        Self(block.all("DKIM-Signature").take(SIGNATURES).map(|field| Signature::read(field, block)).collect())
    }

    /// Those of them that do not hold in what became of the message; a signature that was removed is not among them.
    pub(super) fn broken(&self, block: &HeaderBlock<'_>, body: Body) -> Vec<Repair> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let now = Self::of(block).0;
        let broken = self.0.iter().filter_map(|was| {
            let now = now.iter().find(|now| now.identity == was.identity)?;
            let mut by = Names::default();
            for ((name, before), (_, after)) in was.covered.iter().zip(&now.covered) {
                if before != after {
                    by.add(name);
                }
            }
            if body == Body::Changed {
                by.add("the body");
            }
            (!by.is_empty()).then(|| Repair::SignatureBroken { domain: was.domain.clone(), by })
        });
        broken.collect()
    }
}

impl Signature {
    fn read(field: &Field<'_>, block: &HeaderBlock<'_>) -> Self {
        let value = field.value();
        let tag = |wanted: &str| {
            let tags = value.split(|byte| *byte == b';').filter_map(|tag| {
                let (name, value) = tag.split_at(tag.iter().position(|byte| *byte == b'=')?);
                (name.trim_ascii() == wanted.as_bytes()).then(|| dense(&value[1..]))
            });
            tags.map(|value| String::from_utf8_lossy(&value).into_owned()).next().unwrap_or_default()
        };
        // `c=header/body`; without it both are simple (§3.5).
        let relaxed = tag("c").split('/').next().is_some_and(|header| header.eq_ignore_ascii_case("relaxed"));
        let how = if relaxed { Canonicalization::Relaxed } else { Canonicalization::Simple };
        let mut covered = vec![("DKIM-Signature".to_owned(), Some(how.apply(field)))];
        let names = tag("h");
        for (index, name) in names.split(':').take(COVERED).enumerate() {
            // A name that occurs again means the next field upwards (§5.4.2).
            let before = names.split(':').take(index).filter(|earlier| earlier.eq_ignore_ascii_case(name)).count();
            let same: Vec<&Field<'_>> = block.all(name).collect();
            covered.push((name.to_owned(), same.iter().rev().nth(before).map(|field| how.apply(field))));
        }
        Self { identity: dense(field.raw()), domain: tag("d"), covered }
    }
}

impl Canonicalization {
    fn apply(self, field: &Field<'_>) -> Vec<u8> {
        match self {
            Self::Simple => field.raw().to_vec(),
            // §3.4.2: on one line, white space as one space, none around the value.
            Self::Relaxed => {
                let value = field.value();
                let words = value.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
                words.collect::<Vec<_>>().join(&b' ')
            }
        }
    }
}

fn dense(octets: &[u8]) -> Vec<u8> {
    octets.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// Far more than the hosts on a way put on.
const SIGNATURES: usize = 10;
/// Far more fields than a signature names.
const COVERED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "DKIM-Signature: v=1; d=shop.example; c=relaxed/simple;\r\n h=From:Subject: Subject:Date; b=YWJj\r\n\
        Subject: upper\r\nFrom: a@b\r\nsubject:  lower one\r\nX: 1\r\n\r\nbody";

    fn broken(before: &str, after: &str, body: Body) -> Vec<String> {
        let signatures = Signatures::of(&HeaderBlock::split(before.as_bytes()).0);
        signatures.broken(&HeaderBlock::split(after.as_bytes()).0, body).iter().map(Repair::to_string).collect()
    }

    #[test]
    fn a_signature_breaks_where_what_it_covers_changes() {
        let told = |by: &str| vec![format!("DKIM signature of shop.example broken by a change of {by}")];
        for (was, is, body, expected) in [
            ("X: 1", "X: 2", Body::Kept, vec![]),
            ("  lower one", " lower\r\n one", Body::Kept, vec![]),
            ("lower", "other", Body::Kept, told("subject")),
            ("upper", "other", Body::Kept, told("Subject")),
            ("X: 1", "Date: x", Body::Kept, told("Date")),
            ("From: a@b", "From: c@d", Body::Changed, told("From, the body")),
            ("; b=YWJj", ";\r\n b=YWJj", Body::Kept, vec![]),
            ("DKIM-Signature", "X-Removed", Body::Changed, vec![]),
        ] {
            let expected: Vec<String> =
                expected.iter().map(|text: &String| text.replace("subject", "Subject")).collect();
            assert_eq!(broken(MESSAGE, &MESSAGE.replacen(was, is, 1), body), expected, "{is}");
        }
        // A name that occurs once means the lowest of several fields.
        let once = MESSAGE.replace("Subject: Subject", "Subject");
        assert_eq!(broken(&once, &once.replace("upper", "other"), Body::Kept), [""; 0]);
        assert_eq!(broken(&once, &once.replace("lower", "other"), Body::Kept), told("Subject"));
        let simple = MESSAGE.replace("relaxed", "simple");
        assert_eq!(broken(&simple, &simple.replace("  lower", " lower"), Body::Kept), told("Subject"));
        assert_eq!(broken("From: a@b\r\n\r\n", "From: c@d\r\n\r\n", Body::Changed), [""; 0]);
    }
}
