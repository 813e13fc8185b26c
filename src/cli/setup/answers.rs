//! What setup asks, in which order, and what counts as an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;

use super::super::Failure;
use super::ask::{Asker, Question};
use super::base::Base;
use super::compose::{Answers, LoginWay, Registration, tls_word};
use crate::provider::Provider;
use crate::provider::presets::TlsMode;
use crate::smtp::Address;

/// The flags that answer questions.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Who takes the mail: microsoft365, microsoft365-hve, microsoft365-connector, ses, mailjet or smtp
    #[arg(long)]
    provider: Option<String>,
    /// The region (ses), such as eu-central-1
    #[arg(long)]
    region: Option<String>,
    /// The smarthost, where it is not the provider's own
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Its port, where it is not the usual one
    #[arg(long)]
    port: Option<u16>,
    /// When TLS begins: starttls, implicit or none
    #[arg(long, value_name = "MODE")]
    tls: Option<String>,
    /// A PEM file of certificates to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name of the login: the mailbox, the SMTP user name (ses), the API key (mailjet)
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// How to log in
    #[arg(long, value_enum)]
    login: Option<LoginWay>,
    /// A file with the password; what it holds is copied beside the configuration
    #[arg(long, value_name = "FILE", group = "secret_source")]
    password_file: Option<PathBuf>,
    /// A file with the secret access key of an IAM user (ses), likewise
    #[arg(long, value_name = "FILE", group = "secret_source")]
    iam_secret_file: Option<PathBuf>,
    /// A file with the client secret of an OAuth registration, likewise
    #[arg(long, value_name = "FILE", group = "secret_source")]
    client_secret_file: Option<PathBuf>,
    /// Read the secret from standard input
    #[arg(long, group = "secret_source")]
    password_stdin: bool,
    /// The tenant of an OAuth registration: its domain or its id
    #[arg(long)]
    tenant: Option<String>,
    /// The client id of an OAuth registration
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Where tokens come from, where that is not Microsoft
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// The address that mail is sent from, where the name of the login is none
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// What the provider lets through, as recipients in a length of time, such as 14/s,50000/24h (ses: its sending quota)
    #[arg(long, value_name = "RATES", value_delimiter = ',')]
    quota: Option<Vec<String>>,
    /// Networks that may hand in mail besides this machine, such as 192.168.1.0/24
    #[arg(long, value_delimiter = ',')]
    networks: Option<Vec<String>>,
    /// Where to listen [default: 127.0.0.1:25, with --networks 0.0.0.0:25; with the package what
    /// its configuration has, with --networks also this machine's address there]
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    listen: Option<Vec<String>>,
    /// Where the queue lies [default: /var/lib/mailsluice/queue.db]
    #[arg(long, value_name = "FILE")]
    queue: Option<PathBuf>,
    /// Let the queue lie on a file system that forgets: for a trial
    #[arg(long)]
    ephemeral: bool,
}

impl Flags {
    /// Asks for everything but the secret. Nothing where an answer is missing, which the asker keeps.
    pub(super) fn answers(&self, asker: &mut Asker, base: &Base) -> Result<Option<Answers>, Failure> {
        self.refuse_twice(base)?;
        let question = Question { text: "Who takes the mail", flag: "--provider", default: None };
        let provider = asker.choose(&question, self.provider.as_deref(), &PROVIDERS)?;
        let Some(provider) = provider else { return Ok(None) };
        let region = match provider {
            Provider::Ses => self.ask(asker, "Region of Amazon SES", "--region", None, self.region.as_deref())?,
            _ => self.region.clone(),
        };
        let (host, tls) = self.smarthost(asker, provider)?;
        let way = self.way(asker, provider)?;
        let username = match way {
            Some(LoginWay::None) => None,
            _ => self.username(asker, provider)?,
        };
        let registration = self.registration(asker, way)?;
        let from = self.from(asker, provider, username.as_deref())?;
        let quota = self.quota(asker, provider)?;
        let networks = self.networks(asker)?;
        let listen = self.listen(asker, base, &networks)?;
        let Some(way) = way else { return Ok(None) };
        Ok(Some(Answers {
            provider,
            region,
            host,
            port: self.port,
            tls,
            ca_file: self.ca_file.clone().map(|path| std::path::absolute(&path).unwrap_or(path)),
            username,
            way,
            registration,
            from,
            quota,
            networks: with_this_machine(networks, &listen),
            listen,
            queue: self.queue.clone().map(|path| std::path::absolute(&path).unwrap_or(path)),
            ephemeral: self.ephemeral,
        }))
    }

