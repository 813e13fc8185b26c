//! The configuration that answers make. Pure: what it writes is read by [`crate::config::Config::parse`] before it counts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::base::Base;
use crate::provider::Provider;
use crate::provider::presets::TlsMode;

/// What was asked for, secrets apart.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// The kind of account.
    pub(super) provider: Provider,
    /// Of Amazon SES.
    pub(super) region: Option<String>,
    /// Where it is not the preset's.
    pub(super) host: Option<String>,
    /// Where it is not the preset's.
    pub(super) port: Option<u16>,
    /// Where it is not the preset's.
    pub(super) tls: Option<TlsMode>,
    /// A further trust anchor.
    pub(super) ca_file: Option<PathBuf>,
    /// The name of the login; none where there is no login.
    pub(super) username: Option<String>,
    /// How it logs in.
    pub(super) way: LoginWay,
    /// The tenant and the client id of the registration.
    pub(super) registration: Option<Registration>,
    /// The account's own address, where it is not the username.
    pub(super) from: Option<String>,
    /// Recipients that the provider lets through, as rates.
    pub(super) quota: Vec<String>,
    /// Where clients connect; nowhere beside what is there already.
    pub(super) listen: Vec<SocketAddr>,
    /// Who may, where that is not this machine alone.
    pub(super) networks: Vec<IpNet>,
    /// Where the queue lies, where that is not the usual place.
    pub(super) queue: Option<PathBuf>,
    /// Whether it may lie on a file system that forgets.
    pub(super) ephemeral: bool,
}

/// How an account logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LoginWay {
    /// A password: of Microsoft 365 an app password, of SES the SMTP password, of Mailjet the secret key
    Password,
    /// The secret access key of an IAM user (ses), from which the SMTP password is derived
    IamSecret,
    /// OAuth for the application: client id and client secret of a registration
    ClientSecret,
    /// OAuth for the mailbox's user, who logs in once in a browser
    DeviceCode,
    /// No login: the smarthost knows us by our address
    None,
}

/// An application that is registered at the identity provider.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) tenant: Option<String>,
    pub(super) client_id: String,
    /// Where tokens come from, where that is not Microsoft's.
    pub(super) token_url: Option<String>,
}

impl LoginWay {
    /// The end of the secret file's name; none where there is no secret.
    pub(super) fn secret_suffix(self) -> Option<&'static str> {
        match self {
            Self::Password => Some("password"),
            Self::IamSecret => Some("iam-secret"),
            Self::ClientSecret => Some("client-secret"),
            Self::DeviceCode | Self::None => None,
        }
    }
}

impl Answers {
    /// The name of the account.
    pub(super) fn account(&self) -> &'static str {
        match self.provider {
            Provider::Microsoft365 | Provider::Microsoft365Hve | Provider::Microsoft365Connector => "m365",
            Provider::Ses => "ses",
            Provider::Mailjet => "mailjet",
            Provider::Smtp | Provider::Directory => "smarthost",
        }
    }

    /// Where its secret goes: beside the configuration.
    pub(super) fn secret_file(&self, config: &Path) -> Option<PathBuf> {
        let name = format!("{}.{}", self.account(), self.way.secret_suffix()?);
        Some(config.parent().unwrap_or(Path::new("/")).join(name))
    }

    /// The text of the configuration at `config`: what it starts from, and what these answers add.
    pub(super) fn compose(&self, base: &Base, config: &Path) -> String {
        let mut text = base.begun();
        self.queue(&mut text);
        self.listener(&mut text);
        text.push_str("[[account]]\n");
        self.account_keys(&mut text, config);
        text
    }

    fn listener(&self, text: &mut String) {
        if self.listen.is_empty() {
            return;
        }
        text.push_str("[[listener]]\n");
        let addresses: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        line(text, "address", &one_or_list(&addresses));
        if !self.networks.is_empty() {
            let networks: Vec<String> = self.networks.iter().map(ToString::to_string).collect();
            line(text, "networks", &one_or_list(&networks));
        }
        text.push('\n');
    }

    fn queue(&self, text: &mut String) {
        if self.queue.is_none() && !self.ephemeral {
            return;
        }
        text.push_str("[queue]\n");
        if let Some(path) = &self.queue {
            line(text, "path", &quoted(&path.display().to_string()));
        }
        if self.ephemeral {
            line(text, "ephemeral", "true # a trial: a real queue belongs on a disk");
        }
        text.push('\n');
    }

    fn account_keys(&self, text: &mut String, config: &Path) {
        line(text, "name", &quoted(self.account()));
        line(text, "provider", &quoted(self.provider.as_str()));
        let mut optional = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                line(text, key, &value);
            }
        };
        optional("region", self.region.as_deref().map(quoted));
        optional("host", self.host.as_deref().map(quoted));
        optional("port", self.port.map(|port| port.to_string()));
        optional("tls", self.tls.map(|tls| quoted(tls_word(tls))));
        optional("ca_file", self.ca_file.as_ref().map(|path| quoted(&path.display().to_string())));
        optional("username", self.username.as_deref().map(quoted));
        let secret =
            self.secret_file(config).map(|path| format!("{{ file = {} }}", quoted(&path.display().to_string())));
        match self.way {
            LoginWay::Password => optional("password", secret.clone()),
            LoginWay::IamSecret => optional("iam_secret", secret.clone()),
            LoginWay::ClientSecret | LoginWay::DeviceCode | LoginWay::None => {}
        }
        optional("from", self.from.as_deref().map(quoted));
        if !self.quota.is_empty() {
            line(text, "caps", &format!("{{ recipients = {} }}", one_or_list(&self.quota)));
        }
        let Some(Registration { tenant, client_id, token_url }) = &self.registration else { return };
        text.push_str("\n[account.oauth]\n");
        let mut optional = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                line(text, key, &value);
            }
        };
        optional("tenant", tenant.as_deref().map(quoted));
        optional("client_id", Some(quoted(client_id)));
        if self.way == LoginWay::ClientSecret {
            optional("client_secret", secret);
        }
        optional("token_url", token_url.as_deref().map(quoted));
    }
}

