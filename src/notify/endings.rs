//! What ends on a known day: secrets by the dates beside them, certificates by their own.

use std::path::Path;

use x509_parser::pem::Pem;

use crate::alarm::Kind;
use crate::alarm::sight::{Ending, PASSWORD_LOGINS_END};
use crate::config::certificate::Certificate;
use crate::config::{AccountConfig, ClientProof, Config, Destination, ListenerConfig, Login};
use crate::provider::Provider;
use crate::time::Timestamp;

/// Everything that ends. A file that cannot be read says nothing here: whoever needs it tells. Blocking.
pub fn read(config: &Config) -> Vec<Ending> {
    let of_accounts = config.accounts.iter().flat_map(of_account);
    of_accounts.chain(config.listeners.iter().filter_map(of_listener)).collect()
}

/// The certificate that a listener shows.
fn of_listener(listener: &ListenerConfig) -> Option<Ending> {
    let ends = days(&listener.tls.as_ref()?.identity.certificate).into_iter().min()?;
    let address = listener.addresses.first()?;
    Some(Ending {
        kind: Kind::CertificateExpires,
        subject: format!("listener {address} certificate"),
        what: format!("The certificate of the listener on {address}"),
        ends,
        remedy: "put a new one in its place, then `systemctl reload mailsluice`, from when on it counts",
    })
}

fn of_account(account: &AccountConfig) -> Vec<Ending> {
    let Destination::Smtp(endpoint) = &account.destination else { return Vec::new() };
    let mut endings = endpoint.login.as_ref().map(|login| of_login(account, login)).unwrap_or_default();
    let own = endpoint.certificate.as_ref().map(|own| &own.certificate);
    if let Some(ends) = own.and_then(|path| days(path).into_iter().min()) {
        endings.push(ending(account, Kind::CertificateExpires, "certificate", ends));
    }
    // A bundle is of use while one of its certificates is.
    if let Some(ends) = endpoint.ca_file.as_ref().and_then(|path| days(path).into_iter().max()) {
        endings.push(ending(account, Kind::CertificateExpires, "ca_file", ends));
    }
    endings
}

fn of_login(account: &AccountConfig, login: &Login) -> Vec<Ending> {
    let mut endings = Vec::new();
    if let Some(ends) = login.password.as_ref().and_then(|password| password.expires) {
        endings.push(ending(account, Kind::SecretExpires, "password", ends));
    }
    if let Some(oauth) = &login.oauth {
        let which = match &oauth.proof {
            ClientProof::Secret(_) => "client secret",
            ClientProof::Certificate(_) => "key for OAuth",
            ClientProof::None => "refresh token",
        };
        endings.extend(oauth.expires.map(|ends| ending(account, Kind::SecretExpires, which, ends)));
        if let ClientProof::Certificate(own) = &oauth.proof
            && let Some(ends) = days(&own.certificate).into_iter().min()
        {
            endings.push(ending(account, Kind::CertificateExpires, "OAuth certificate", ends));
        }
    }
    let at_microsoft =
        account.provider == Provider::Microsoft365 || account.host().eq_ignore_ascii_case("smtp.office365.com");
    if at_microsoft && login.password.is_some() && login.oauth.is_none() {
        endings.push(Ending {
            kind: Kind::PasswordLoginEnds,
            subject: account.name.as_str().into(),
            what: format!("Password logins at Microsoft 365, by which account {} sends,", account.name),
            ends: PASSWORD_LOGINS_END,
            remedy: "give the account a table [account.oauth] before then (README, Move to OAuth)",
        });
    }
    endings
}

fn ending(account: &AccountConfig, kind: Kind, which: &str, ends: Timestamp) -> Ending {
    let remedy = match kind {
        Kind::SecretExpires => {
            "make a new one, put it in the old one's place, and write its date beside it (`expires`)"
        }
        _ => "put a new one in its place; it counts from the next connection on",
    };
    let what = format!("The {which} of account {}", account.name);
    Ending { kind, subject: format!("{} {which}", account.name), what, ends, remedy }
}

/// When each of the certificates in a PEM file ends.
fn days(path: &Path) -> Vec<Timestamp> {
    let Ok(pem) = std::fs::read(path) else { return Vec::new() };
    let certificates = Pem::iter_from_buffer(&pem).filter_map(Result::ok);
    certificates.filter_map(|pem| Some(Certificate::parse(&pem.contents)?.ends)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A file with certificates that end in these years.
    fn bundle(folder: &Path, years: &[i32]) -> PathBuf {
        let mut pem = String::new();
        for year in years {
            let mut params = CertificateParams::new(vec!["smtp.example.com".into()]).unwrap();
            params.not_after = date_time_ymd(*year, 3, 1);
            pem += &params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        }
        let path = folder.join(format!("{years:?}.pem"));
        std::fs::write(&path, pem).unwrap();
        path
    }

    #[test]
    fn secrets_and_certificates_end_when_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let (own, trusted) = (bundle(folder.path(), &[2028, 2027]), bundle(folder.path(), &[2026, 2029]));
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let (shown, key) = (folder.path().join("relay.pem"), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(vec!["relay.example.com".into()]).unwrap();
        params.not_after = date_time_ymd(2027, 4, 1);
        std::fs::write(&shown, params.self_signed(&key).unwrap().pem()).unwrap();
        let fits = folder.path().join("key");
        std::fs::write(&fits, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&fits, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {shown:?}, key = {{ file = {fits:?} }} }}\n\
             [[account]]\nname = \"m365\"\nprovider = \"microsoft365\"\nusername = \"w@example.com\"\n\
             password = {{ file = {secret:?} }}\nexpires = 2027-01-15\nca_file = {trusted:?}\n\
             [[account]]\nname = \"app\"\nprovider = \"microsoft365\"\nusername = \"w@example.com\"\n\
             password = {{ file = {secret:?} }}\n\
             oauth = {{ tenant = \"t.example\", client_id = \"id\", certificate = {own:?}, key = {{ file = {secret:?} }}, expires = 2027-02-01 }}\n"
        );
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let found: Vec<String> = read(&config)
            .iter()
            .map(|one| format!("{} {} {}", one.kind, one.subject, &one.ends.to_string()[..10]))
            .collect();
        assert_eq!(
            found,
            [
                "secret_expires m365 password 2027-01-15",
                "password_login_ends m365 2027-01-01",
                "certificate_expires m365 ca_file 2029-03-01",
                "secret_expires app key for OAuth 2027-02-01",
                "certificate_expires app OAuth certificate 2027-03-01",
                "certificate_expires listener 127.0.0.1:0 certificate 2027-04-01",
            ]
        );
    }
}
