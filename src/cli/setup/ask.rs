//! Asks for what no flag has said. Where nobody can answer, it collects what is missing, to say it all at once.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use secrecy::SecretString;

use super::super::Failure;
use super::super::output::complain;

/// A question and its flag.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    /// What is asked.
    pub(super) text: &'a str,
    /// The flag that answers it.
    pub(super) flag: &'static str,
    /// What counts where nothing is answered.
    pub(super) default: Option<String>,
}

/// Asks on a terminal, or of nobody.
#[derive(Debug)]
pub(super) struct Asker {
    /// Whether there is somebody to ask.
    somebody: bool,
    missing: Vec<String>,
}

impl Asker {
    /// Asks where standard input is a terminal, unless nobody shall be asked.
    pub(super) fn new(nobody: bool) -> Self {
        Self { somebody: !nobody && io::stdin().is_terminal(), missing: Vec::new() }
    }

    /// Whether there is somebody who reads explanations.
    pub(super) fn is_heard(&self) -> bool {
        self.somebody
    }

    /// The answer: what a flag gave, what is typed, or the default. Nothing where it is missing.
    ///
    /// # Errors
    /// Where the flag's value is refused by `read`, or the terminal is gone. What is typed and refused is asked again.
    pub(super) fn ask<T>(
        &mut self,
        question: &Question<'_>,
        given: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        if let Some(given) = given {
            return read(given).map(Some).map_err(|why| Failure::Usage(format!("{}: {why}", question.flag)));
        }
        if !self.somebody {
            return match &question.default {
                Some(default) => read(default).map(Some).map_err(Failure::Said),
                None => {
                    self.missing.push(format!("{} ({})", question.flag, question.text));
                    Ok(None)
                }
            };
        }
        loop {
            let typed = self.line(question)?;
            let answer = if typed.is_empty() { question.default.as_deref().unwrap_or("") } else { &typed };
            match read(answer) {
                Ok(value) => return Ok(Some(value)),
                Err(why) => complain(format_args!("  {why}")),
            }
        }
    }

    /// Lets choose one of several words, by its number too.
    pub(super) fn choose<T: Copy>(
        &mut self,
        question: &Question<'_>,
        given: Option<&str>,
        choices: &[(&str, &str, T)],
    ) -> Result<Option<T>, Failure> {
        if self.somebody && given.is_none() {
            let width = choices.iter().map(|(word, ..)| word.len()).max().unwrap_or(0);
            for (number, (word, about, _)) in (1..).zip(choices) {
                complain(format_args!("  {number}  {word:width$}  {about}"));
            }
        }
        let words: Vec<&str> = choices.iter().map(|(word, ..)| *word).collect();
        self.ask(question, given, |answer| {
            let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let by_number = number.and_then(|at| choices.get(at));
            let chosen = by_number.or_else(|| choices.iter().find(|(word, ..)| *word == answer));
            chosen.map(|(.., value)| *value).ok_or_else(|| format!("wanted a number or one of {}", words.join(", ")))
        })
    }

    /// A secret: from a file, from standard input, or typed without an echo. Its bytes are kept as they are.
    pub(super) fn secret(
        &mut self,
        question: &Question<'_>,
        file: Option<&Path>,
        from_stdin: bool,
    ) -> Result<Option<SecretString>, Failure> {
        let text = match file {
            Some(path) => {
                let shown = path.display();
                let opened = File::open(path);
                let text = opened.and_then(read_limited);
                text.map_err(|error| Failure::Said(format!("{}: {shown}: {error}", question.flag)))?
            }
            None if from_stdin => {
                read_limited(io::stdin()).map_err(|error| Failure::Said(format!("standard input: {error}")))?
            }
            None if self.somebody => {
                let prompt = format!("{} (it is not shown): ", question.text);
                // What is pasted before the prompt has ended would be shown.
                let _quiet = WithoutEcho::begin();
                rpassword::prompt_password(prompt).map_err(|error| {
                    Failure::Said(format!("{}: the terminal cannot be read: {error}", question.flag))
                })?
            }
            None => {
                self.missing.push(format!("{} or --password-stdin ({})", question.flag, question.text));
                return Ok(None);
            }
        };
        if text.trim().is_empty() {
            return Err(Failure::Said(format!("{}: the secret is empty", question.flag)));
        }
        Ok(Some(SecretString::from(text)))
    }

    /// Fails where something was missing, and says all of it.
    pub(super) fn complete(&self) -> Result<(), Failure> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = self.missing.iter().map(|flag| format!("  {flag}")).collect();
        Err(Failure::Usage(format!(
            "there is nobody to ask, and these flags are missing:\n{}\nor run it on a terminal, where it asks",
            missing.join("\n")
        )))
    }

    fn line(&self, question: &Question<'_>) -> Result<String, Failure> {
        let default: &dyn Display = match question.default.as_deref() {
            None | Some("") => &"",
            Some(default) => &format!(" [{default}]"),
        };
        let mut terminal = io::stderr();
        let _ = write!(terminal, "{}{default}: ", question.text).and_then(|()| terminal.flush());
        let mut line = String::new();
        match io::stdin().lock().take(MAX_OCTETS).read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(Failure::Said("setup was left before its end: nothing was written".into())),
        }
    }
}

/// The terminal of standard input shows nothing of what is typed while the value lives.
pub(in crate::cli) struct WithoutEcho(Termios);

impl WithoutEcho {
    /// Nothing where it is no terminal.
    pub(in crate::cli) fn begin() -> Option<Self> {
        let usual = termios::tcgetattr(io::stdin()).ok()?;
        let mut quiet = usual.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet).ok()?;
        Some(Self(usual))
    }
}

impl Drop for WithoutEcho {
    fn drop(&mut self) {
        // Where this fails the terminal is gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn read_limited(from: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_OCTETS + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_OCTETS { Err(io::Error::other("it is too long for a secret")) } else { Ok(text) }
}

const MAX_OCTETS: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(default: Option<&str>) -> Question<'static> {
        Question { text: "The mailbox", flag: "--username", default: default.map(str::to_owned) }
    }

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| "a number is wanted".to_owned())
    }

    #[test]
    fn flags_and_defaults_answer_and_what_is_missing_is_said_together() {
        let mut asker = Asker { somebody: false, missing: vec![] };
        assert_eq!(asker.ask(&question(None), Some("7"), number).unwrap(), Some(7));
        assert_eq!(asker.ask(&question(Some("8")), None, number).unwrap(), Some(8));
        assert!(asker.complete().is_ok());
        let refused = asker.ask(&question(None), Some("x"), number).unwrap_err();
        assert_eq!(refused.text(), "--username: a number is wanted");
        assert_eq!(asker.ask(&question(None), None, number).unwrap(), None);
        let secret = Question { text: "Its password", flag: "--password-file", default: None };
        assert!(asker.secret(&secret, None, false).unwrap().is_none());
        let said = asker.complete().unwrap_err().text();
        assert!(said.contains("  --username (The mailbox)\n  --password-file or --password-stdin"), "{said}");
    }

    #[test]
    fn a_choice_is_a_word_or_its_number() {
        let mut asker = Asker { somebody: false, missing: vec![] };
        let choices = [("ses", "Amazon", 1), ("smtp", "any", 2)];
        for (given, wanted) in [("ses", 1), ("2", 2)] {
            assert_eq!(asker.choose(&question(None), Some(given), &choices).unwrap(), Some(wanted));
        }
        for given in ["0", "3", "sendmail"] {
            assert!(asker.choose(&question(None), Some(given), &choices).unwrap_err().text().contains("ses, smtp"));
        }
    }
}
