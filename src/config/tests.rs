//! The configurations in `tests/data/config` and those that are shipped in `config`, as `check` and `serve` read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::message::sender::SenderMode;
use crate::provider::Cap;
use crate::route::Hidden;

#[test]
fn every_good_file_loads() {
    let files = files("good");
    assert_eq!(files.len(), 12);
    for (name, text) in files {
        if let Err(errors) = parse_with_users(&text, &name) {
            panic!("{errors}");
        }
    }
}

/// Their last lines, `# wanted: line: key: …`, are all that is wrong with them, in this order.
#[test]
fn every_bad_file_is_told_everything_that_is_wrong() {
    let files = files("bad");
    assert_eq!(files.len(), 27);
    for (name, text) in files {
        let wanted: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# wanted: "))
            .map(|problem| format!("{name}:{}", problem.replace("{folder}", data().to_str().unwrap())))
            .collect();
        assert!(!wanted.is_empty(), "{name} says nothing of what is wanted");
        let told = parse(&text, &name).map(|_| String::new()).unwrap_or_else(|errors| errors.to_string());
        assert_eq!(told, wanted.join("\n"), "\n{told}");
        assert!(!told.contains("hunter2"), "{name} shows a password");
    }
}

#[test]
fn the_smallest_file_has_the_defaults_of_the_text() {
    let config = parse_shipped(&shipped("minimal.toml")).unwrap();
    assert_eq!(config.queue, QueueConfig::default());
    let [listener] = &config.listeners[..] else { panic!("{config:?}") };
    assert_eq!(
        *listener,
        ListenerConfig {
            networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            manners: Manners::Tolerant,
            max_message_size: (35 << 20) - (64 << 10),
            max_recipients: 1000,
            max_connections: 1000,
            max_connections_per_client: 100,
            local: config.local.clone(),
            timeout: Duration::from_secs(600),
            transaction_timeout: Duration::from_secs(1800),
            socket_mode: 0o660,
            ..ListenerConfig::new(vec![ListenAddress::Tcp("127.0.0.1:25".parse().unwrap())], "machine.example")
        }
    );
    let [account] = &config.accounts[..] else { panic!("{config:?}") };
    let Destination::Smtp(endpoint) = &account.destination else { panic!("{account:?}") };
    assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.tls), ("smtp.office365.com", 587, TlsMode::StartTls));
    assert_eq!(endpoint.ehlo, "machine.example");
    assert_eq!(account.caps.windows.iter().map(Cap::to_string).collect::<Vec<_>>(), ["30/min", "10000/24h"]);
    assert_eq!(account.sender.mode, SenderMode::Rewrite);
    assert_eq!(account.sender.from.as_ref().map(|from| from.as_str()), Some("webmaster@example.com"));
    assert_eq!(account.on_uncertain, OnUncertain::Resend);
}

