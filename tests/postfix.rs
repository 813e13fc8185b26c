//! A real Postfix as the smarthost: STARTTLS, a login by Cyrus SASL, and mailboxes that are read afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mailsluice::sandbox::Authority;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::support::daemon::Site;
use crate::support::relay::{Arrived, HEAD, free_port, run, send};

const USER: &str = "relay@smarthost.example";
const PASSWORD: &str = "Right horse, wrong & battery";

#[test]
fn twenty_mails_go_through_postfix_and_one_recipient_is_unknown_to_it() {
    let postfix = Postfix::start();
    let site = postfix.site(PASSWORD);
    let daemon = site.serve();
    let eight = "Grüße aus Zürich\r\n.\r\n..\r\n".as_bytes().to_vec();
    let large: Vec<u8> = (0..40_000).flat_map(|line| format!("{line:070}\r\n").into_bytes()).collect();
    let mut bodies: Vec<Vec<u8>> = (0..18).map(|at| format!("Number {at}.\r\n").into_bytes()).collect();
    bodies.extend([eight, large]);
    for (at, body) in bodies.iter().enumerate() {
        let header =
            format!("From: shop@shop.example\r\nSubject: {at}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
        let to = if at == 7 { vec!["nobody@example.org", "office@example.org"] } else { vec!["office@example.org"] };
        send(daemon.address(), "shop@shop.example", &to, &[header.as_bytes(), body].concat());
    }

    let delivered = daemon.wait_for_count("delivered", 20, |line| line["event"] == "delivered");
    assert!(delivered.iter().all(|line| line["to"] == "office@example.org"), "{delivered:?}");
    let failed = daemon.wait_for("failed", |line| line["event"] == "failed");
    assert_eq!(failed["to"], "nobody@example.org");
    assert!(failed["reply"].as_str().unwrap().starts_with("550 5.1.1 <nobody@example.org>"), "{failed}");
    assert_eq!(failed["status"], "5.1.1");
    assert_eq!(daemon.events("failed").len(), 1);

    postfix.wait_for(20, "status=sent");
    let mut arrived = postfix.mailbox("office");
    assert_eq!(arrived.len(), 20);
    arrived.sort_by_key(|mail| mail.field("Subject").parse::<usize>().unwrap());
    for ((at, body), mail) in bodies.iter().enumerate().zip(&arrived) {
        assert_eq!(mail.field("Subject"), at.to_string());
        assert!(mail.body == *body, "{at}: {} octets of {}", mail.body.len(), body.len());
        assert_eq!(mail.field("Return-Path"), "<shop@shop.example>");
        assert_eq!(mail.field("From"), "shop@shop.example");
        let received = mail.fields("Received");
        assert!(received[0].contains("by smarthost.example (Postfix) with ESMTPSA"), "{}", received[0]);
        assert!(received[1].contains("by relay.example (Mailsluice)"), "{}", received[1]);
    }
}

#[test]
fn a_wrong_password_pauses_the_account_until_the_right_one_is_there() {
    let postfix = Postfix::start();
    let site = postfix.site("wrong");
    let daemon = site.serve();
    for at in 0..5 {
        let mail = format!("From: shop@shop.example\r\nSubject: {at}\r\n\r\nx\r\n");
        send(daemon.address(), "shop@shop.example", &["office@example.org"], mail.as_bytes());
    }
    let paused = daemon.wait_for("paused", |line| line["event"] == "paused");
    assert_eq!(paused["account"], "postfix");
    assert!(paused["reply"].as_str().unwrap().starts_with("535 5.7.8 "), "{paused}");
    let kept = site.json(&["queue", "list", "--json"]);
    assert_eq!(kept.as_array().unwrap().len(), 5, "{kept}");
    let accounts = site.json(&["account", "list", "--json"]);
    assert_eq!(accounts[0]["standing"], "paused", "{accounts}");

    fs::write(site.path().join("password"), PASSWORD).unwrap();
    let resumed = site.run(&["account", "resume", "postfix"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    daemon.wait_for("resumed", |line| line["event"] == "resumed");
    daemon.wait_for_count("delivered", 5, |line| line["event"] == "delivered");
    assert!(daemon.events("failed").is_empty());
    postfix.wait_for(5, "status=sent");
    assert_eq!(postfix.mailbox("office").len(), 5);
}

/// A Postfix with folders of its own; stopped when the value goes.
struct Postfix {
    folder: TempDir,
    address: SocketAddr,
    script: Child,
    /// Its log, line by line.
    log: Receiver<String>,
}

const MAIN: &str = "
compatibility_level = 3.6
maillog_file = /dev/stdout
queue_directory = FOLDER/queue
data_directory = FOLDER/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = smarthost.example
mydestination =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks =
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = FOLDER/tls/server.pem
smtpd_tls_key_file = FOLDER/tls/server.key
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = FOLDER/etc/sasl
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
virtual_mailbox_domains = example.org
virtual_mailbox_base = FOLDER/mail
virtual_mailbox_maps = texthash:FOLDER/etc/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
";

const MASTER: &str = "
ADDRESS inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    fn start() -> Self {
        assert!(
            geteuid().is_root(),
            "Postfix gives up root's rights by itself and needs them to start: run this as root"
        );
        let mut modules =
            fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("sasl2/libplain.so"));
        assert!(modules.any(|path| path.exists()), "no SASL mechanisms: run `apt-get install libsasl2-modules`");
        let folder = tempfile::tempdir().unwrap();
        // Postfix's own user has to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["etc", "etc/sasl", "queue", "data", "mail"] {
            fs::create_dir(path(name)).unwrap();
        }
        chown(path("data"), Some(user_id("postfix")), None).unwrap();
        chown(path("mail"), Some(65_534), Some(65_534)).unwrap();
        Authority::open(&path("tls")).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let fill = |text: &str| {
            text.replace("FOLDER", folder.path().to_str().unwrap()).replace("ADDRESS", &address.to_string())
        };
        fs::write(path("etc/main.cf"), fill(MAIN)).unwrap();
        fs::write(path("etc/master.cf"), fill(MASTER)).unwrap();
        fs::write(path("etc/mailboxes"), "office@example.org office/\n").unwrap();
        let sasl =
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: LOGIN PLAIN\nsasldb_path: FOLDER/sasldb2\n";
        fs::write(path("etc/sasl/smtpd.conf"), fill(sasl)).unwrap();
        let mut saslpasswd = Command::new("saslpasswd2");
        saslpasswd.args(["-p", "-c", "-u", "smarthost.example", "-f"]).arg(path("sasldb2")).arg("relay");
        run("sasl2-bin libsasl2-modules", saslpasswd, PASSWORD.as_bytes());
        chown(path("sasldb2"), Some(user_id("postfix")), None).unwrap();

        let mut command = Command::new("postfix");
        command.arg("-c").arg(path("etc")).arg("start-fg").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap_or_else(|error| panic!("{error}: run `apt-get install postfix`"));
        let (lines, log) = channel();
        let stdout = BufReader::new(script.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let postfix = Self { folder, address, script, log };
        postfix.wait_for(1, "daemon started");
        postfix
    }

    /// A relay whose account is here, with this password.
    fn site(&self, password: &str) -> Site {
        let account = format!(
            "\n[[account]]\nname = \"postfix\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\n\
             ca_file = \"{}\"\nusername = \"{USER}\"\npassword = {{ file = \"SITE/password\" }}\n",
            self.address.port(),
            self.path("tls/ca.pem").display(),
        );
        Site::new(&format!("{HEAD}{account}"), password)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for so many more lines of the log that hold `text`.
    fn wait_for(&self, count: usize, text: &str) {
        let mut seen = Vec::new();
        while seen.iter().filter(|line: &&String| line.contains(text)).count() < count {
            let Ok(line) = self.log.recv_timeout(Duration::from_secs(60)) else {
                panic!("not {count} lines with {text:?} in Postfix's log:\n{}", seen.join("\n"));
            };
            seen.push(line);
        }
    }

    /// What lies in a mailbox, with the line ends of the wire.
    fn mailbox(&self, user: &str) -> Vec<Arrived> {
        let folder: &Path = &self.path("mail").join(user).join("new");
        let read = |file: PathBuf| {
            let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
            Arrived::of(text.replace('\n', "\r\n").as_bytes())
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let told = fs::read_to_string(self.path("queue/pid/master.pid")).unwrap_or_default();
        match told.trim().parse().ok().and_then(Pid::from_raw) {
            // The script ends with the master that it started.
            Some(master) => drop(kill_process(master, Signal::TERM)),
            None => drop(self.script.kill()),
        }
        let _ = self.script.wait();
        if std::thread::panicking() {
            self.log.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The number of a user of the system.
fn user_id(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":x:"));
    let user = user.unwrap_or_else(|| panic!("there is no user {name}: run `apt-get install postfix`"));
    user.split(':').next().unwrap().parse().unwrap()
}
