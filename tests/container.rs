//! The image, built by buildah from the real Dockerfile, and run by Podman as deploy/compose.yaml says: read-only, as an
//! unprivileged user without capabilities, in networks of its own. No registry is asked: the image that the Dockerfile
//! begins with is made here, of a Debian and this machine's Rust.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::mailsluice;

/// Names the work folder to the process that runs in namespaces of its own.
const WORK: &str = "MAILSLUICE_TEST_CONTAINER_WORK";
/// As deploy/README.md says.
const LARGEST: u64 = 25 << 20;

#[test]
#[ignore = "builds a release in a container: takes ten minutes, 6 GB of disk, and root"]
fn the_image_is_small_and_runs_as_the_compose_file_says() {
    if let Some(work) = std::env::var_os(WORK) {
        return Engine { work: work.into() }.run_everything();
    }
    assert!(rustix::process::geteuid().is_root(), "this test makes containers: run it as root");
    let work = TempDir::with_prefix_in("mailsluice-container-", "/var/tmp").unwrap();
    prepare(work.path());
    // Mounts, networks and rules for packets go with the namespaces, and what the engine notes under /run. What a machine
    // with both kinds of cgroups has is none that crun likes; and crun gives the container's user what `podman exec` has for
    // input, which would be this machine's /dev/null.
    let script = "mount -t tmpfs none /run; mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; \
        null=$MAILSLUICE_TEST_CONTAINER_WORK/null; mknod -m 0666 \"$null\" c 1 3; mount --bind \"$null\" /dev/null; \
        exec \"$@\"";
    let before = fs::metadata("/dev/null").unwrap();
    let status = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-ec",
            script,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "container::the_image_is_small_and_runs_as_the_compose_file_says", "--include-ignored"])
        .arg("--nocapture")
        .env(WORK, work.path())
        .status()
        .unwrap();
    assert!(status.success(), "in the namespaces");
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()), "/dev/null has another owner");
}

/// Buildah and Podman, with storage of their own.
struct Engine {
    work: PathBuf,
}

impl Engine {
    fn run_everything(&self) {
        self.configure();
        self.make_base();
        self.build();
        self.look_at_the_image();
        self.refuse_the_layer();
        self.compose();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("CONTAINERS_STORAGE_CONF", self.work.join("storage.conf"));
        command.env("CONTAINERS_CONF", self.work.join("containers.conf"));
        command.env("BUILDAH_ISOLATION", "chroot").current_dir(&self.work).stdin(Stdio::null());
        command
    }

    /// What a command prints that must succeed.
    fn said(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {}\n{told}\n{complained}", output.status);
        told.trim().to_owned()
    }