/// Without its optional keys the reference means the same: so what it states as defaults is what they are.
#[test]
fn the_reference_states_the_defaults() {
    let text = shipped("reference.toml");
    let stated = parse_shipped(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let required = |section: &str, key: &str| match section {
        "[[listener]]" => key == "address",
        "[[client]]" => matches!(key, "name" | "networks"),
        "[[account]] microsoft365" => matches!(key, "name" | "provider" | "username" | "password"),
        "[[account]] microsoft365-hve" => matches!(key, "name" | "provider" | "username" | "password"),
        "[[account]] mailjet" => matches!(key, "name" | "provider" | "username" | "password" | "from"),
        "[[account]] microsoft365-connector" => matches!(key, "name" | "provider" | "host"),
        "[[account]] ses" => {
            matches!(key, "name" | "provider" | "region" | "username" | "iam_secret" | "from")
        }
        "[[account]] smtp" => matches!(key, "name" | "provider" | "host"),
        "[[account]] directory" => matches!(key, "name" | "provider" | "path"),
        _ => false,
    };
    let (mut bare, mut left_out) = (String::new(), 0);
    for line in sections(&text) {
        if line.key.is_none_or(|key| required(&line.section, key)) {
            bare.push_str(line.text);
            bare.push('\n');
        } else {
            left_out += 1;
        }
    }
    let default = parse_shipped(&bare).unwrap_or_else(|errors| panic!("{errors}\n{bare}"));
    assert_eq!(left_out, 93, "{bare}");
    assert_eq!(format!("{stated:#?}"), format!("{default:#?}"));
}

#[test]
fn the_reference_explains_every_key() {
    let text = shipped("reference.toml");
    let known = [
        ("[queue]", queue::KEYS),
        ("[[listener]]", listener::KEYS),
        ("[listener.tls]", listener::TLS_KEYS),
        ("[[client]]", client::KEYS),
        ("[[account]]", account::KEYS),
        ("[aliases]", &["root"]),
        ("[local]", local::KEYS),
        ("[alarms]", alarms::KEYS),
        ("[reports]", reports::KEYS),
        ("[account.oauth]", oauth::KEYS),
        ("[account.caps]", account::CAPS_KEYS),
        ("[account.connection]", account::CONNECTION_KEYS),
        ("[account.headers]", headers::KEYS),
    ];
    for (section, keys) in known {
        for key in keys {
            let explained = sections(&text).windows(2).any(|lines| {
                let here =
                    lines[1].section.starts_with(section) && lines[1].text.trim_start_matches('#').starts_with(key);
                here && lines[1].text.contains('=') && lines[0].text.starts_with("# ")
            });
            let is_table = ["account", "listener"].iter().any(|table| text.contains(&format!("[{table}.{key}]\n")));
            assert!(explained || is_table, "{section} {key}");
        }
    }
    for key in login::KEYS {
        assert!(text.contains(&format!("{{ {key} = ")), "{key}");
    }
    let tables: Vec<&str> = known.iter().map(|(section, _)| section.trim_matches(['[', ']'])).collect();
    assert!(file::KEYS.iter().all(|key| tables.contains(key)));
}

#[test]
fn alarms_and_reports_are_read() {
    let text = fs::read_to_string(data().join("good/alarms.toml")).unwrap();
    let config = parse(&text, "alarms.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let AlarmsConfig { webhook: Some(Webhook::Written(_)), to, quota_percent: 95, queue_age, calm } = &config.alarms
    else {
        panic!("{:?}", config.alarms)
    };
    assert_eq!(to.iter().map(|to| to.as_str()).collect::<Vec<_>>(), ["ops@example.com", "jane@example.org"]);
    assert_eq!((queue_age.as_secs(), calm.as_secs()), (7200, 300));
    assert_eq!(config.reports.to.iter().map(|to| to.as_str()).collect::<Vec<_>>(), ["ops@example.com"]);
    assert!(!format!("{config:?}").contains("hooks.example.com"), "the address of a webhook is a secret");
}

#[test]
fn listeners_and_clients_are_read() {
    let text = fs::read_to_string(data().join("good/listeners.toml")).unwrap();
    let config = parse_with_users(&text, "listeners.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let [local, lan, internet, public] = &config.listeners[..] else { panic!("{config:?}") };
    let addresses = [ListenAddress::Unix(data().join("smtp.sock")), ListenAddress::Inherited(Some("smtp".into()))];
    assert_eq!((&local.addresses[..], local.socket_mode, local.manners), (&addresses[..], 0o666, Manners::Strict));
    assert_eq!(local.addresses[1].to_string(), "systemd:smtp");
    assert_eq!(
        (&lan.auth, lan.default_domain.as_deref(), lan.manners),
        (&Auth::AcceptAny, Some("example.com"), Manners::Tolerant)
    );
    assert_eq!((lan.timeout.as_secs(), lan.transaction_timeout.as_secs()), (300, 3600));
    let Auth::Required { users, plain_text } = &internet.auth else { panic!("{:?}", internet.auth) };
    assert_eq!((users.count(), &plain_text[..]), (1, &["10.0.0.0/8".parse().unwrap()][..]));
    assert_eq!(public.manners, Manners::Strict);
    let camera = &config.clients[1];
    assert_eq!(
        camera.recipients.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["*@example.com", "guard@example.org"]
    );
    assert_eq!(camera.senders.iter().map(ToString::to_string).collect::<Vec<_>>(), ["camera@example.com"]);
    assert_eq!((camera.max_message_size, camera.share, camera.lf_end), (Some(5 << 20), Some(25), true));
    assert_eq!(camera.rate.map(|rate| rate.to_string()).as_deref(), Some("6/min"));
    assert_eq!(camera.hidden, [Hidden::StartTls, Hidden::Size]);
    assert_eq!(
        (camera.timeout, camera.transaction_timeout),
        (Some(Duration::from_secs(60)), Some(Duration::from_secs(600)))
    );
}

/// The account of this name in a good file.
fn account(file: &str, name: &str) -> AccountConfig {
    let text = fs::read_to_string(data().join("good").join(file)).unwrap();
    let config = parse(&text, file).unwrap_or_else(|errors| panic!("{errors}"));
    config.accounts.into_iter().find(|account| account.name.as_str() == name).unwrap()
}

fn endpoint(account: &AccountConfig) -> &SmtpEndpoint {
    let Destination::Smtp(endpoint) = &account.destination else { panic!("{account:?}") };
    endpoint
}

#[test]
fn tokens_come_from_where_issuer_and_tenant_say() {
    let login = |name: &str| endpoint(&account("oauth.toml", name)).login.clone().unwrap();
    let oauth = |name: &str| login(name).oauth.unwrap();
    let at = |host: &str, tenant: &str, end: &str| format!("https://{host}/{tenant}/oauth2/v2.0/{end}");
    let (public, contoso) = ("login.microsoftonline.com", "contoso.onmicrosoft.com");

    let secret = oauth("secret");
    assert_eq!((secret.token_url, secret.grant), (at(public, contoso, "token"), Grant::Application));
    assert_eq!(secret.scope, "https://outlook.office365.com/.default");
    assert_eq!(secret.expires.unwrap().to_string(), "2027-03-01T00:00:00.000Z");
    let both = login("secret");
    assert_eq!((both.prefer, both.mechanisms), (Method::Password, vec![Mechanism::Xoauth2, Mechanism::Login]));
    assert_eq!(both.password.unwrap().expires.unwrap().to_string(), "2026-12-31T00:00:00.000Z");

    let certificate = oauth("certificate");
    let tenant = "00000000-0000-0000-0000-000000000009";
    assert_eq!(certificate.token_url, at("login.microsoftonline.us", tenant, "token"));
    assert!(matches!(certificate.proof, ClientProof::Certificate(_)) && certificate.grant == Grant::Application);

    let device = oauth("device");
    assert_eq!((device.device_url, device.grant), (at(public, contoso, "devicecode"), Grant::User { seed: None }));
    assert_eq!(device.scope, "https://outlook.office.com/SMTP.Send offline_access");

    let own = oauth("own");
    assert_eq!(
        (own.device_url.as_str(), own.scope.as_str()),
        ("http://127.0.0.1:8080/t/oauth2/v2.0/devicecode", "mail")
    );

    let google = oauth("google");
    assert_eq!(
        (google.token_url.as_str(), google.scope.as_str()),
        ("https://oauth2.googleapis.com/token", "https://mail.google.com/")
    );
    assert!(matches!((google.proof, google.grant), (ClientProof::Secret(_), Grant::User { seed: Some(_) })));
}

#[test]
fn providers_set_what_the_file_does_not() {
    let connector = account("providers.toml", "connector");
    assert_eq!((endpoint(&connector).port, endpoint(&connector).tls), (25, TlsMode::StartTls));
    assert!(endpoint(&connector).login.is_none() && endpoint(&connector).certificate.is_some());

    let ses = account("providers.toml", "ses");
    assert_eq!((endpoint(&ses).host.as_str(), endpoint(&ses).port), ("email-smtp.eu-central-1.amazonaws.com", 465));
    let password = endpoint(&ses).login.clone().unwrap().password.unwrap();
    assert_eq!(password.form, PasswordForm::SesIam { region: "eu-central-1".into() });
    assert_eq!(ses.caps.windows.iter().map(Cap::to_string).collect::<Vec<_>>(), ["14/s", "50000/24h"]);
    assert_eq!(ses.fields.repeated, crate::provider::presets::RepeatedFields::Folded);
    let shown = |patterns: &[crate::message::fields::FieldPattern]| patterns[0].to_string();
    assert_eq!(
        (shown(&ses.fields.removed), shown(&ses.fields.allowed)),
        ("X-SES-*".into(), "X-SES-MESSAGE-TAGS".into())
    );
    assert_eq!(ses.fields.added[0].value, "main");

    let mailjet = account("providers.toml", "mailjet");
    let keep = Keep { messages: 10, age: Duration::from_secs(60), idle: Duration::from_secs(2) };
    assert_eq!(endpoint(&mailjet).keep, keep);
    assert_eq!(endpoint(&mailjet).login.clone().unwrap().mechanisms, [Mechanism::Plain]);
}

#[test]
fn size_is_what_the_smallest_account_carries_less_the_room_for_repairs() {
    let size = |listener: &str, accounts: &[&str]| {
        let mut text = format!("[[listener]]\naddress = \"127.0.0.1:25\"\nmax_message_size = {listener:?}\n");
        for (at, size) in accounts.iter().enumerate() {
            text += &format!("[[account]]\nname = \"a{at}\"\nprovider = \"smtp\"\nhost = \"h\"\n");
            text += &format!("caps = {{ message_size = {size:?} }}\n");
        }
        parse(&text, "test").unwrap().listeners[0].max_message_size
    };
    assert_eq!(size("10MiB", &["35MiB"]), 10 << 20);
    assert_eq!(size("35MiB", &["35MiB"]), (35 << 20) - (64 << 10));
    assert_eq!(size("35MiB", &["1MiB", "512KiB", "2MiB"]), (512 << 10) - (64 << 10));
    assert_eq!(size("35MiB", &["128KiB"]), 64 << 10);
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_told_without_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let told = Config::load(&path).unwrap_err().to_string();
    assert!(
        told.starts_with(&format!(
            "{}: found no such file, wanted a configuration: `mailsluice setup`",
            path.display()
        )),
        "{told}"
    );
    fs::write(&path, b"[queue]\npath = \"\xff\"\n").unwrap();
    let told = Config::load(&path).unwrap_err().to_string();
    assert_eq!(told, format!("{}: found bytes on line 2 that are not UTF-8, wanted a file in UTF-8", path.display()));
}

#[test]
fn secrets_out_of_reach_matter_only_to_who_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let head = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[account]]\nname = \"m365\"\nprovider = \"microsoft365\"\n\
                username = \"webmaster@example.com\"\n";
    for password in ["file = \"nowhere\"", "env = \"MAILSLUICE_TEST_NOWHERE\"", "credential = \"nowhere\""] {
        fs::write(&path, format!("{head}password = {{ {password} }}\n")).unwrap();
        let told = Config::load(&path).unwrap_err();
        assert_eq!((told.problems.len(), told.problems[0].key.as_str()), (1, "account.password"), "{told}");
        assert!(Config::load_without_secrets(&path).is_ok(), "{password}");
    }
    fs::write(&path, format!("{head}password = {{ }}\n")).unwrap();
    assert!(Config::load_without_secrets(&path).is_err(), "what is written badly stays wrong");
}

#[test]
fn the_queue_is_found_in_a_file_that_is_wrong_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let default = QueueConfig::default().path;
    for (text, found) in [
        ("", Some(default.clone())),
        ("[queue]\nmax_age = \"soon\"\n[[acount]]\n", Some(default)),
        ("[queue]\npath = \"queue.db\"\nsize = 5\n", Some(folder.path().join("queue.db"))),
        ("[queue]\npath = 5\n", None),
        ("[queue]\npath = \"\"\n", None),
        ("queue = \"/var/lib/mailsluice\"\n", None),
        ("[queue\n", None),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(queue_path(&path).ok(), found, "{text}");
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let text = "[queue]\npath = \"queue.db\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                [[account]]\nname = \"files\"\nprovider = \"directory\"\npath = \"/absolute\"\n";
    fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.queue.path, folder.path().join("queue.db"));
    assert!(matches!(&config.accounts[0].destination, Destination::Directory(path) if path == Path::new("/absolute")));
}

