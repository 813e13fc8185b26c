//! The secrets of the configuration: where they lie and who may read them. Never what they are.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::Finding;
use crate::config::secret::{Secret, SecretError, quoted};
use crate::config::{AccountConfig, ClientProof, Config, Destination, Grant, Webhook};
use crate::ids::AccountName;
use crate::users::{Identity, group_name, user_name};

/// A secret and what it is for.
#[derive(Clone, Debug)]
pub struct Named {
    /// Such as `the password of account m365`.
    pub what: String,
    /// Where it lies.
    pub secret: Secret,
}

/// What can be seen of a secret.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which.
    pub named: Named,
    /// Owner, group and mode of its file; none where it is in no file that can be seen.
    pub file: Option<(u32, u32, u32)>,
    /// A folder on the way to it that the daemon's user may not pass.
    pub bars: Option<PathBuf>,
    /// Whether this process could read it.
    pub read: Result<(), SecretError>,
}

/// All secrets of the configuration.
pub fn of(config: &Config) -> Vec<Named> {
    let mut all: Vec<Named> = config.accounts.iter().flat_map(of_account).collect();
    if let Some(Webhook::Kept(secret)) = &config.alarms.webhook {
        all.push(Named { what: "the address of the webhook".into(), secret: secret.clone() });
    }
    for listener in &config.listeners {
        let address = listener.addresses.first();
        if let (Some(tls), Some(address)) = (&listener.tls, address) {
            let what = format!("the key of the listener on {address}");
            all.push(Named { what, secret: tls.identity.key.clone() });
        }
    }
    all
}

fn of_account(account: &AccountConfig) -> Vec<Named> {
    let Destination::Smtp(endpoint) = &account.destination else { return Vec::new() };
    let name: &AccountName = &account.name;
    let mut found: Vec<(&str, &Secret)> = Vec::new();
    found.extend(endpoint.certificate.as_ref().map(|own| ("key of the certificate", &own.key)));
    if let Some(login) = &endpoint.login {
        found.extend(login.password.as_ref().map(|password| ("password", &password.secret)));
        if let Some(oauth) = &login.oauth {
            match &oauth.proof {
                ClientProof::Secret(secret) => found.push(("client secret", secret)),
                ClientProof::Certificate(own) => found.push(("key for OAuth", &own.key)),
                ClientProof::None => {}
            }
            if let Grant::User { seed: Some(seed) } = &oauth.grant {
                found.push(("first refresh token", seed));
            }
        }
    }
    let named = |(what, secret): (&str, &Secret)| Named {
        what: format!("the {what} of account {name}"),
        secret: secret.clone(),
    };
    found.into_iter().map(named).collect()
}

impl Facts {
    /// Looks, as this user, with the eyes of `daemon`. Blocking.
    pub fn gather(named: Named, daemon: &Identity) -> Self {
        let (mut file, mut bars) = (None, None);
        if let Secret::File(path) = &named.secret {
            file = path.metadata().ok().map(|metadata| (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777));
            let own = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            bars = daemon.barred_at(&own);
        }
        let read = named.secret.read().map(drop);
        Self { named, file, bars, read }
    }
}

/// What to make of it. `daemon` is the user that the daemon runs as.
pub fn judge(facts: &Facts, daemon: &Identity) -> Finding {
    let what = &facts.named.what;
    let path = match &facts.named.secret {
        Secret::File(path) => path,
        Secret::Env(_) | Secret::Credential(_) => return elsewhere(facts),
    };
    let Some((owner, group, mode)) = facts.file else {
        return refused(what, facts);
    };
    let place = format!(
        "file {}, mode {mode:04o}, of {} and the group {}",
        path.display(),
        user_name(owner),
        group_name(group)
    );
    let mend = format!("sudo chown {} {file} && sudo chmod 600 {file}", daemon.name, file = quoted(path));
    if let Some(bars) = &facts.bars {
        let seen = format!("{what}: {} keeps the daemon's user {} from {place}", bars.display(), daemon.name);
        return Finding::failed(
            CHECK,
            seen,
            format!("sudo chgrp {} {1} && sudo chmod g+x {1}", daemon.name, quoted(bars)),
        );
    }
    // Where it is mounted by somebody who has seen to that, others may read it: then it could be read.
    let foreign_group = mode & 0o070 != 0 && !daemon.groups.contains(&group) && !daemon.is_root();
    if !daemon.may(4, owner, group, mode) || (foreign_group && facts.read.is_err()) {
        return Finding::failed(CHECK, format!("{what}: the daemon's user {} may not read {place}", daemon.name), mend);
    }
    match &facts.read {
        Ok(()) => Finding::ok(CHECK, format!("{what}: {place}: {}", readers(owner, group, mode))),
        Err(_) => refused(what, facts),
    }
}

