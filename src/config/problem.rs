//! Problems of a configuration: all of them are collected and told at once, each with its line.

use std::fmt;

/// One problem, told as `file:line: key: found …, wanted …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1; 0 where the file as a whole is the problem, or there are variables instead of one.
    pub line: usize,
    /// The key with the names of its tables, as `account.caps.messages`, or the variable; empty where the file is the
    /// problem.
    pub key: String,
    /// What is there. Never a secret.
    pub found: String,
    /// What would be accepted.
    pub wanted: String,
}

/// Everything that is wrong with a configuration, by line. Displays one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: String,
    /// At least one, by line.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { line, key, found, wanted }) in self.problems.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            match line {
                0 if !key.is_empty() => {
                    write!(f, "{newline}{}: {key}: found {found}, wanted {wanted}", self.file)?;
                }
                0 => write!(f, "{newline}{}: found {found}, wanted {wanted}", self.file)?,
                _ => write!(f, "{newline}{}:{line}: {key}: found {found}, wanted {wanted}", self.file)?,
            }
        }
        Ok(())
    }
}

/// Collects problems while a text is read.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Report<'t> {
    /// An empty report on `text`.
    pub(super) fn on(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// The line, from 1, on which the octet at `offset` lies.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Adds a problem.
    pub(super) fn add(&mut self, line: usize, key: &str, found: impl Into<String>, wanted: impl Into<String>) {
        self.problems.push(Problem { line, key: key.into(), found: found.into(), wanted: wanted.into() });
    }

    /// Whether nothing was wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems by line; those of one line in the order in which they were found.
    pub(super) fn into_errors(mut self, file: &str) -> ConfigErrors {
        self.problems.sort_by_key(|problem| problem.line);
        ConfigErrors { file: file.into(), problems: self.problems }
    }
}