proptest! {
    /// Whatever an editor's slip leaves of a file is judged, not stumbled over.
    #[test]
    fn no_slip_makes_the_reader_panic(from in 0_usize..6000, length in 0_usize..200, slip in "[\\[\\]{}=\",#.\na-z0-9]{0,6}") {
        let text = shipped("reference.toml");
        let cut = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let changed = format!("{}{slip}{}", &text[..cut(from)], &text[cut(from + length)..]);
        if let Err(errors) = parse(&changed, "slip.toml") {
            prop_assert!(!errors.problems.is_empty());
            prop_assert!(errors.problems.is_sorted_by_key(|problem| problem.line));
        }
    }
}

/// A line of a configuration, the section it is in (of an account with its provider) and the key it sets, if any.
#[derive(Debug)]
struct Line<'t> {
    section: String,
    key: Option<&'t str>,
    text: &'t str,
}

fn sections(text: &str) -> Vec<Line<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut section = String::new();
    let mut read = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        // A table that is absent unless it is written stands there behind a "#".
        let header = text.strip_prefix('#').filter(|rest| rest.starts_with('[')).unwrap_or(text);
        if header.starts_with('[') {
            let provider = lines[at..].iter().find_map(|line| line.strip_prefix("provider = "));
            let provider =
                provider.filter(|_| *text == "[[account]]").map(|word| format!(" {}", word.trim_matches('"')));
            section = format!("{header}{}", provider.unwrap_or_default());
        }
        let live = !text.starts_with(['#', '[']);
        let key = text.split_once(" = ").filter(|_| live).map(|(key, _)| key);
        read.push(Line { section: section.clone(), key, text });
    }
    read
}

