//! Settings by environment, for containers: where there is no configuration file, variables make one listener and one
//! account. They become a document that is read as a file is, so that every check is the same; what is wrong is told
//! with the name of the variable. More than one account, and every other key, needs a file.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Value;

use super::problem::{ConfigErrors, Problem};
use super::table::nearest;
use super::{Config, Surroundings};

/// A setting that a variable makes.
struct Setting {
    /// The variable. A secret's has the secret itself, and with `_FILE` behind its name the path of the secret's file.
    variable: &'static str,
    /// The table and the key that it stands for.
    key: (&'static str, &'static str),
    form: Form,
    /// What to say where it is missing and needed.
    meaning: &'static str,
}

/// How the text of a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// Several texts, apart by commas or white space.
    List,
    /// A whole number, or `true` or `false`; anything else is left to the key's own check.
    Bare,
    Secret,
}

/// What the variables of a process say, as a configuration.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The configuration.
    pub(super) text: String,
    /// Which variable made the line.
    lines: BTreeMap<usize, String>,
    /// What is wrong with the variables themselves.
    problems: Vec<Problem>,
}

/// The variables of this process that are settings, or were meant to be.
pub fn variables() -> Vec<String> {
    let mut names: Vec<String> = ours(std::env::vars_os()).into_keys().collect();
    names.retain(|name| !is_known_elsewhere(name));
    names
}

/// Those of the variables whose settings a file with this text would hide: it may name one as the place of a secret.
pub(super) fn beside(text: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let named = |name: &str| [format!("\"{name}\""), format!("'{name}'")].iter().any(|quoted| text.contains(quoted));
    let names = ours(variables).into_keys();
    names.filter(|name| setting(name).is_some() && !named(name)).collect()
}

impl Written {
    /// The configuration that the variables make; none where no variable is a setting.
    pub(super) fn from(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Option<Self> {
        let mut given = ours(variables);
        given.retain(|name, _| !is_known_elsewhere(name));
        if given.is_empty() {
            return None;
        }
        let mut written = Self::default();
        let mut values = BTreeMap::new();
        for (name, value) in given {
            let Some(value) = value.into_string().ok() else {
                written.complain(&name, "bytes that are not UTF-8", "a text");
                continue;
            };
            if setting(&name).is_none() {
                let wanted =
                    nearest(&name, &names()).map_or_else(|| names().join(", "), |near| format!("{near}, perhaps"));
                written.complain(&name, "an unknown variable", &wanted);
            }
            values.insert(name, value);
        }
        written.write(&values);
        Some(written)
    }

    /// Reads it. `around` is where its relative paths start, and the machine.
    pub(super) fn read(self, around: &Surroundings) -> Result<Config, ConfigErrors> {
        let Self { text, lines, mut problems } = self;
        let read = Config::parse(&text, ENVIRONMENT, around);
        let found = read.as_ref().err().map(|errors| errors.problems.clone()).unwrap_or_default();
        problems.extend(found.into_iter().map(|problem| in_variables(problem, &lines)));
        match read {
            Ok(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigErrors { file: ENVIRONMENT.into(), problems }),
        }
    }

    fn write(&mut self, values: &BTreeMap<String, String>) {
        for (header, table) in TABLES {
            let settings: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.key.0 == table).collect();
            let is_needed = header.starts_with("[[");
            if !is_needed && !settings.iter().any(|setting| setting.names().any(|name| values.contains_key(&name))) {
                continue;
            }
            self.push(header);
            if table == "account" {
                self.push(&format!("name = \"{ACCOUNT}\""));
            }
            if table == "listener" && !values.contains_key(LISTEN) {
                self.line(LISTEN, "address", &Value::String(EVERYWHERE.into()));
            }
            for setting in settings {
                self.write_one(setting, values);
            }
        }
    }