    /// Asks for the secret that this way of logging in needs.
    pub(super) fn secret(&self, asker: &mut Asker, answers: Option<&Answers>) -> Result<Option<SecretString>, Failure> {
        let password = answers.map_or("The password", |answers| name_of_password(answers.provider));
        let (text, flag, file) = match answers.map(|answers| answers.way) {
            Some(LoginWay::Password) => (password, "--password-file", &self.password_file),
            Some(LoginWay::IamSecret) => ("The secret access key", "--iam-secret-file", &self.iam_secret_file),
            Some(LoginWay::ClientSecret) => ("The client secret", "--client-secret-file", &self.client_secret_file),
            Some(LoginWay::DeviceCode | LoginWay::None) | None => return Ok(None),
        };
        asker.secret(&Question { text, flag, default: None }, file.as_deref(), self.password_stdin)
    }

    fn ask(
        &self,
        asker: &mut Asker,
        text: &str,
        flag: &'static str,
        default: Option<&str>,
        given: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        asker.ask(&Question { text, flag, default: default.map(str::to_owned) }, given, not_empty)
    }

    /// The name of the login: with Microsoft, always an address.
    fn username(&self, asker: &mut Asker, provider: Provider) -> Result<Option<String>, Failure> {
        let question = Question { text: name_of_login(provider), flag: "--username", default: None };
        asker.ask(&question, self.username.as_deref(), |answer| match provider {
            Provider::Microsoft365 | Provider::Microsoft365Hve => address(answer).map(|_| answer.to_owned()),
            _ => not_empty(answer),
        })
    }

    /// Host and TLS, where the provider does not say.
    fn smarthost(&self, asker: &mut Asker, provider: Provider) -> Result<(Option<String>, Option<TlsMode>), Failure> {
        let host = match provider {
            Provider::Smtp => self.ask(asker, "The smarthost's name", "--host", None, self.host.as_deref())?,
            Provider::Microsoft365Connector => {
                let text = "The tenant's host, such as example-com.mail.protection.outlook.com";
                self.ask(asker, text, "--host", None, self.host.as_deref())?
            }
            _ => self.host.clone(),
        };
        if provider != Provider::Smtp && self.tls.is_none() {
            return Ok((host, None));
        }
        let default = Some(tls_word(TlsMode::StartTls).to_owned());
        let question = Question { text: "When does TLS begin", flag: "--tls", default };
        Ok((host, asker.choose(&question, self.tls.as_deref(), &TLS)?))
    }

    /// How to log in: as flags say or make plain, or as is chosen.
    fn way(&self, asker: &mut Asker, provider: Provider) -> Result<Option<LoginWay>, Failure> {
        let plain = match () {
            () if self.login.is_some() => self.login,
            () if provider == Provider::Microsoft365Connector => Some(LoginWay::None),
            () if self.client_secret_file.is_some() => Some(LoginWay::ClientSecret),
            () if self.iam_secret_file.is_some() => Some(LoginWay::IamSecret),
            () if self.client_id.is_some() && self.password_stdin => Some(LoginWay::ClientSecret),
            () if self.client_id.is_some() => Some(LoginWay::DeviceCode),
            () if self.password_file.is_some() || self.password_stdin => Some(LoginWay::Password),
            () if provider == Provider::Mailjet => Some(LoginWay::Password),
            () => None,
        };
        if plain.is_some() {
            return Ok(plain);
        }
        let choices: &[(&str, &str, LoginWay)] = match provider {
            Provider::Ses => &SES_WAYS,
            Provider::Smtp => &SMTP_WAYS,
            _ => &MICROSOFT_WAYS,
        };
        asker.choose(&Question { text: "How does it log in", flag: "--login", default: None }, None, choices)
    }