fn parse(text: &str, name: &str) -> Result<Config, ConfigErrors> {
    let variable = |name: &str| (name == "SMTP_PASSWORD").then(|| "hunter2".into());
    Config::parse(
        text,
        name,
        &Surroundings { folder: data(), hostname: "machine.example".into(), variable, reads_secrets: true },
    )
}

/// Reads a text whose `users = "users"` is a file that is there, with one user.
fn parse_with_users(text: &str, name: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let line = users::line("scanner", &"hunter2".into(), &[7; users::SALT_OCTETS]).unwrap();
    fs::write(&path, line).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    parse(&text.replace("users = \"users\"", &format!("users = {path:?}")), name)
}

/// Reads what is shipped, with a password file that is there.
fn parse_shipped(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m365.password");
    fs::write(&path, "hunter2\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let text = text.replace("\"/etc/mailsluice/m365.password\"", &format!("{:?}", path.to_str().unwrap()));
    let mut config = parse(&text, "shipped.toml")?;
    for account in &mut config.accounts {
        if let Destination::Smtp(SmtpEndpoint { login: Some(login), .. }) = &mut account.destination {
            let password = login.password.as_mut().unwrap();
            assert_eq!(password.secret, Secret::File(path.clone()));
            password.secret = Secret::File("/etc/mailsluice/m365.password".into());
        }
    }
    Ok(config)
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config")
}

fn files(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(data().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}