fn refused(what: &str, facts: &Facts) -> Finding {
    match &facts.read {
        Err(SecretError { found, wanted }) => {
            Finding::failed(CHECK, format!("{what}: {found}"), format!("wanted: {wanted}"))
        }
        Ok(()) => Finding::ok(CHECK, format!("{what}: it can be read")),
    }
}

/// What only the daemon may be given.
fn elsewhere(facts: &Facts) -> Finding {
    let Named { what, secret: place } = &facts.named;
    match &facts.read {
        Ok(()) => Finding::ok(CHECK, format!("{what}: {place}, which this process has too")),
        Err(_) => Finding::warning(
            CHECK,
            format!("{what}: {place}, which cannot be seen from here"),
            "none, where the service manager gives it to the daemon; the daemon's log says where it lacks it",
        ),
    }
}

fn readers(owner: u32, group: u32, mode: u32) -> String {
    let mut readers = vec!["root".to_owned()];
    if mode & 0o400 != 0 && owner != 0 {
        readers.push(user_name(owner));
    }
    if mode & 0o040 != 0 {
        readers.push(format!("the group {}", group_name(group)));
    }
    if mode & 0o004 != 0 {
        readers.push("everyone".into());
    }
    format!("{} may read it", readers.join(", "))
}

const CHECK: &str = "secret";

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn daemon() -> Identity {
        Identity { name: "mailsluice".into(), user: 54_321, groups: vec![54_322] }
    }

    fn facts(file: (u32, u32, u32)) -> Facts {
        let named =
            Named { what: "the password of account m365".into(), secret: Secret::File("/etc/x.password".into()) };
        Facts { named, file: Some(file), bars: None, read: Ok(()) }
    }

    #[test]
    fn who_may_read_it_is_told() {
        let finding = judge(&facts((54_321, 54_322, 0o640)), &daemon());
        assert_eq!(finding.standing, Standing::Ok);
        assert!(
            finding.seen.ends_with("mode 0640, of 54321 and the group 54322: root, 54321, the group 54322 may read it")
        );
    }

    #[test]
    fn what_the_daemon_may_not_read_is_a_failure_even_where_root_may() {
        for file in [(0, 0, 0o600), (0, 0, 0o640), (0, 54_322, 0o600)] {
            let finding = judge(&facts(file), &daemon());
            assert_eq!(finding.standing, Standing::Failed, "{finding:?}");
            assert_eq!(
                finding.advice.as_deref(),
                Some("sudo chown mailsluice /etc/x.password && sudo chmod 600 /etc/x.password")
            );
        }
        let barred = Facts { bars: Some("/etc".into()), ..facts((54_321, 0, 0o600)) };
        assert!(judge(&barred, &daemon()).seen.contains("/etc keeps the daemon's user mailsluice from"));
    }

    #[test]
    fn what_the_configuration_refuses_is_told_in_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let named = Named { what: "the password".into(), secret: Secret::File(path) };
        let finding = judge(&Facts::gather(named, &Identity::own()), &Identity::own());
        assert_eq!(finding.standing, Standing::Failed);
        assert!(finding.seen.contains("mode 0644, open to everyone"), "{finding:?}");
        assert!(!format!("{finding:?}").contains("hunter2"));
    }

    #[test]
    fn what_systemd_hands_over_is_not_missed() {
        for secret in [Secret::Env("MAILSLUICE_NO_SUCH".into()), Secret::Credential("none".into())] {
            let named = Named { what: "the password".into(), secret };
            let finding = judge(&Facts::gather(named, &daemon()), &daemon());
            assert_eq!(finding.standing, Standing::Warning, "{finding:?}");
        }
    }
}