    fn registration(&self, asker: &mut Asker, way: Option<LoginWay>) -> Result<Option<Registration>, Failure> {
        if !matches!(way, Some(LoginWay::ClientSecret | LoginWay::DeviceCode)) {
            return Ok(None);
        }
        let tenant = match &self.token_url {
            Some(_) => self.tenant.clone(),
            None => self.ask(asker, "The tenant (its domain or id)", "--tenant", None, self.tenant.as_deref())?,
        };
        let text = "The client id of the registration";
        let client_id = self.ask(asker, text, "--client-id", None, self.client_id.as_deref())?;
        Ok(client_id.map(|client_id| Registration { tenant, client_id, token_url: self.token_url.clone() }))
    }

    /// Asked for where the name of the login is no address.
    fn from(&self, asker: &mut Asker, provider: Provider, username: Option<&str>) -> Result<Option<String>, Failure> {
        let is_address = username.is_some_and(|name| name.parse::<Address>().is_ok());
        if self.from.is_none() && is_address && !matches!(provider, Provider::Ses | Provider::Mailjet) {
            return Ok(None);
        }
        let text = match provider {
            Provider::Ses | Provider::Mailjet => "The address that mail is sent from, which the provider has verified",
            _ => "The address that mail is sent from",
        };
        let question = Question { text, flag: "--from", default: None };
        Ok(asker.ask(&question, self.from.as_deref(), address)?.map(|address| address.to_string()))
    }

    fn quota(&self, asker: &mut Asker, provider: Provider) -> Result<Vec<String>, Failure> {
        if provider != Provider::Ses {
            return Ok(self.quota.clone().unwrap_or_default());
        }
        let text = "Sending quota in recipients (SES console, Account dashboard; a new account has 1/s 200/24h)";
        let question = Question { text, flag: "--quota", default: Some("1/s 200/24h".into()) };
        let given = self.quota.as_ref().map(|rates| rates.join(" "));
        let rates = asker.ask(&question, given.as_deref(), |answer| list(answer, |word| Ok(word.to_owned())))?;
        Ok(rates.unwrap_or_default())
    }

    fn networks(&self, asker: &mut Asker) -> Result<Vec<IpNet>, Failure> {
        let text = "Networks besides this machine that may hand in mail, such as 192.168.1.0/24 (empty: none)";
        let question = Question { text, flag: "--networks", default: Some(String::new()) };
        let given = self.networks.as_ref().map(|networks| networks.join(" "));
        let network = |word: &str| {
            let parsed = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
            parsed.map_err(|_| format!("{word:?} is no network such as 192.168.1.0/24"))
        };
        Ok(asker.ask(&question, given.as_deref(), |answer| list(answer, network))?.unwrap_or_default())
    }

    /// Where to listen: for all clients where nothing is there yet, else for those of further networks alone.
    fn listen(&self, asker: &mut Asker, base: &Base, networks: &[IpNet]) -> Result<Vec<SocketAddr>, Failure> {
        let default = match (base.has("listener"), networks.first()) {
            (true, None) if self.listen.is_none() => return Ok(vec![]),
            (true, Some(network)) => own_address_towards(network).map(|own| SocketAddr::new(own, 25).to_string()),
            (_, None) => Some("127.0.0.1:25".into()),
            (false, Some(_)) => Some("0.0.0.0:25".into()),
        };
        let text = if base.has("listener") { "Where to listen for them" } else { "Where to listen" };
        let question = Question { text, flag: "--listen", default };
        let given = self.listen.as_ref().map(|addresses| addresses.join(" "));
        let parse = |word: &str| {
            word.parse::<SocketAddr>().map_err(|_| format!("{word:?} is no address and port such as 127.0.0.1:25"))
        };
        Ok(asker.ask(&question, given.as_deref(), |answer| list(answer, parse))?.unwrap_or_default())
    }

    /// A table that is there is changed by hand, where its comments are.
    fn refuse_twice(&self, base: &Base) -> Result<(), Failure> {
        let flag = if self.queue.is_some() { "--queue" } else { "--ephemeral" };
        if base.has("queue") && (self.queue.is_some() || self.ephemeral) {
            return Err(Failure::Usage(format!("{flag}: the configuration has a [queue] already: change it there")));
        }
        Ok(())
    }
}