    fn write_one(&mut self, setting: &Setting, values: &BTreeMap<String, String>) {
        let key = setting.key.1;
        let given: Vec<(String, &String)> =
            setting.names().filter_map(|name| Some((name.clone(), values.get(&name)?))).collect();
        let [(name, value)] = &given[..] else {
            if let [(_, _), (file, _)] = &given[..] {
                self.complain(file, &format!("it beside {}", setting.variable), "one of the two");
            }
            return;
        };
        let value = match setting.form {
            Form::Text => Value::String((*value).clone()),
            Form::Bare => bare(value),
            Form::List => {
                let parts = value.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            Form::Secret => {
                let place = if name == setting.variable { ("env", name) } else { ("file", *value) };
                Value::Table([(place.0.to_owned(), Value::String(place.1.clone()))].into_iter().collect())
            }
        };
        self.line(name, key, &value);
    }

    fn line(&mut self, variable: &str, key: &str, value: &Value) {
        self.lines.insert(self.text.lines().count() + 1, variable.to_owned());
        self.push(&format!("{key} = {value}"));
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn complain(&mut self, variable: &str, found: &str, wanted: &str) {
        self.problems.push(Problem { line: 0, key: variable.into(), found: found.into(), wanted: wanted.into() });
    }
}

impl Setting {
    /// The names of its variables.
    fn names(&self) -> impl Iterator<Item = String> {
        let file = (self.form == Form::Secret).then(|| format!("{}{FILE}", self.variable));
        [self.variable.to_owned()].into_iter().chain(file)
    }
}

/// The problem as it looks to who sets variables.
fn in_variables(problem: Problem, lines: &BTreeMap<usize, String>) -> Problem {
    let Problem { line, key, found, wanted } = problem;
    let missing = SETTINGS.iter().find(|setting| format!("{}.{}", setting.key.0, setting.key.1) == key);
    let (key, wanted) = match (lines.get(&line), missing) {
        (Some(variable), _) => (variable.clone(), wanted),
        (None, Some(setting)) => {
            let key = setting.names().last().unwrap_or(key);
            (key, if found == "nothing" { setting.meaning.into() } else { wanted })
        }
        (None, None) => (key, wanted),
    };
    Problem { line: 0, key, found, wanted }
}

/// A number or a truth as TOML has them, or else the text, for the key to refuse.
fn bare(text: &str) -> Value {
    let number = text.parse().ok().map(Value::Integer);
    number.or_else(|| text.parse().ok().map(Value::Boolean)).unwrap_or_else(|| Value::String(text.into()))
}

/// Those whose names begin as ours do. An empty one counts as none: that is how compose files pass on what is not set.
fn ours(variables: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, OsString> {
    let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty() && !is_of_service(name, value)).collect()
}

/// Container engines tell each container of services beside it: of one whose name begins with `mailsluice`, in variables
/// that begin as ours do (kubernetes.io, *Discovering services*; docs.docker.com, *Legacy container links*).
fn is_of_service(name: &str, value: &OsString) -> bool {
    let of_port = |protocol: &str| name.contains("_PORT_") && name.contains(protocol);
    let is_link = |name: &str| name.ends_with("_PORT") && value.to_string_lossy().contains("://");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| of_port(protocol))
        || is_link(name)
}

/// Variables of ours that are no settings of the daemon.
fn is_known_elsewhere(name: &str) -> bool {
    name == SUBMISSION
}

/// The setting that this variable makes.
fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.names().any(|known| known == name))
}

/// All variables; of a secret's two the one with the file, which is the better place.
fn names() -> Vec<&'static str> {
    SETTINGS.iter().map(|setting| setting.variable).collect()
}

/// What stands in messages where otherwise the file is named.
pub(super) const ENVIRONMENT: &str = "environment";
/// The name of the one account.
const ACCOUNT: &str = "main";
const PREFIX: &str = "MAILSLUICE_";
/// The path of the socket, for `mailsluice sendmail`.
const SUBMISSION: &str = "MAILSLUICE_SOCKET";
const FILE: &str = "_FILE";
const LISTEN: &str = "MAILSLUICE_LISTEN";
/// Where it listens when nothing says so. It is not loopback, so the networks must be said: a container's own loopback
/// would be reached by nobody, and nobody would be told.
const EVERYWHERE: &str = "0.0.0.0:2525";

/// The tables in their order, and how they begin.
const TABLES: [(&str, &str); 7] = [
    ("[queue]", "queue"),
    ("[alarms]", "alarms"),
    ("[reports]", "reports"),
    ("[[listener]]", "listener"),
    ("[[account]]", "account"),
    ("[account.caps]", "account.caps"),
    ("[account.oauth]", "account.oauth"),
];

