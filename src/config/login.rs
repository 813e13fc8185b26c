//! How an account logs in: `username` with `password`, `iam_secret` or `[account.oauth]`, or a client certificate. The
//! value of a secret is never part of a message: what stands where one is wanted may be one.

use super::problem::Report;
use super::secret::Secret;
use super::table::{At, Table};
use super::{Login, Method, OAuth, OwnCertificate, Password, PasswordForm, Surroundings, oauth, value};
use crate::provider::presets::{LoginNeed, Smarthost};
use crate::provider::{Mechanism, Provider};
use crate::time::Timestamp;

pub(super) const KEYS: &[&str] = &["file", "env", "credential"];

/// What the keys say; none where one is absent or badly written.
#[derive(Debug)]
pub(super) struct LoginKeys {
    pub(super) username: Option<At<String>>,
    password: Option<Secret>,
    iam_secret: Option<Secret>,
    expires: Option<Timestamp>,
    oauth: Option<OAuth>,
    prefer: Method,
    mechanisms: Option<Vec<Mechanism>>,
    pub(super) region: Option<String>,
    pub(super) certificate: Option<OwnCertificate>,
}

impl LoginKeys {
    /// The login, where there is enough for one.
    pub(super) fn login(&self, smarthost: &Smarthost) -> Option<Login> {
        let username = self.username.as_ref()?.value.clone();
        let of_iam = self.iam_secret.clone().zip(self.region.clone());
        let of_iam = of_iam.map(|(secret, region)| (secret, PasswordForm::SesIam { region }));
        let plain = self.password.clone().map(|secret| (secret, PasswordForm::AsItIs));
        let password = plain.or(of_iam).map(|(secret, form)| Password { secret, form, expires: self.expires });
        if password.is_none() && self.oauth.is_none() {
            return None;
        }
        let mechanisms = self.mechanisms.clone().unwrap_or_else(|| smarthost.mechanisms.to_vec());
        Some(Login { username, password, oauth: self.oauth.clone(), prefer: self.prefer, mechanisms })
    }
}

/// Reads the keys, and the secrets themselves where they are read, to say at once where one cannot be had.
pub(super) fn read(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> LoginKeys {
    let mechanisms =
        table.list(report, "mechanisms", super::table::Emptiness::Refused, |v| value::word(v, &MECHANISMS));
    LoginKeys {
        username: table
            .read(report, "username", |v| value::text(v, "the name of the login, without control characters")),
        password: read_secret(table, report, around, "password", "account.password"),
        iam_secret: read_secret(table, report, around, "iam_secret", "account.iam_secret"),
        expires: table.read(report, "expires", value::date).map(|at| at.value),
        oauth: oauth::read(table, report, around),
        prefer: table.read_or(report, "prefer", Method::OAuth, |v| value::word(v, &METHODS)),
        mechanisms: mechanisms.map(|list| list.into_iter().map(|at| at.value).collect()),
        region: table.read(report, "region", |v| value::host(v, REGION)).map(|at| at.value),
        certificate: read_certificate(table, report, around, ("account.certificate", "account.key")),
    }
}

/// Reports what is missing, or does not go together.
pub(super) fn check(table: &Table<'_>, report: &mut Report<'_>, provider: Provider, need: LoginNeed) {
    if need == LoginNeed::Absent {
        let wanted = "no such key here: a connector takes no login, it knows us by our address or `certificate`";
        refuse(table, report, &["username", "password", "oauth", "expires", "prefer", "mechanisms"], wanted);
    } else {
        check_pair(table, report, need);
    }
    if provider != Provider::Ses {
        refuse(table, report, &["iam_secret", "region"], "no such key here: it belongs to provider = \"ses\"");
    } else if table.has("iam_secret") {
        // Without a host it is wanted all the same.
        if table.has("host") {
            table.require(report, "region", REGION);
        }
        if table.has("password") {
            let line = table.line_of(report, "iam_secret");
            report.add(line, &table.path("iam_secret"), "a value beside password", "one of the two");
        }
    }
    // A certificate says itself when it ends.
    if table.has("expires") && !(table.has("password") || table.has("iam_secret")) {
        let line = table.line_of(report, "expires");
        report.add(line, &table.path("expires"), "a date", "it beside the secret that ends then");
    }
    let both = table.has("oauth") && table.has("password");
    if table.has("prefer") && !both {
        let line = table.line_of(report, "prefer");
        report.add(line, &table.path("prefer"), "a preference", "both `password` and [account.oauth] to choose from");
    }
}

/// Reports where a name or what opens it is missing.
fn check_pair(table: &Table<'_>, report: &mut Report<'_>, need: LoginNeed) {
    let opens = ["password", "iam_secret", "oauth"].iter().any(|key| table.has(key));
    if need == LoginNeed::Required || opens {
        table.require(report, "username", "the name of the login");
    }
    if (need == LoginNeed::Required || table.has("username")) && !opens {
        table.require(report, "password", &format!("{FORMS}, or a table [account.oauth]"));
    }
}

/// Reports each of the keys that is there.
pub(super) fn refuse(table: &Table<'_>, report: &mut Report<'_>, keys: &[&str], wanted: &str) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.add(table.line_of(report, key), &table.path(key), "a value", wanted);
    }
}

/// `certificate` and `key` of a table, whose names with those that lead to them are given.
pub(super) fn read_certificate(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    (certificate_name, key_name): (&'static str, &'static str),
) -> Option<OwnCertificate> {
    let certificate = table.read(report, "certificate", |v| value::path(v, &around.folder));
    if let Some(At { line, value: path }) = &certificate {
        value::check_certificates(report, *line, certificate_name, path);
    }
    let key = read_secret(table, report, around, "key", key_name);
    if table.has("certificate") != table.has("key") {
        let (there, missing) = if table.has("key") { ("key", "certificate") } else { ("certificate", "key") };
        let line = table.line_of(report, there);
        report.add(line, &table.path(missing), "nothing", "both `certificate` and `key`, or neither");
    }
    Some(OwnCertificate { certificate: certificate?.value, key: key? })
}

/// Where the secret under `key` (itself named `name`) lies; the secret itself is read to say where it cannot be had.
pub(super) fn read_secret(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    key: &'static str,
    name: &'static str,
) -> Option<Secret> {
    let line = table.line_of(report, key);
    let table = table.table(report, key, (name, KEYS), FORMS)?;
    let given = KEYS.iter().filter(|key| table.has(key)).count();
    if given != 1 {
        let found = if given == 0 { "none of them" } else { "several of them" };
        report.add(table.line, name, found, FORMS);
        return None;
    }
    let file = table.read(report, "file", |v| value::path(v, &around.folder)).map(|at| Secret::File(at.value));
    let env = named(&table, report, "env", is_variable, "the name of an environment variable").map(Secret::Env);
    let credential =
        named(&table, report, "credential", is_file_name, "the name of a credential").map(Secret::Credential);
    let secret = file.or(env).or(credential)?;
    if around.reads_secrets
        && let Err(error) = secret.read_with(around.variable)
    {
        report.add(line, name, error.found, error.wanted);
    }
    Some(secret)
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
pub(super) const REGION: &str = "a region of Amazon SES, such as \"eu-central-1\"";
const METHODS: [(&str, Method); 2] = [("oauth", Method::OAuth), ("password", Method::Password)];
const MECHANISMS: [(&str, Mechanism); 3] =
    [("XOAUTH2", Mechanism::Xoauth2), ("PLAIN", Mechanism::Plain), ("LOGIN", Mechanism::Login)];
