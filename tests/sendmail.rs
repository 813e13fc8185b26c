//! `mailsluice sendmail` and its other names, with the real binary and a daemon on a Unix socket: what is handed in arrives, and
//! what is not is told by exit code and sentence.

mod callers;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::daemon::{Daemon, Site, mailsluice};
use crate::support::relay::Arrived;

/// A relay that local programs reach by the socket in a folder of its own, and that writes what comes to files.
struct Local {
    site: Site,
}

impl Local {
    /// With further lines of the listener's table.
    fn new(listener: &str) -> Self {
        let site = Site::new("", "");
        // Others than its owner hand in mail, too.
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["run", "out"] {
            fs::create_dir(site.path().join(folder)).unwrap();
        }
        site.configure(&format!(
            "[queue]\npath = \"SITE/queue.db\"\nmin_free = \"0B\"\nephemeral = true\n\
             [[listener]]\naddress = \"unix:SITE/run/submission\"\nsocket_mode = \"0666\"\nhostname = \"relay.example\"\n\
             default_domain = \"shop.example\"\n{listener}\n\
             [[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n"
        ));
        Self { site }
    }

    fn socket(&self) -> PathBuf {
        self.site.path().join("run/submission")
    }

    /// Calls it as `sendmail`, which is a link to the binary.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let link = self.site.path().join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_mailsluice"), &link).unwrap();
        }
        let mut command = Command::new(link);
        command.args(arguments).env("MAILSLUICE_SOCKET", self.socket()).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn sendmail(&self, arguments: &[&str], input: &[u8]) -> Output {
        fed(self.command("sendmail", arguments).spawn().unwrap(), input)
    }

    /// What has arrived, once it is so much, in the order in which it was accepted.
    fn arrived(&self, daemon: &Daemon, messages: usize) -> Vec<Arrived> {
        let accepted = daemon.wait_for_count("accepted", messages, |line| line["event"] == "accepted");
        let wanted: usize = accepted.iter().map(|line| line["recipients"].as_u64().unwrap_or(1) as usize).sum();
        daemon.wait_for_count("delivered", wanted, |line| line["event"] == "delivered");
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.site.path().join("out")).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
        let id = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().split('-').nth(1).unwrap().to_owned();
        files.sort_by_key(id);
        files.iter().map(|file| arrived(file)).collect()
    }
}