/// The address of this machine from which it reaches the network, if it does. Nothing is sent.
fn own_address_towards(network: &IpNet) -> Option<IpAddr> {
    let any: IpAddr =
        if network.addr().is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    let host = network.hosts().next()?;
    socket.connect((host, 25)).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

/// An address, as an answer.
pub(super) fn address(answer: &str) -> Result<Address, String> {
    answer.parse().map_err(|_| format!("{answer:?} is no address such as webmaster@example.com"))
}

fn not_empty(answer: &str) -> Result<String, String> {
    if answer.is_empty() { Err("an answer is wanted".into()) } else { Ok(answer.to_owned()) }
}

/// Words apart by spaces or commas.
fn list<T>(answer: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    answer.split([' ', ',']).filter(|word| !word.is_empty()).map(parse).collect()
}

fn name_of_login(provider: Provider) -> &'static str {
    match provider {
        Provider::Ses => "The SMTP user name (or the access key id of the IAM user)",
        Provider::Mailjet => "The API key",
        Provider::Smtp => "The user name at the smarthost",
        _ => "The mailbox that sends, such as webmaster@example.com",
    }
}

/// The password, as the provider's own page calls it.
fn name_of_password(provider: Provider) -> &'static str {
    match provider {
        Provider::Microsoft365 => "The app password",
        Provider::Ses => "The SMTP password",
        Provider::Mailjet => "The secret key",
        _ => "The password",
    }
}

/// The networks, and this machine, which may hand in mail too.
fn with_this_machine(networks: Vec<IpNet>, listen: &[SocketAddr]) -> Vec<IpNet> {
    if networks.is_empty() {
        return networks;
    }
    let mut all: Vec<IpNet> = Vec::new();
    let loopback = ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|network| network.parse::<IpNet>().ok());
    all.extend(loopback.filter(|own| listen.iter().any(|address| address.is_ipv4() == own.addr().is_ipv4())));
    all.extend(networks);
    let mut seen = Vec::new();
    all.retain(|network| {
        let new = !seen.contains(network);
        seen.push(*network);
        new
    });
    all
}

const PROVIDERS: [(&str, &str, Provider); 6] = [
    ("microsoft365", "a mailbox of Microsoft 365", Provider::Microsoft365),
    ("ses", "Amazon SES", Provider::Ses),
    ("mailjet", "Mailjet", Provider::Mailjet),
    ("smtp", "any other smarthost", Provider::Smtp),
    ("microsoft365-hve", "High Volume Email of Microsoft 365", Provider::Microsoft365Hve),
    ("microsoft365-connector", "a connector of Microsoft 365, without a login", Provider::Microsoft365Connector),
];
const TLS: [(&str, &str, TlsMode); 3] = [
    ("starttls", "after STARTTLS (port 587)", TlsMode::StartTls),
    ("implicit", "at once (port 465)", TlsMode::Implicit),
    ("none", "never: to this machine alone, or without a login", TlsMode::None),
];
const MICROSOFT_WAYS: [(&str, &str, LoginWay); 3] = [
    ("client-secret", "OAuth: a registration with a client secret (for good)", LoginWay::ClientSecret),
    ("device-code", "OAuth: the mailbox's user logs in once in a browser", LoginWay::DeviceCode),
    ("password", "an app password (Microsoft switches it off by default at the end of 2026)", LoginWay::Password),
];
const SES_WAYS: [(&str, &str, LoginWay); 2] = [
    ("password", "SMTP user name and password, as the SES console makes them", LoginWay::Password),
    ("iam-secret", "access key id and secret access key of an IAM user", LoginWay::IamSecret),
];
const SMTP_WAYS: [(&str, &str, LoginWay); 2] = [
    ("password", "user name and password", LoginWay::Password),
    ("none", "not at all: it knows our address", LoginWay::None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_may_always_hand_in_mail() {
        let listen = ["0.0.0.0:25".parse().unwrap()];
        let networks = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(with_this_machine(vec![], &listen), []);
        let wanted = networks(&["127.0.0.0/8", "192.168.1.0/24"]);
        assert_eq!(with_this_machine(networks(&["192.168.1.0/24"]), &listen), wanted);
        assert_eq!(with_this_machine(wanted.clone(), &listen), wanted);
    }

    #[test]
    fn lists_are_apart_by_spaces_or_commas() {
        let words = |answer| list(answer, |word| Ok::<_, String>(word.to_owned())).unwrap();
        assert_eq!(words(" a, b  c"), ["a", "b", "c"]);
        assert!(words("").is_empty());
        assert!(address("web").unwrap_err().contains("\"web\" is no address"));
    }
}