/// The word that the configuration uses.
pub(super) fn tls_word(tls: TlsMode) -> &'static str {
    match tls {
        TlsMode::StartTls => "starttls",
        TlsMode::Implicit => "implicit",
        TlsMode::None => "none",
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key} = {value}");
}

fn one_or_list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    match &quoted[..] {
        [one] => one.clone(),
        list => format!("[{}]", list.join(", ")),
    }
}

/// As TOML writes a string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Destination, Surroundings};

    fn answers(provider: Provider, way: LoginWay) -> Answers {
        Answers {
            provider,
            region: None,
            host: None,
            port: None,
            tls: None,
            ca_file: None,
            username: Some("web@example.com".into()),
            way,
            registration: None,
            from: None,
            quota: vec![],
            listen: vec!["127.0.0.1:25".parse().unwrap()],
            networks: vec![],
            queue: None,
            ephemeral: false,
        }
    }

    fn parsed(answers: &Answers) -> Config {
        let config = Path::new("/etc/mailsluice/config.toml");
        let around = Surroundings { reads_secrets: false, ..Surroundings::of(config) };
        let text = answers.compose(&Base::nothing(), config);
        Config::parse(&text, "config.toml", &around).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    #[test]
    fn the_smallest_answers_make_the_smallest_configuration() {
        let text = answers(Provider::Microsoft365, LoginWay::Password)
            .compose(&Base::nothing(), Path::new("/etc/mailsluice/config.toml"));
        let wanted = include_str!("../../../config/minimal.toml");
        let keys = |text: &str| text.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect::<Vec<_>>();
        let ours: Vec<_> = keys(&text).into_iter().map(|line| line.replace("web@", "webmaster@")).collect();
        assert_eq!(ours, keys(wanted));
    }

    #[test]
    fn every_provider_and_way_is_read_back_as_it_was_meant() {
        let registration =
            Some(Registration { tenant: Some("example.com".into()), client_id: "id".into(), token_url: None });
        let m365 = answers(Provider::Microsoft365, LoginWay::ClientSecret);
        let config = parsed(&Answers { registration: registration.clone(), ..m365.clone() });
        let Destination::Smtp(endpoint) = &config.accounts[0].destination else { panic!() };
        let login = endpoint.login.as_ref().unwrap();
        assert!(login.oauth.is_some() && login.password.is_none());
        parsed(&Answers { registration, way: LoginWay::DeviceCode, ..m365 });

        let ses = Answers {
            region: Some("eu-central-1".into()),
            from: Some("shop@example.com".into()),
            quota: vec!["14/s".into(), "50000/24h".into()],
            username: Some("AKIAIOSFODNN7EXAMPLE".into()),
            ..answers(Provider::Ses, LoginWay::IamSecret)
        };
        let config = parsed(&ses);
        let caps: Vec<String> = config.accounts[0].caps.windows.iter().map(ToString::to_string).collect();
        assert_eq!(caps, ["14/s", "50000/24h"]);
        assert_eq!(config.accounts[0].host(), "email-smtp.eu-central-1.amazonaws.com");
        parsed(&Answers { from: ses.from.clone(), ..answers(Provider::Mailjet, LoginWay::Password) });

        let smtp = Answers {
            host: Some("smtp.example.net".into()),
            port: Some(465),
            tls: Some(TlsMode::Implicit),
            username: None,
            listen: vec!["0.0.0.0:25".parse().unwrap(), "[::]:25".parse().unwrap()],
            networks: vec!["127.0.0.0/8".parse().unwrap(), "192.168.1.0/24".parse().unwrap()],
            queue: Some("/srv/mail/queue.db".into()),
            ephemeral: true,
            ..answers(Provider::Smtp, LoginWay::None)
        };
        let config = parsed(&smtp);
        assert_eq!((config.listeners[0].addresses.len(), config.listeners[0].networks.len()), (2, 2));
        assert_eq!(config.queue.path, Path::new("/srv/mail/queue.db"));
    }

    #[test]
    fn what_a_person_types_stays_inside_its_quotes() {
        let nasty = "a\"b\\c\n[[account]]";
        let text = Answers { username: Some(nasty.into()), ..answers(Provider::Smtp, LoginWay::Password) }
            .compose(&Base::nothing(), Path::new("/x/c.toml"));
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["account"][0]["username"].as_str(), Some(nasty));
        assert_eq!(read["account"].as_array().unwrap().len(), 1);
    }
}