    fn configure(&self) {
        let work = self.work.display();
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{work}/store\"\nrunroot = \"{work}/run\"\n");
        // Without a daemon of systemd there is nobody to ask for cgroups, and limits cannot be raised.
        let containers = format!(
            "[containers]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1000:1000\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\ntmp_dir = \"{work}/tmp\"\n\
             [network]\nnetwork_config_dir = \"{work}/networks\"\n"
        );
        fs::write(self.work.join("storage.conf"), storage).unwrap();
        fs::write(self.work.join("containers.conf"), containers).unwrap();
    }

    /// The image that the Dockerfile begins with.
    fn make_base(&self) {
        let (root, name) = (self.work.join("base"), base_name());
        self.said("buildah", &["from", "--name", "base", "scratch"]);
        self.said("buildah", &["copy", "-q", "base", root.to_str().unwrap(), "/"]);
        fs::remove_dir_all(&root).unwrap();
        for variable in ["CARGO_HOME=/usr/local/cargo", "CARGO_NET_OFFLINE=true", "PATH=/usr/local/bin:/usr/bin:/bin"] {
            self.said("buildah", &["config", "--env", variable, "base"]);
        }
        self.said("buildah", &["commit", "-q", "--rm", "base", &name]);
    }

    fn build(&self) {
        let root = root();
        let file = root.join("deploy/Dockerfile");
        let arguments = ["build", "--format", "docker", "--pull-never", "-t", IMAGE, "-f"];
        let mut build = self.command("buildah");
        build.args(arguments).args([&file, &root]);
        assert!(build.status().unwrap().success(), "{build:?}");
    }

    /// It says what it needs, and holds the program and what that is linked to, the certificates, the user, and no more.
    fn look_at_the_image(&self) {
        let told = self.said("podman", &["image", "inspect", IMAGE]);
        let image: Value = serde_json::from_str(&told).unwrap();
        let (image, config) = (&image[0], &image[0]["Config"]);
        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/local/bin/mailsluice"]));
        assert_eq!(config["Cmd"], serde_json::json!(["serve"]));
        assert_eq!(config["Volumes"], serde_json::json!({ "/var/lib/mailsluice": {} }));
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(image["Healthcheck"]["Test"], serde_json::json!(["CMD", "/usr/local/bin/mailsluice", "health"]));
        let size = image["Size"].as_u64().unwrap();
        println!("the image has {size} octets");
        assert!((5 << 20..LARGEST).contains(&size), "{size}");

        self.said("buildah", &["from", "--pull-never", "--name", "look", IMAGE]);
        let mounted = PathBuf::from(self.said("buildah", &["mount", "look"]));
        let find = ["-mindepth", "1", "(", "!", "-type", "d", "-o", "-perm", "/o+w", ")", "-printf", "%P %m %U\\n"];
        let found = self.said("find", &[&[mounted.to_str().unwrap()], &find[..]].concat());
        let (mut libraries, mut others) = (0, Vec::new());
        for line in found.lines() {
            if line.starts_with("lib") && line.contains(".so") { libraries += 1 } else { others.push(line) }
        }
        others.sort_unstable();
        let wanted = [
            "etc/group 644 0",
            "etc/nsswitch.conf 644 0",
            "etc/passwd 644 0",
            "etc/ssl/certs/ca-certificates.crt 644 0",
            "usr/local/bin/mailsluice 755 0",
        ];
        assert_eq!(others, wanted);
        assert!((3..8).contains(&libraries), "{found}");
        let folder = mounted.join("var/lib/mailsluice").metadata().unwrap();
        assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (65_532, 65_532, 0o700));
        self.said("buildah", &["rm", "look"]);
    }

    /// Without its volume the queue would go with the container.
    fn refuse_the_layer(&self) {
        let variables = [
            ["--env", "MAILSLUICE_NETWORKS=172.30.25.0/24"],
            ["--env", "MAILSLUICE_ACCOUNT_PROVIDER=directory"],
            ["--env", "MAILSLUICE_ACCOUNT_PATH=/var/lib/mailsluice/mail"],
        ];
        let run = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all"];
        let refused = |more: &[&str]| {
            let mut podman = self.command("podman");
            let output = podman.args(run).args(variables.as_flattened()).args(more).arg(IMAGE).output().unwrap();
            assert_eq!(output.status.code(), Some(74), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let layer = refused(&["--image-volume", "ignore"]);
        assert!(layer.contains("/var/lib/mailsluice: lies on the container's own layer"), "{layer}");
        assert!(layer.contains("`-v mailsluice:/var/lib/mailsluice`"), "{layer}");
        let memory = refused(&["--image-volume", "tmpfs"]);
        assert!(memory.contains("/var/lib/mailsluice: lies on tmpfs (memory)"), "{memory}");
        let folder = self.work.join("root-owned");
        fs::create_dir(&folder).unwrap();
        let foreign = refused(&["--volume", &format!("{}:/var/lib/mailsluice", folder.display())]);
        assert!(foreign.contains("cannot be written by user 65532: it belongs to user 0"), "{foreign}");
        assert!(foreign.contains("chown -R 65532"), "{foreign}");
    }

    /// The compose file itself, with a sandbox beside the relay in place of its provider.
    fn compose(&self) {
        let sandbox = self.work.join("sandbox");
        let password = learn_password(&sandbox);
        fs::write(self.work.join("account_password"), password).unwrap();
        self.said("chmod", &["400", "account_password"]);
        self.said("chown", &["-R", "65532:65532", "account_password", "sandbox"]);
        fs::copy(root().join("deploy/compose.yaml"), self.work.join("compose.yaml")).unwrap();
        fs::write(self.work.join("override.yaml"), OVERRIDE).unwrap();
        // podman-compose 1.0.3 does not hand the subnet on, and takes a network that is there.
        self.said("podman", &["network", "create", "--subnet", "172.30.25.0/24", "t_mail"]);
        let files = ["-p", "t", "-f", "compose.yaml", "-f", "override.yaml"];
        self.said("podman-compose", &[&files[..], &["up", "-d", "--no-build"]].concat());
        self.said(
            "podman",
            &[
                "run",
                "-d",
                "--name",
                "provider",
                "--network",
                &format!("container:{RELAY}"),
                "--read-only",
                "--cap-drop",
                "all",
            ]
            .into_iter()
            .chain(["--volume", "./sandbox:/sandbox", IMAGE, "sandbox", "--directory", "/sandbox"])
            .collect::<Vec<_>>(),
        );
        self.log_until("provider", |line| line.contains("Ctrl-C stops it"));
        self.log_until(RELAY, |line| line.contains("\"event\":\"started\""));
        self.said("podman", &["exec", RELAY, "/usr/local/bin/mailsluice", "health"]);
        let runs = self.said("podman", &["exec", RELAY, "/usr/local/bin/mailsluice", "account", "test", "main"]);
        assert!(runs.contains("all that a delivery needs works"), "{runs}");

        // A program of the host, by the published port; a container of the same network, by the service's name.
        let hand_in = |mut command: Command, subject: &str| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            self.log_until(RELAY, |line| line.contains(DELIVERED) && line.contains(&format!("{subject}@example.com")));
            self.delivered(subject);
        };
        let mut host = self.command("perl");
        host.args(["-e", SEND, "127.0.0.1", "25", "from-the-host"]);
        hand_in(host, "from-the-host");
        let mut other = self.command("podman");
        other.args([
            "run",
            "--rm",
            "--network",
            "t_mail",
            &base_name(),
            "perl",
            "-e",
            SEND,
            "mailsluice",
            "2525",
            "from-a-container",
        ]);
        hand_in(other, "from-a-container");
        let told = self.said("podman", &["exec", RELAY, "/usr/local/bin/mailsluice", "queue", "stats"]);
        println!("{told}");

        let inspected = self.said("podman", &["inspect", RELAY]);
        let relay: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(relay[0]["HostConfig"]["ReadonlyRootfs"], true);
        let first = relay[0]["State"]["Pid"].as_u64().unwrap();
        let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
        for wanted in ["Uid:\t65532", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000"] {
            assert!(status.contains(wanted), "{wanted}\n{status}");
        }
        self.said("podman", &["stop", "-t", "45", RELAY]);
        let state = self.said("podman", &["inspect", "--format", "{{.State.ExitCode}}", RELAY]);
        assert_eq!(state, "0", "it was stopped in order");
    }

    /// Reads a container's log until such a line comes.
    fn log_until(&self, container: &str, wanted: impl Fn(&str) -> bool) {
        let mut podman = self.command("timeout");
        podman.args(["60", "podman", "logs", "--follow", container]).stdout(Stdio::piped());
        let mut child = podman.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = Vec::new();
        let found = lines.inspect(|line| seen.push(line.clone())).any(|line| wanted(&line));
        let _ = child.kill();
        let _ = child.wait();
        assert!(found, "the log of {container} lacks a line:\n{}", seen.join("\n"));
    }

    /// The sandbox has a message with this subject.
    fn delivered(&self, subject: &str) {
        let found = self.said("grep", &["-rl", &format!("Subject: {subject}"), "sandbox/mail"]);
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

/// Brings together what needs the outer network: a Debian, this machine's Rust, and the crates of the lock file.
fn prepare(work: &Path) {
    let said = |mut command: Command| {
        let output: Output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let base = work.join("base");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--include=gcc,libc6-dev,ca-certificates", "bookworm"]).arg(&base);
    said(debootstrap);
    let mut toolchain = Command::new("sh");
    toolchain.args(["-ec", TOOLCHAIN, "sh"]).arg(&base).current_dir(root());
    said(toolchain);
    let mut vendor = Command::new("cargo");
    let crates = base.join("usr/local/cargo/vendor");
    vendor.args(["vendor", "--quiet", "--locked", "--versioned-dirs"]).arg(&crates).current_dir(root());
    said(vendor);
    fs::write(base.join("usr/local/cargo/config.toml"), VENDORED).unwrap();
}

/// The password of a sandbox in this folder, which has its certificates from here on.
fn learn_password(folder: &Path) -> String {
    let mut sandbox = mailsluice();
    sandbox.args(["sandbox", "--listen", "127.0.0.1:0", "--token-listen", "127.0.0.1:0", "--directory"]).arg(folder);
    let mut child = sandbox.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.into_iter().any(|line| line.contains("Ctrl-C stops it")));
    child.kill().unwrap();
    child.wait().unwrap();
    fs::read_to_string(folder.join("password")).unwrap()
}

/// What the first stage of the Dockerfile begins with.
fn base_name() -> String {
    let text = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("FROM ")?.strip_suffix(" AS build"));
    name.expect("a stage called build").to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

const IMAGE: &str = "mailsluice";
/// As podman-compose names it.
const RELAY: &str = "t_mailsluice_1";
const DELIVERED: &str = "\"event\":\"delivered\"";
const OVERRIDE: &str = "\
services:
  mailsluice:
    environment:
      MAILSLUICE_ACCOUNT_HOST: localhost
      MAILSLUICE_ACCOUNT_PORT: \"5870\"
      MAILSLUICE_ACCOUNT_CA_FILE: /sandbox/ca.pem
    volumes:
      - ./sandbox:/sandbox
";
/// Where cargo finds crates in the stand-in.
const VENDORED: &str = "\
[source.crates-io]
replace-with = \"vendored\"
[source.vendored]
directory = \"/usr/local/cargo/vendor\"
";
const TOOLCHAIN: &str = "
cd \"$1\"
mkdir -p usr/local/lib/rustlib usr/local/cargo
from=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
cp \"$from/bin/cargo\" \"$from/bin/rustc\" usr/local/bin/
cp -a \"$from\"/lib/*.so* usr/local/lib/
cp -a \"$from/lib/rustlib/$host\" usr/local/lib/rustlib/
";
/// A client for a Debian that has nothing but its Perl: address, port, subject.
const SEND: &str = r#"
use IO::Socket::INET;
my ($host, $port, $subject) = @ARGV;
my $relay = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 30) or die "$host:$port: $@";
sub wanted { my $line = <$relay>; $line = <$relay> while $line =~ /^\d\d\d-/; $line =~ /^$_[0]/ or die "got $line" }
wanted(220);
for (["EHLO shop", 250], ["MAIL FROM:<shop\@example.com>", 250], ["RCPT TO:<$subject\@example.com>", 250], ["DATA", 354],
     ["Subject: $subject\r\n\r\nx\r\n.", 250], ["QUIT", 221]) {
    print $relay "$_->[0]\r\n";
    wanted($_->[1]);
}
"#;