const fn setting_of(
    variable: &'static str,
    key: (&'static str, &'static str),
    form: Form,
    meaning: &'static str,
) -> Setting {
    Setting { variable, key, form, meaning }
}

/// All of them. deploy/README.md has the same table for people, which a test compares.
const SETTINGS: [Setting; 24] = [
    setting_of(LISTEN, ("listener", "address"), Form::List, "where clients connect, such as 0.0.0.0:2525"),
    setting_of(
        "MAILSLUICE_NETWORKS",
        ("listener", "networks"),
        Form::List,
        "the networks that may connect, such as 172.30.25.0/24, because the listener is not on loopback",
    ),
    setting_of("MAILSLUICE_HOSTNAME", ("listener", "hostname"), Form::Text, "the relay's own name"),
    setting_of(
        "MAILSLUICE_ACCOUNT_PROVIDER",
        ("account", "provider"),
        Form::Text,
        "the kind of account, such as microsoft365, ses, mailjet or smtp",
    ),
    setting_of("MAILSLUICE_ACCOUNT_HOST", ("account", "host"), Form::Text, "the name of the smarthost"),
    setting_of("MAILSLUICE_ACCOUNT_PORT", ("account", "port"), Form::Bare, "the port of the smarthost"),
    setting_of("MAILSLUICE_ACCOUNT_TLS", ("account", "tls"), Form::Text, "starttls or implicit"),
    setting_of("MAILSLUICE_ACCOUNT_CA_FILE", ("account", "ca_file"), Form::Text, "the path of a PEM file"),
    setting_of("MAILSLUICE_ACCOUNT_REGION", ("account", "region"), Form::Text, "the region, such as eu-central-1"),
    setting_of("MAILSLUICE_ACCOUNT_USERNAME", ("account", "username"), Form::Text, "the name of the login"),
    setting_of(
        "MAILSLUICE_ACCOUNT_PASSWORD",
        ("account", "password"),
        Form::Secret,
        "the path of a file that holds the password; or, for tokens, MAILSLUICE_ACCOUNT_TENANT, _CLIENT_ID and \
         _CLIENT_SECRET_FILE",
    ),
    setting_of("MAILSLUICE_ACCOUNT_TENANT", ("account.oauth", "tenant"), Form::Text, "the tenant's domain or id"),
    setting_of(
        "MAILSLUICE_ACCOUNT_CLIENT_ID",
        ("account.oauth", "client_id"),
        Form::Text,
        "the application's client id",
    ),
    setting_of(
        "MAILSLUICE_ACCOUNT_CLIENT_SECRET",
        ("account.oauth", "client_secret"),
        Form::Secret,
        "the path of a file that holds the client secret",
    ),
    setting_of(
        "MAILSLUICE_ACCOUNT_FROM",
        ("account", "from"),
        Form::Text,
        "the address that senders become, because the username is none",
    ),
    setting_of("MAILSLUICE_ACCOUNT_ALLOWED", ("account", "allowed"), Form::List, "the senders that stay"),
    setting_of("MAILSLUICE_ACCOUNT_MESSAGES", ("account.caps", "messages"), Form::List, "rates such as 30/min"),
    setting_of("MAILSLUICE_ACCOUNT_RECIPIENTS", ("account.caps", "recipients"), Form::List, "rates such as 14/s"),
    setting_of("MAILSLUICE_ACCOUNT_PATH", ("account", "path"), Form::Text, "the directory for the .eml files"),
    setting_of("MAILSLUICE_QUEUE", ("queue", "path"), Form::Text, "the path of the queue's database"),
    setting_of("MAILSLUICE_QUEUE_EPHEMERAL", ("queue", "ephemeral"), Form::Bare, "true or false"),
    setting_of("MAILSLUICE_ALARMS_TO", ("alarms", "to"), Form::List, "who gets alarms by mail"),
    setting_of("MAILSLUICE_ALARMS_WEBHOOK", ("alarms", "webhook"), Form::Secret, "where alarms are posted to"),
    setting_of("MAILSLUICE_REPORTS_TO", ("reports", "to"), Form::List, "who is told of mail that failed"),
];

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn written(variables: &[(&str, &str)]) -> Option<Written> {
        Written::from(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn every_octet_of_a_value_arrives() {
        let text = "a \"b\" 'c' \\ # $x: ä\n[[client]]";
        let values = [("MAILSLUICE_ACCOUNT_USERNAME", text), ("MAILSLUICE_ACCOUNT_PASSWORD_FILE", text)];
        let document: toml::Table = written(&values).unwrap().text.parse().unwrap();
        let account = &document["account"][0];
        assert_eq!(account["username"].as_str(), Some(text));
        assert_eq!(account["password"]["file"].as_str(), Some(text));
        assert!(!document.contains_key("client"));
    }

    #[test]
    fn what_engines_and_compose_files_set_by_themselves_is_no_setting() {
        let foreign = [
            ("MAILSLUICE_SERVICE_HOST", "10.96.0.7"),
            ("MAILSLUICE_SERVICE_PORT", "2525"),
            ("MAILSLUICE_SERVICE_PORT_SMTP", "2525"),
            ("MAILSLUICE_PORT", "tcp://10.96.0.7:2525"),
            ("MAILSLUICE_PORT_2525_TCP", "tcp://10.96.0.7:2525"),
            ("MAILSLUICE_PORT_2525_TCP_PROTO", "tcp"),
            ("MAILSLUICE_PORT_2525_TCP_ADDR", "10.96.0.7"),
            ("MAILSLUICE_SMTP_SERVICE_HOST", "10.96.0.7"),
            ("MAILSLUICE_SOCKET", "/run/mailsluice/submission"),
            ("MAILSLUICE_ACCOUNT_FROM", ""),
            ("PATH", "/bin"),
        ];
        assert!(written(&foreign).is_none());
        assert!(written(&[("MAILSLUICE_ACCOUNT_PORT", "587")]).is_some());
    }

    #[test]
    fn a_file_hides_settings_but_not_the_secrets_that_it_names() {
        let variables = ["MAILSLUICE_ACCOUNT_PASSWORD", "MAILSLUICE_NETWORKS", "MAILSLUICE_M365", "HOME"];
        let set = || variables.iter().map(|name| ((*name).into(), "x".into()));
        assert_eq!(beside("", set()), ["MAILSLUICE_ACCOUNT_PASSWORD", "MAILSLUICE_NETWORKS"]);
        let text = "password = { env = \"MAILSLUICE_ACCOUNT_PASSWORD\" }";
        assert_eq!(beside(text, set()), ["MAILSLUICE_NETWORKS"]);
    }

    #[test]
    fn a_value_that_is_no_text_is_told_and_not_shown() {
        let value = OsString::from_vec(b"hunter2\xff".to_vec());
        let written = Written::from([("MAILSLUICE_ACCOUNT_PASSWORD".into(), value)]).unwrap();
        let [Problem { key, found, .. }] = &written.problems[..] else { panic!("{:?}", written.problems) };
        assert_eq!((&**key, &**found), ("MAILSLUICE_ACCOUNT_PASSWORD", "bytes that are not UTF-8"));
        assert!(!format!("{written:?}").contains("hunter2"));
    }

    /// Each setting's key is one of its table, so that none is without effect.
    #[test]
    fn every_setting_makes_a_key_that_is_known() {
        for setting in &SETTINGS {
            let text = written(&[(setting.variable, "x")]).unwrap();
            let around = Surroundings { reads_secrets: false, ..Surroundings::of(std::path::Path::new("/")) };
            let told = text.read(&around).map_or_else(|errors| errors.to_string(), |_| String::new());
            assert!(!told.contains("unknown") && !told.contains("syntax"), "{told}");
        }
    }

    #[test]
    fn the_document_for_people_has_every_variable() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/README.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `MAILSLUICE_")).collect();
        for setting in &SETTINGS {
            for name in setting.names() {
                assert_eq!(rows.iter().filter(|row| row.contains(&format!("`{name}`"))).count(), 1, "{name}");
            }
        }
        let told = rows.iter().map(|row| row.matches("`MAILSLUICE_").count()).sum::<usize>();
        assert_eq!(told, SETTINGS.iter().map(|setting| setting.names().count()).sum::<usize>());
    }
}
