//! `username` and `password` of an account. The password's value is never part of a message: what stands where it is
//! wanted may be one.

use super::problem::Report;
use super::secret::Secret;
use super::table::{At, Table};
use super::{Login, Surroundings, value};
use crate::provider::presets::LoginNeed;

pub(super) const KEYS: &[&str] = &["file", "env", "credential"];

/// What the two keys say; none where one is absent or badly written.
#[derive(Debug)]
pub(super) struct LoginKeys {
    pub(super) username: Option<At<String>>,
    password: Option<Secret>,
}

impl LoginKeys {
    /// The login, where both are there.
    pub(super) fn login(&self) -> Option<Login> {
        let (username, password) = (self.username.as_ref()?, self.password.as_ref()?);
        Some(Login { username: username.value.clone(), password: password.clone() })
    }
}

/// Reads the two keys, and the password itself where secrets are read, to say at once where it cannot be had.
pub(super) fn read(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> LoginKeys {
    let username =
        table.read(report, "username", |v| value::text(v, "the name of the login, without control characters"));
    let password = read_password(table, report, around);
    let secret = password.as_ref().filter(|_| around.reads_secrets);
    if let Some(Err(error)) = secret.map(|secret| secret.read_with(around.variable)) {
        report.add(table.line_of(report, "password"), "account.password", error.found, error.wanted);
    }
    LoginKeys { username, password }
}

/// Reports where one of the two is missing.
pub(super) fn check_pair(table: &Table<'_>, report: &mut Report<'_>, need: LoginNeed) {
    let (username, password) = (table.has("username"), table.has("password"));
    if need == LoginNeed::Required || password {
        table.require(report, "username", "the name of the login");
    }
    if need == LoginNeed::Required || username {
        table.require(report, "password", FORMS);
    }
}

fn read_password(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Option<Secret> {
    let table = table.table(report, "password", ("account.password", KEYS), FORMS)?;
    let given = KEYS.iter().filter(|key| table.has(key)).count();
    if given != 1 {
        let found = if given == 0 { "none of them" } else { "several of them" };
        report.add(table.line, "account.password", found, FORMS);
        return None;
    }
    let file = table.read(report, "file", |v| value::path(v, &around.folder)).map(|at| Secret::File(at.value));
    let env = named(&table, report, "env", is_variable, "the name of an environment variable").map(Secret::Env);
    let credential =
        named(&table, report, "credential", is_file_name, "the name of a credential").map(Secret::Credential);
    file.or(env).or(credential)
}

/// The name under `key`. What is no name may be the password itself, so it is not shown.
fn named(
    table: &Table<'_>,
    report: &mut Report<'_>,
    key: &str,
    fits: fn(&str) -> bool,
    wanted: &str,
) -> Option<String> {
    let At { line, value } = table.read(report, key, |v| Ok(value::text(v, wanted).ok().filter(|name| fits(name))))?;
    if value.is_none() {
        report.add(line, &table.path(key), "something else", wanted);
    }
    value
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// One step of a path: it cannot lead out of the directory.
fn is_file_name(name: &str) -> bool {
    !name.contains('/') && name != "." && name != ".."
}

const FORMS: &str = "{ file = \"…\" }, { env = \"NAME\" } or { credential = \"name\" }";
