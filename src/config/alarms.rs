//! `[alarms]`: whom to tell of trouble, and from when on it is trouble.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use toml::de::DeValue;

use super::problem::Report;
use super::secret::{Secret, SecretError};
use super::table::{At, Emptiness, Table};
use super::{AlarmsConfig, Surroundings, login, value};

pub(super) const KEYS: &[&str] = &["webhook", "to", "quota", "queue_age", "calm"];

/// Where alarms are posted to. The address is a secret: whoever knows it can post there. Never printed.
#[derive(Clone)]
pub enum Webhook {
    /// This address.
    Written(SecretString),
    /// The address that lies there; read anew each time.
    Kept(Secret),
}

impl Webhook {
    /// The address. Blocking, brief.
    ///
    /// # Errors
    /// Where it cannot be had, or is none; never with what was found.
    pub fn address(&self) -> Result<SecretString, SecretError> {
        let address = match self {
            Self::Written(address) => return Ok(address.clone()),
            Self::Kept(secret) => secret.read()?,
        };
        if value::is_web_address(address.expose_secret()) { Ok(address) } else { Err(no_address()) }
    }
}

impl fmt::Debug for Webhook {
    /// Says where, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(_) => f.write_str("Webhook(hidden)"),
            Self::Kept(secret) => write!(f, "Webhook({secret:?})"),
        }
    }
}

impl Default for AlarmsConfig {
    fn default() -> Self {
        Self {
            webhook: None,
            to: Vec::new(),
            quota_percent: 80,
            queue_age: Duration::from_secs(3600),
            calm: Duration::from_secs(60),
        }
    }
}

/// Reads `[alarms]`, which may be missing.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> AlarmsConfig {
    let default = AlarmsConfig::default();
    let Some(table) = document.table(report, "alarms", ("alarms", KEYS), "a table [alarms]") else { return default };
    let to = table.list(report, "to", Emptiness::Allowed, value::mailbox).unwrap_or_default();
    AlarmsConfig {
        webhook: webhook(&table, report, around),
        to: to.into_iter().map(|at| at.value).collect(),
        quota_percent: table.read_or(report, "quota", default.quota_percent, value::percent),
        queue_age: table.read_or(report, "queue_age", default.queue_age, |v| value::duration(v, "1min"..="30d")),
        calm: table.read_or(report, "calm", default.calm, |v| value::duration(v, "1s"..="1d")),
    }
}

/// The address itself, or where it lies. What is no address may be most of one, so it is not shown.
fn webhook(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Option<Webhook> {
    let line = table.line_of(report, "webhook");
    let written = table.read(report, "webhook", |v| Ok(v.as_str().map(|_| value::web_address(v).ok())))?;
    if let At { value: Some(written), .. } = written {
        if written.is_none() {
            report.add(line, "alarms.webhook", "something else", value::WEB_ADDRESS);
        }
        return written.map(|address| Webhook::Written(address.into()));
    }
    let secret = login::read_secret(table, report, around, "webhook", "alarms.webhook")?;
    let read = around.reads_secrets.then(|| secret.read_with(around.variable));
    // One that cannot be read has been reported.
    if let Some(Ok(address)) = read
        && value::web_address(&DeValue::String(address.expose_secret().into())).is_err()
    {
        let SecretError { found, wanted } = no_address();
        report.add(line, "alarms.webhook", found, wanted);
    }
    Some(Webhook::Kept(secret))
}

fn no_address() -> SecretError {
    SecretError {
        found: "something else where the webhook's address should be".into(),
        wanted: value::WEB_ADDRESS.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_webhook_is_not_shown() {
        let address = "https://hooks.example/T00/B00/open-sesame";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook");
        std::fs::write(&file, format!("{address}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        for webhook in [Webhook::Written(address.into()), Webhook::Kept(Secret::File(file.clone()))] {
            assert_eq!(webhook.address().unwrap().expose_secret(), address);
            assert!(!format!("{webhook:?}").contains("sesame"), "{webhook:?}");
        }
        // Plain http would show it to the network.
        std::fs::write(&file, "http://hooks.example/T00/B00/open-sesame\n").unwrap();
        let told = Webhook::Kept(Secret::File(file)).address().unwrap_err().to_string();
        assert!(told.contains("https://") && !told.contains("sesame"), "{told}");
    }
}