fn arrived(file: &Path) -> Arrived {
    let envelope: Value = serde_json::from_slice(&fs::read(file.with_extension("json")).unwrap()).unwrap();
    let to = envelope["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned()).collect();
    let from = envelope["from"].as_str().unwrap_or_default().to_owned();
    Arrived { from, to, ..Arrived::of(&fs::read(file).unwrap()) }
}

/// Gives it all of its input, and waits for its end.
fn fed(mut child: Child, input: &[u8]) -> Output {
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || {
        // A program that ends without reading it all is judged by its exit code.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_is_handed_in_arrives_with_the_envelope_that_the_flags_say() {
    let local = Local::new("");
    let daemon = local.site.serve();
    let me = format!("{}@shop.example", user());
    let text = "From: Shop <shop@shop.example>\nTo: a@b.example, Root <root>\nCc: c@d.example\nBcc: hidden@x.example\nSubject: x\n\nhello\n";
    let header = ["a@b.example", "root@shop.example", "c@d.example", "hidden@x.example"];
    let cases: [(&[&str], &str, &[&str]); 12] = [
        (&["-t", "-i"], &me, &header),
        (&["-ti"], &me, &header),
        (&["-oi", "-t", "-fshop@shop.example"], "shop@shop.example", &header),
        (&["-it", "-f", "Shop <shop>"], "shop@shop.example", &header),
        (&["-t", "-r", "<>"], "", &header),
        (&["-t", "-f", ""], "", &header),
        (&["-i", "--", "one@x.example", "two"], &me, &["one@x.example", "two@shop.example"]),
        (&["one@x.example, Two <two@x.example>", "-odb", "-oem"], &me, &["one@x.example", "two@x.example"]),
        (&["-t", "more@x.example"], &me, &["more@x.example", header[0], header[1], header[2], header[3]]),
        (
            &["-FName", "-B8BITMIME", "-N", "never", "-R", "hdrs", "-Vid", "-O", "DeliveryMode=b", "a@x.example"],
            &me,
            &["a@x.example"],
        ),
        (
            &["-bm", "-G", "-n", "-Lx", "-h1", "-m", "a@x.example", "A@X.example", "a@x.example"],
            &me,
            &["a@x.example", "A@X.example"],
        ),
        (&["-i", "j\u{fc}rgen@x.example"], &me, &["j\u{fc}rgen@x.example"]),
    ];
    for (arguments, ..) in cases {
        let output = local.sendmail(arguments, text.as_bytes());
        assert_eq!((code(&output), told(&output), output.stdout.len()), (0, String::new(), 0), "{arguments:?}");
    }
    let arrived = local.arrived(&daemon, cases.len());
    assert_eq!(arrived.len(), cases.len());
    for ((arguments, from, to), arrived) in cases.iter().zip(&arrived) {
        assert_eq!(
            (&*arrived.from, arrived.to.iter().map(String::as_str).collect::<Vec<_>>()),
            (*from, to.to_vec()),
            "{arguments:?}"
        );
        assert_eq!(arrived.fields("Bcc"), [""; 0], "{arguments:?}");
        assert_eq!((arrived.field("From"), arrived.field("Subject")), ("Shop <shop@shop.example>", "x"));
        assert!(arrived.field("Message-ID").ends_with("@relay.example>") && !arrived.field("Date").is_empty());
        assert_eq!(arrived.body, b"hello\r\n");
    }
}

#[test]
fn who_wrote_a_message_that_does_not_say_it_is_added() {
    let local = Local::new("");
    let daemon = local.site.serve();
    let me = format!("{}@shop.example", user());
    let cases: [(&[&str], &str, String); 4] = [
        (&["-FJane Doe", "a@x.example"], "Subject: x\n\n", format!("Jane Doe <{me}>")),
        (&["-F", "", "a@x.example"], "no header at all\n", format!("<{me}>")),
        (
            &["-f", "shop@y.example", "-F", "J\u{fc}rgen", "a@x.example"],
            "",
            "=?utf-8?B?SsO8cmdlbg==?= <shop@y.example>".into(),
        ),
        (&["a@x.example"], &format!("From: {} (Cron Daemon)\n\n", user()), format!("Cron Daemon <{me}>")),
    ];
    for (arguments, text, _) in &cases {
        assert_eq!(code(&local.sendmail(arguments, text.as_bytes())), 0, "{arguments:?}");
    }
    for ((arguments, _, from), arrived) in cases.iter().zip(local.arrived(&daemon, cases.len())) {
        assert_eq!(arrived.field("From"), from, "{arguments:?}");
    }
}

#[test]
fn what_arrives_is_what_was_given_but_for_line_ends() {
    let local = Local::new("max_message_size = \"200MiB\"");
    let daemon = local.site.serve();
    let mut random = fastrand::Rng::with_seed(7);
    let odd = ["\n", "\r\n", ".", "\n.\n", "\r\n.\r\n", "\n..", "text", " ", "\u{fc}", "\n\n"];
    let mut bodies: Vec<Vec<u8>> = (0..20)
        .map(|_| (0..random.usize(..40)).map(|_| odd[random.usize(..odd.len())]).collect::<String>().into_bytes())
        .collect();
    bodies.push(b"a\rb\r\r\nc\n.\rd".to_vec());
    bodies.push("x".repeat(3_000_000).into_bytes());
    bodies.push((0..700_000).map(|number| format!(".{number}\n")).collect::<String>().into_bytes());
    for body in &bodies {
        let output = local.sendmail(&["-i", "a@x.example"], &[b"Subject: x\n\n", &body[..]].concat());
        assert_eq!(code(&output), 0, "{}", told(&output));
    }
    // CR CR LF and a CR alone are line ends to the relay; what goes out ends in one.
    let normal = |octets: &[u8]| {
        let text = String::from_utf8(octets.to_vec()).unwrap();
        let text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace('\r', "\n");
        text.strip_suffix('\n').map_or(text.clone(), str::to_owned)
    };
    let arrived = local.arrived(&daemon, bodies.len());
    assert_eq!(arrived.len(), bodies.len());
    for (body, arrived) in bodies.iter().zip(arrived) {
        // Folded by the relay: no host takes such a line.
        let is_long = body.len() == 3_000_000;
        let got = if is_long { normal(&arrived.body).replace("=\n", "") } else { decoded(&arrived) };
        assert!(
            normal(got.as_bytes()) == normal(body),
            "{:?} came as {got:?}",
            String::from_utf8_lossy(&body[..body.len().min(200)])
        );
    }
}

/// The body without the encoding that the relay may have given it.
fn decoded(arrived: &Arrived) -> String {
    let message = [arrived.header.as_bytes(), b"\r\n", &arrived.body].concat();
    let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
    parsed.body_text(0).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_dot_alone_ends_a_message_that_does_not_ignore_it() {
    let local = Local::new("");
    let daemon = local.site.serve();
    let text = b"From jane Mon Jan  1 00:00:00 2024\nSubject: x\n\none\n.\ntwo\n";
    for arguments in [&["a@x.example"][..], &["-i", "a@x.example"]] {
        assert_eq!(code(&local.sendmail(arguments, text)), 0);
    }
    let arrived = local.arrived(&daemon, 2);
    assert_eq!((&arrived[0].body[..], &arrived[1].body[..]), (&b"one\r\n"[..], &b"one\r\n.\r\ntwo\r\n"[..]));
    assert!(arrived.iter().all(|one| one.field("Subject") == "x" && !one.header.contains("00:00:00 2024\r")));
}

#[test]
fn thousands_of_recipients_get_it_once_each() {
    let local = Local::new("max_recipients = 300");
    let daemon = local.site.serve();
    let all: Vec<String> = (0..2_500).map(|number| format!("r{number}@list.example")).collect();
    let text = format!("To: list\nBcc: {}\nSubject: x\n\nnews\n", all.join(",\n "));
    let output = local.sendmail(&["-t", "-i", "-f", "shop@shop.example"], text.as_bytes());
    assert_eq!((code(&output), told(&output)), (0, String::new()));
    let delivered = daemon.wait_for_count("delivered", 2_501, |line| line["event"] == "delivered");
    let mut to: Vec<&str> = delivered.iter().map(|line| line["to"].as_str().unwrap()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!((delivered.len(), to.len()), (2_501, 2_501));
    // The limit is met once.
    assert_eq!(daemon.events("refused").len(), 1, "{:?}", daemon.events("refused"));
}

#[test]
fn an_error_has_its_code_and_says_what_to_do() {
    let local = Local::new("max_message_size = \"64KiB\"");
    let daemon = local.site.serve();
    let large = "X: y\n".repeat(300_000);
    let cases: [(&[&str], &str, i32, &[&str]); 10] = [
        (&["-Z"], "", 64, &["-Z is not known", "--help"]),
        (&["-bd"], "", 64, &["mailsluice serve"]),
        (&[], "x\n", 64, &["there is no recipient", "-t"]),
        (&["-t"], "Subject: x\n\n", 64, &["To, Cc and Bcc: the message"]),
        (&["-f", "a b c", "a@b.example"], "x\n", 64, &["-f a b c"]),
        (&["a@b.example"], &large, 65, &["the header goes on beyond 1 MiB"]),
        (&["Jane Doe"], "x\n", 67, &["Jane Doe: this is no address"]),
        (&["Jane Doe", "a@b.example"], "x\n", 67, &["not sent to Jane Doe", "goes to a@b.example: do not send it"]),
        (
            &["a@b.example"],
            &format!("\n{large}"),
            69,
            &["refuses at MAIL FROM: 552 5.3.4", "max_message_size", "nobody gets"],
        ),
        (
            &["--socket", "/nonexistent/socket", "a@b.example"],
            "x\n",
            75,
            &["nobody answers at /nonexistent/socket", "systemctl start mailsluice", "mailsluice doctor"],
        ),
    ];
    for (arguments, input, wanted, sentences) in cases {
        let output = local.sendmail(arguments, input.as_bytes());
        let told = told(&output);
        assert_eq!(code(&output), wanted, "{arguments:?}: {told}");
        assert!(told.lines().all(|line| line.starts_with("sendmail: ")), "{told}");
        assert!(sentences.iter().all(|sentence| told.contains(sentence)), "{arguments:?}: {told}");
    }
    let mut unreadable = local.command("sendmail", &["a@b.example"]);
    let output = unreadable.stdin(fs::File::open("/").unwrap()).output().unwrap();
    assert!(code(&output) == 74 && told(&output).contains("standard input cannot be read"), "{}", told(&output));
    let alone = local.arrived(&daemon, 1);
    assert_eq!(alone[0].to, ["a@b.example"]);

    // A socket that a crash has left is nobody's.
    daemon.kill();
    assert!(local.socket().exists());
    let output = local.sendmail(&["a@b.example"], b"x\n");
    assert!(code(&output) == 75 && told(&output).contains("nobody answers at"), "{}", told(&output));
    for arguments in [&["--help"][..], &["--version"], &["-q"], &["-q15m"]] {
        assert_eq!(code(&local.sendmail(arguments, b"")), 0, "{arguments:?}");
    }
}

#[test]
fn clap_passes_on_what_is_sendmails() {
    let local = Local::new("");
    let daemon = local.site.serve();
    for first in [&["sendmail"][..], &["--config", "/nonexistent", "sendmail"]] {
        let mut command = mailsluice();
        command.args(first).args(["-t", "-oi", "-fshop@shop.example"]).env("MAILSLUICE_SOCKET", local.socket());
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
        let output = fed(command.spawn().unwrap(), b"To: a@b.example\n\n.\n");
        assert_eq!(code(&output), 0, "{first:?}: {}", told(&output));
    }
    let arrived = local.arrived(&daemon, 2);
    assert!(arrived.iter().all(|one| one.to == ["a@b.example"] && one.from == "shop@shop.example"));
    let help = mailsluice().arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("  sendmail "));
    let help = mailsluice().args(["sendmail", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).starts_with("usage: sendmail "));
}

#[test]
fn a_job_may_take_its_time_before_it_has_said_all() {
    let local = Local::new("");
    let mut child = local.command("sendmail", &["-i", "a@b.example"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Subject: x\n\nbegun\n").unwrap();
    // The relay is not there yet, so it has not been waiting either.
    let daemon = local.site.serve();
    stdin.write_all(b"done\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", told(&output));
    assert_eq!(local.arrived(&daemon, 1)[0].body, b"begun\r\ndone\r\n");
}

#[test]
fn a_large_message_takes_little_memory() {
    let local = Local::new("max_message_size = \"200MiB\"");
    let daemon = local.site.serve();
    let mut child = local.command("sendmail", &["-i", "a@b.example"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = [b"x".repeat(75), b"\n".to_vec()].concat();
    stdin.write_all(b"Subject: x\n\n").unwrap();
    for _ in 0..1_400 {
        stdin.write_all(&line.repeat(1_000)).unwrap();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB for 100 MB");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", told(&output));
    let accepted = daemon.wait_for("accepted", |line| line["event"] == "accepted");
    assert!(accepted["bytes"].as_u64() > Some(107_000_000), "{accepted}");
}

#[test]
fn the_conversation_can_be_seen_and_had() {
    let local = Local::new("");
    let daemon = local.site.serve();
    let output = local.sendmail(&["-v", "a@b.example"], b"Subject: x\n\n");
    let told = told(&output);
    for line in
        ["<- 220 relay.example", "-> RCPT TO:<a@b.example>", "-> (the message) .", "<- 250 2.0.0 Ok: queued as "]
    {
        assert!(told.contains(line), "{line} in {told}");
    }
    let talk = b"EHLO pine\r\nMAIL FROM:<jane>\r\nRCPT TO:<a@b.example>\r\nDATA\r\nSubject: by hand\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let output = local.sendmail(&["-bs"], talk);
    let heard = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(code(&output) == 0 && heard.starts_with("220 relay.example"), "{heard}");
    assert!(heard.contains("\r\n250 2.0.0 Ok: queued as ") && heard.contains("\r\n221 2.0.0"), "{heard}");
    // Whoever goes without QUIT is gone, too.
    assert_eq!(code(&local.sendmail(&["-bs"], b"NOOP\r\n")), 0);
    // A file of commands, as editors write it.
    let file = String::from_utf8(talk.to_vec()).unwrap().replace('\r', "").into_bytes();
    let heard = String::from_utf8(local.sendmail(&["-bs"], &file).stdout).unwrap();
    assert!(heard.contains("\r\n250 2.0.0 Ok: queued as ") && heard.contains("\r\n221 2.0.0"), "{heard}");
    let arrived = local.arrived(&daemon, 3);
    assert_eq!((&*arrived[1].from, &arrived[1].body[..]), ("jane@shop.example", &b".dot\r\n"[..]));
    daemon.kill();
    let output = local.sendmail(&["-bs"], talk);
    assert_eq!(code(&output), 75);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("421 4.3.2 nobody answers at "));
}

#[test]
fn mailq_and_newaliases_ask_the_daemon() {
    let local = Local::new("");
    let config = local.site.config();
    let call = |name: &str, arguments: &[&str]| {
        let mut command = local.command(name, &["-C", config.to_str().unwrap()]);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    // Before the daemon has ever run there is nothing to be done, and nothing to be seen.
    assert_eq!(code(&call("newaliases", &[])), 0);
    let output = call("mailq", &[]);
    assert!(code(&output) == 69 && told(&output).contains("start the daemon first"), "{}", told(&output));

    let daemon = local.site.serve();
    let output = call("mailq", &[]);
    assert_eq!((code(&output), &output.stdout[..]), (0, &b"Mail queue is empty\n"[..]));
    assert!(local.site.run(&["account", "pause", "staging"]).status.success());
    daemon.wait_for("paused", |line| line["event"] == "paused");
    assert_eq!(code(&local.sendmail(&["a@b.example"], b"Subject: x\n\n")), 0);
    for (name, arguments) in [("mailq", &[][..]), ("sendmail", &["-bp"])] {
        let output = call(name, arguments);
        assert_eq!((code(&output), &output.stdout), (0, &local.site.run(&["queue", "list"]).stdout), "{name}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("a@b.example"));
    }

    for (name, arguments, count) in [("newaliases", &[][..], 1), ("sendmail", &["-bi"], 2), ("sendmail", &["-I"], 3)] {
        let output = call(name, arguments);
        assert_eq!((code(&output), told(&output)), (0, String::new()), "{name}");
        daemon.wait_for_count("reloaded", count, |line| line["event"] == "reloaded");
    }
    fs::write(&config, "[queue]\npath = \"queue.db\"\n[nonsense]\n").unwrap();
    let output = call("newaliases", &[]);
    assert!(code(&output) == 78 && told(&output).contains("nonsense"), "{}", told(&output));
}

#[test]
fn who_may_not_is_told_who_may() {
    if !rustix::process::geteuid().is_root() {
        // Only root can be another user; to others their own files are closed instead, which is as good.
        return closed_to_oneself();
    }
    let local = Local::new("");
    let daemon = local.site.serve();
    fs::set_permissions(local.site.config(), fs::Permissions::from_mode(0o640)).unwrap();
    let program = local.site.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_mailsluice"), &program).unwrap();
    let nobody = |name: &str, arguments: &[&str], input: &[u8]| {
        let mut command = local.command(name, arguments);
        let mut named = Command::new(&program);
        named
            .arg0(name)
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        named.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).uid(NOBODY).gid(NOBODY);
        command = named;
        fed(command.spawn().unwrap(), input)
    };
    let config = local.site.config();
    let config = config.to_str().unwrap();
    for (name, command) in [("mailq", "`sudo mailq`"), ("newaliases", "`sudo newaliases`")] {
        let output = nobody(name, &["-C", config], b"");
        assert!(code(&output) == 77 && told(&output).contains(command), "{name}: {}", told(&output));
    }
    // The configuration may be open; then the daemon asks who it is.
    fs::set_permissions(local.site.config(), fs::Permissions::from_mode(0o644)).unwrap();
    for name in ["mailq", "newaliases"] {
        let output = nobody(name, &["-C", config], b"");
        assert!(code(&output) == 77 && told(&output).contains("as the daemon's user or as root"), "{}", told(&output));
    }
    let output = nobody("sendmail", &["a@b.example"], b"Subject: x\n\n");
    assert_eq!(code(&output), 0, "{}", told(&output));
    assert_eq!(local.arrived(&daemon, 1)[0].from, "nobody@shop.example");
    fs::set_permissions(local.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    let output = nobody("sendmail", &["a@b.example"], b"Subject: x\n\n");
    assert!(code(&output) == 77 && told(&output).contains("socket_mode"), "{}", told(&output));
}

fn closed_to_oneself() {
    let local = Local::new("");
    let _daemon = local.site.serve();
    fs::set_permissions(local.socket(), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(local.site.config(), fs::Permissions::from_mode(0o0)).unwrap();
    let config = local.site.config();
    for (name, arguments) in [("mailq", ["-C", config.to_str().unwrap()]), ("sendmail", ["-i", "a@b.example"])] {
        let output = fed(local.command(name, &arguments).spawn().unwrap(), b"Subject: x\n\n");
        assert_eq!(code(&output), 77, "{name}: {}", told(&output));
    }
}

/// The user and group of Debian that own nothing.
const NOBODY: u32 = 65_534;
