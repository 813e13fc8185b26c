//! Settings by environment, as containers have them: they make a relay, what is wrong with them is told by their names, and
//! a queue that would go with its container is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, mailsluice};
use crate::support::mounts;
use crate::support::relay::{PASSWORD, Upstream, mailbox, send};

/// The program without a configuration file, and with these variables alone.
fn bare(variables: &[(&str, &str)]) -> Command {
    with_file(Path::new("/nonexistent/config.toml"), variables)
}

fn with_file(config: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = mailsluice();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAILSLUICE_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(config).envs(variables.iter().copied());
    command
}

/// What a command with these variables says where it fails.
fn refused(variables: &[(&str, &str)], command: &str, code: i32) -> String {
    let mut refused = bare(variables);
    refused.arg(command);
    told(refused, code)
}

/// What a command says that ends with this code. One that goes on for a minute, as a daemon does, has not failed.
fn told(mut command: Command, code: i32) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = rustix::process::Pid::from_child(&child);
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
    let output = end.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        panic!("{command:?} goes on, and should have been refused")
    });
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stdout));
    text
}

/// A relay without an account that could lose anything, with its queue here.
fn staging(queue: &str) -> Vec<(&str, &str)> {
    vec![
        ("MAILSLUICE_LISTEN", "127.0.0.1:0"),
        ("MAILSLUICE_ACCOUNT_PROVIDER", "directory"),
        ("MAILSLUICE_ACCOUNT_PATH", "/nonexistent/mail"),
        ("MAILSLUICE_QUEUE", queue),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_make_a_relay_that_delivers_and_every_command_knows_it() {
    let upstream = Upstream::start(mailbox(), "").await;
    let inside = |name: &str| upstream.site.path().join(name).to_str().unwrap().to_owned();
    let (queue, ca, password) = (inside("queue.db"), inside("ca.pem"), inside("password"));
    let port = upstream.sandbox.address().port().to_string();
    let mut variables = vec![
        ("MAILSLUICE_LISTEN", "127.0.0.1:0"),
        ("MAILSLUICE_HOSTNAME", "relay.example"),
        ("MAILSLUICE_ACCOUNT_PROVIDER", "microsoft365"),
        ("MAILSLUICE_ACCOUNT_HOST", "127.0.0.1"),
        ("MAILSLUICE_ACCOUNT_PORT", &port),
        ("MAILSLUICE_ACCOUNT_CA_FILE", &ca),
        ("MAILSLUICE_ACCOUNT_USERNAME", "webmaster@example.com"),
        ("MAILSLUICE_ACCOUNT_PASSWORD_FILE", &password),
        ("MAILSLUICE_ACCOUNT_MESSAGES", "1000/min, 9000/h"),
        ("MAILSLUICE_QUEUE", &queue),
        ("MAILSLUICE_QUEUE_EPHEMERAL", "true"),
    ];
    for round in 1..=2 {
        let mut serve = bare(&variables);
        serve.args(["serve", "--log-format", "json"]);
        let daemon = Daemon::start(serve);
        send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
        upstream.wait_for(round).await;
        daemon.wait_for("delivered", |line| line["event"] == "delivered");
        let run = |arguments: &[&str]| {
            let output = bare(&variables).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(run(&["check"]).contains("environment: fine"));
        assert!(run(&["check"]).contains("1000/min messages, 9000/h messages"));
        assert!(run(&["queue", "list", "--fate", "delivered"]).contains("b@example.org"));
        assert!(run(&["account", "list"]).contains("main"));
        assert!(run(&["account", "test", "main"]).contains("ok"));
        assert!(run(&["doctor", "--offline"]).contains("environment is well-formed"));
        let setup = refused(&variables, "setup", 1);
        assert!(setup.contains("MAILSLUICE_ACCOUNT_PROVIDER") && setup.contains("unset them"), "{setup}");
        daemon.signal(Signal::HUP);
        let reloaded = daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
        assert!(reloaded["message"].as_str().unwrap().contains("stay until a restart"), "{reloaded}");
        assert_eq!(daemon.stop(), 0);
        // And once more with the password itself.
        variables.retain(|(name, _)| *name != "MAILSLUICE_ACCOUNT_PASSWORD_FILE");
        variables.push(("MAILSLUICE_ACCOUNT_PASSWORD", PASSWORD));
    }
}

#[test]
fn what_is_wrong_is_told_by_the_name_of_the_variable() {
    let nothing = refused(&[], "serve", 78);
    assert!(nothing.contains("/nonexistent/config.toml: found no such file"), "{nothing}");
    assert!(nothing.contains("mailsluice setup") && nothing.contains("MAILSLUICE_ACCOUNT_PROVIDER"), "{nothing}");
    let variables = [
        ("MAILSLUICE_NETWORKSS", "10.0.0.0/8"),
        ("MAILSLUICE_LISTEN", "0.0.0.0"),
        ("MAILSLUICE_ACCOUNT_PROVIDER", "smtp"),
        ("MAILSLUICE_ACCOUNT_PORT", "smtp"),
        ("MAILSLUICE_ACCOUNT_USERNAME", "shop"),
        ("MAILSLUICE_ACCOUNT_MESSAGES", "30/min 9000"),
        ("MAILSLUICE_ALARMS_WEBHOOK", "hunter2"),
        ("MAILSLUICE_QUEUE_EPHEMERAL", "yes"),
    ];
    for command in ["check", "serve"] {
        let told = refused(&variables, command, 78);
        assert!(!told.contains("hunter2"), "{told}");
        for wanted in [
            "MAILSLUICE_NETWORKSS: found an unknown variable, wanted MAILSLUICE_NETWORKS, perhaps",
            "MAILSLUICE_LISTEN: found \"0.0.0.0\", wanted ",
            "MAILSLUICE_ACCOUNT_HOST: found nothing, wanted the name of the smarthost",
            "MAILSLUICE_ACCOUNT_PORT: found \"smtp\", wanted a port number",
            "MAILSLUICE_ACCOUNT_PASSWORD_FILE: found nothing, wanted ",
            "MAILSLUICE_ACCOUNT_MESSAGES: found \"9000\", wanted a rate",
            "MAILSLUICE_ALARMS_WEBHOOK: found something else",
            "MAILSLUICE_QUEUE_EPHEMERAL: found \"yes\", wanted true or false",
        ] {
            let line = format!("mailsluice: environment: {wanted}");
            assert!(told.lines().any(|one| one.starts_with(&line)), "{line}\n{told}");
        }
        assert_eq!(told.lines().count(), 8, "{told}");
    }
}

#[test]
fn nothing_is_open_by_accident() {
    let variables = [("MAILSLUICE_ACCOUNT_PROVIDER", "directory"), ("MAILSLUICE_ACCOUNT_PATH", "/nonexistent/mail")];
    assert!(refused(&variables, "serve", 78).contains("MAILSLUICE_NETWORKS: found nothing, wanted the networks"));
    let open = [&variables[..], &[("MAILSLUICE_NETWORKS", "10.0.0.0/8,0.0.0.0/0")]].concat();
    assert!(
        refused(&open, "serve", 78)
            .contains("MAILSLUICE_NETWORKS: found \"0.0.0.0/0\", which would make an open relay")
    );
}

#[test]
fn a_file_and_variables_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let account = "[[account]]\nname = \"a\"\nprovider = \"smtp\"\nhost = \"localhost\"\nusername = \"u\"\n";
    let with_password = |env: &str| format!("{listener}{account}password = {{ env = \"{env}\" }}\n");
    fs::write(&file, with_password("MAILSLUICE_ACCOUNT_PASSWORD")).unwrap();
    let check = |variables: &[(&str, &str)]| {
        let mut check = with_file(&file, variables);
        check.arg("check");
        check
    };
    let password = ("MAILSLUICE_ACCOUNT_PASSWORD", "open sesame");
    assert!(check(&[password]).output().unwrap().status.success(), "the file names the variable");
    let both = told(check(&[password, ("MAILSLUICE_NETWORKS", "10.0.0.0/8")]), 78);
    assert!(
        both.contains("a configuration, and MAILSLUICE_NETWORKS in the environment, wanted one of the two"),
        "{both}"
    );
    fs::write(&file, with_password("OTHER")).unwrap();
    let ignored = told(check(&[password, ("OTHER", "x")]), 78);
    assert!(ignored.contains("MAILSLUICE_ACCOUNT_PASSWORD in the environment"), "{ignored}");
}

/// Runs a shell script in a mount namespace of its own, with the program and the variables after it.
fn in_mounts(script: &str, folder: &Path, variables: &[(&str, &str)]) -> Command {
    let program = bare(&[]).get_program().to_owned();
    let mut command = mounts::unshared();
    command.args(["sh", "-ec", script]).arg(folder).arg(program);
    command.args(["--config", "/nonexistent/config.toml", "serve", "--log-format", "json"]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(variables.iter().copied());
    command
}

#[test]
fn a_queue_in_memory_or_on_an_overlay_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("merged/mailsluice/queue.db");
    let tmpfs = "mount -t tmpfs none \"$0\"; mkdir -p \"$0/merged/mailsluice\"; exec \"$@\"";
    // An overlay cannot have its changes on another overlay, such as that of a container in which this is run.
    let overlay = "mount -t tmpfs none \"$0\"; cd \"$0\"; mkdir lower upper work merged; \
                   mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged; cd /; exec \"$@\"";
    for (script, kind) in [(tmpfs, "tmpfs (memory)"), (overlay, "an overlay (a container's own layer)")] {
        let variables = staging(queue.to_str().unwrap());
        let refused = told(in_mounts(script, folder.path(), &variables), 74);
        let place = queue.parent().unwrap().display();
        assert!(refused.contains(&format!("{place}: lies on {kind}")), "{refused}");
        assert!(refused.contains(&format!("`-v mailsluice:{place}`, or `volumes:`")), "{refused}");
        let allowed = [&variables[..], &[("MAILSLUICE_QUEUE_EPHEMERAL", "true")]].concat();
        let daemon = Daemon::start(in_mounts(script, folder.path(), &allowed));
        daemon.wait_for("started", |line| line["event"] == "started");
        assert_eq!(daemon.stop(), 0);
    }
}

/// With storage drivers that copy, a container's layer lies on the host's disk, and looks like it.
#[test]
fn a_layer_that_looks_like_a_disk_is_told_from_a_volume() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let layer = "mount --bind \"$0\" \"$0\"; cd \"$0\"; mkdir -p etc run proc var/lib/mailsluice volume program; \
                 for one in /usr /lib /lib64 /bin; do \
                     if [ -L $one ]; then ln -sf \"$(readlink $one)\" .$one; \
                     elif [ -d $one ]; then mkdir -p .$one; mount --rbind $one .$one; fi; \
                 done; \
                 mount --bind \"$(dirname \"$1\")\" program; program=/program/$(basename \"$1\"); shift; ";
    let volume = "mount --bind volume var/lib/mailsluice; ";
    let docker = "touch .dockerenv; ";
    let run = "exec chroot . \"$program\" \"$@\"";
    let variables = staging("/var/lib/mailsluice/queue.db");
    // Each begins with a root of its own: files stay from one to the next.
    let start = |script: &[&str]| {
        let root = TempDir::new_in(folder.path()).unwrap();
        (in_mounts(&script.concat(), root.path(), &variables), root)
    };
    let (command, _root) = start(&[layer, docker, run]);
    let refused = told(command, 74);
    assert!(
        refused.contains("/var/lib/mailsluice: lies on ") && refused.contains("container's own layer"),
        "{refused}"
    );
    for script in [&[layer, run][..], &[layer, volume, docker, run]] {
        let (command, _root) = start(script);
        let daemon = Daemon::start(command);
        daemon.wait_for("started", |line| line["event"] == "started");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_with_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    for (path, mode) in [(folder.path(), 0o755), (&volume, 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let queue = volume.join("queue.db");
    let mut variables = staging(queue.to_str().unwrap());
    variables.push(("MAILSLUICE_QUEUE_EPHEMERAL", "true"));
    let mut serve = bare(&variables);
    let root = rustix::process::geteuid().is_root();
    if root {
        // Who is not root may not read what lies in root's home.
        let program = readable_program(folder.path());
        let arguments: Vec<_> = serve.get_args().map(ToOwned::to_owned).collect();
        serve = Command::new(program);
        serve.args(arguments).env_clear().envs(variables).uid(65_532).gid(65_532);
    }
    serve.arg("serve");
    let refused = told(serve, 74);
    let user = if root { 65_532 } else { rustix::process::geteuid().as_raw() };
    let wanted = format!("{}: cannot be written by user {user}: it belongs to user ", volume.display());
    assert!(refused.contains(&wanted), "{refused}");
    assert!(refused.contains(&format!("chown -R {user} {}", volume.display())), "{refused}");
    let script = "mount -t tmpfs -o ro none \"$0/volume\"; exec \"$@\"";
    let read_only = told(in_mounts(script, folder.path(), &staging(queue.to_str().unwrap())), 74);
    assert!(read_only.contains("lies on tmpfs"), "what it lies on comes first: {read_only}");
    let variables: Vec<_> = [&staging(queue.to_str().unwrap())[..], &[("MAILSLUICE_QUEUE_EPHEMERAL", "true")]].concat();
    let read_only = told(in_mounts(script, folder.path(), &variables), 74);
    assert!(read_only.contains("the file system is read-only; mount a disk or a volume there"), "{read_only}");
}

/// A copy of the program that every user may run.
fn readable_program(folder: &Path) -> PathBuf {
    let copy = folder.join("mailsluice");
    fs::copy(mailsluice().get_program(), &copy).unwrap();
    copy
}
