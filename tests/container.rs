//! The image, built by buildah from the real Dockerfile, and run by Podman as deploy/compose.yaml says: read-only, as an
//! unprivileged user without capabilities, in networks of its own. No registry is asked: the image that the Dockerfile
//! begins with is made here, of a Debian and this machine's Rust.

use std::fs;
use std::io::{BufRead, BufReader};
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
    // Mounts, networks and rules for packets go with the namespaces. What a machine with both kinds of cgroups has is none
    // that crun likes.
    let script = "mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; exec \"$@\"";
    let status = Command::new("unshare")
        .args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "container::the_image_is_small_and_runs_as_the_compose_file_says", "--include-ignored"])
        .arg("--nocapture")
        .env(WORK, work.path())
        .status()
        .unwrap();
    assert!(status.success(), "in the namespaces");
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

    /// The image that the Dockerfile names: this Debian and this Rust, with the crates of the lock file, to build offline.
    fn make_base(&self) {
        let name = base_name();
        let root = self.work.join("base");
        let include = "--include=gcc,libc6-dev,ca-certificates";
        let root_text = root.to_str().unwrap();
        self.said("debootstrap", &["--variant=minbase", include, "bookworm", root_text]);
        let toolchain = "set -e; cd \"$1\"; mkdir -p usr/local/lib/rustlib; \
            host=$(rustc -vV | sed -n 's/^host: //p'); from=$(rustc --print sysroot); \
            cp \"$from\"/bin/cargo \"$from\"/bin/rustc usr/local/bin/; cp -a \"$from\"/lib/*.so* usr/local/lib/; \
            cp -a \"$from/lib/rustlib/$host\" usr/local/lib/rustlib/";
        self.said("sh", &["-c", toolchain, "sh", root_text]);
        self.said("buildah", &["from", "--name", "base", "scratch"]);
        self.said("buildah", &["copy", "-q", "base", root_text, "/"]);
        fs::remove_dir_all(&root).unwrap();
        self.said("buildah", &["copy", "-q", "base", self.work.join("cargo").to_str().unwrap(), "/usr/local/cargo"]);
        let variables = ["CARGO_HOME=/usr/local/cargo", "CARGO_NET_OFFLINE=true", "PATH=/usr/local/bin:/usr/bin:/bin"];
        for variable in variables {
            self.said("buildah", &["config", "--env", variable, "base"]);
        }
        self.said("buildah", &["commit", "-q", "--rm", "base", &name]);
    }
}
