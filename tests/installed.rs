//! The Debian packages: their parts agree with one another, and (long) they are installed, upgraded, refused, removed and
//! purged on a fresh Debian with a real systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[test]
fn both_packages_and_their_changelog_have_one_version() {
    let version = format!("{}-1", env!("CARGO_PKG_VERSION"));
    let changelog = read("deploy/debian/changelog");
    assert!(changelog.starts_with(&format!("mailsluice ({version}) ")), "{changelog}");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mta = &manifest["package"]["metadata"]["deb"]["variants"]["mta"];
    assert_eq!(mta["depends"].as_str(), Some(format!("mailsluice (= {version})").as_str()));
}

#[test]
fn what_the_packages_bring_is_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let mut looked = 0;
    for assets in [&package["assets"], &package["variants"]["mta"]["assets"]] {
        let sources = assets.as_array().unwrap().iter().filter_map(|asset| asset.get(0)?.as_str());
        for source in sources.filter(|source| !source.starts_with("target/")) {
            assert!(root().join(source).exists(), "{source} is not there");
            looked += 1;
        }
    }
    assert!(looked >= 12, "looked at {looked} only");
}

#[test]
fn systemd_holds_the_sockets_that_the_packaged_configuration_names() {
    let packaged: toml::Table = read("config/packaged.toml").parse().unwrap();
    let listeners = packaged["listener"].as_array().unwrap().iter();
    let mut named: Vec<&str> = listeners
        .flat_map(|listener| match &listener["address"] {
            toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect(),
            one => vec![one.as_str().unwrap()],
        })
        .map(|address| address.trim_start_matches("unix:"))
        .collect();
    named.sort_unstable();
    let unit = read("systemd/mailsluice.socket");
    let mut held: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    held.sort_unstable();
    assert_eq!(named, held);
}

#[test]
fn the_scripts_are_understood_by_their_shell() {
    let scripts = ["preinst", "postinst", "prerm", "postrm"].map(|name| ("sh", format!("deploy/debian/{name}")));
    let others = ["deploy/debian/build", "tests/host/packages", "tests/host/machine.sh"];
    let others = others.map(|name| ("bash", name.to_owned()));
    for (shell, script) in scripts.into_iter().chain(others) {
        let output = Command::new(shell).arg("-n").arg(root().join(&script)).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_purge_keeps_mail_that_waits_or_may_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, note) = (folder.path().join("queue"), folder.path().join("queue/waiting-at-removal"));
    let script = read("deploy/debian/postrm")
        .replace("queue=/var/lib/mailsluice", &format!("queue={}", queue.display()))
        .replace("rm -rf /etc/mailsluice", "true")
        .replace("command -v deb-systemd-helper", "false");
    let purge = |lay: &dyn Fn()| {
        let _ = fs::remove_dir_all(&queue);
        lay();
        let output = Command::new("sh").args(["-c", &script, "postrm", "purge"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(queue.exists(), told.contains("is kept"), "{told}");
        told
    };
    let holding = |files: &[&str]| {
        purge(&|| {
            fs::create_dir(&queue).unwrap();
            files.iter().for_each(|file| fs::write(queue.join(file), "0\n").unwrap());
        })
    };
    let purged = |waiting: Option<&str>, later: Option<&str>| {
        purge(&|| {
            fs::create_dir(&queue).unwrap();
            fs::write(queue.join("queue.db"), "mail").unwrap();
            if let Some(waiting) = waiting {
                fs::write(&note, waiting).unwrap();
            }
            if let Some(later) = later {
                let file = fs::File::create(queue.join(later)).unwrap();
                file.set_modified(note.metadata().unwrap().modified().unwrap() + Duration::from_secs(1)).unwrap();
            }
        })
    };
    assert_eq!(purged(Some("0\n"), None), "");
    assert_eq!(purged(Some("0\n"), Some("notes")), "");
    assert!(purged(Some("3\n"), None).contains("3 messages wait"));
    for (waiting, later) in [(None, None), (Some("0\n"), Some("queue.db-wal"))] {
        assert!(purged(waiting, later).contains("an unknown number of messages"));
    }
    assert_eq!(purge(&|| ()), "", "nothing is there");
    assert_eq!(holding(&["queue.db-lock"]), "");
    for files in [
        &["mail.db", "mail.db-lock"][..],
        &["queue.db", "waiting-at-removal", "mail.db", "mail.db-lock"],
        &["queue.db", "waiting-at-removal", "queue.db-lost-20260101T000000"],
        &["queue.db-wal"],
    ] {
        assert!(holding(files).contains("an unknown number of messages"), "{files:?}");
    }
}

/// Needs root, debootstrap and lintian, as `tests/run --long` has them, and the packages, which it builds: some minutes.
#[test]
#[ignore = "builds the packages and boots a Debian"]
fn the_packages_are_installed_upgraded_removed_and_purged() {
    run("deploy/debian/build", &["--fetch"]);
    run("tests/host/packages", &[]);
}

/// Runs a script of the tree, by root where this is not root; what it prints is seen where it fails.
fn run(script: &str, arguments: &[&str]) {
    let is_root = rustix::process::geteuid().is_root();
    let needs_root = script.starts_with("tests/");
    let mut command = match is_root || !needs_root {
        true => Command::new(root().join(script)),
        false => {
            let mut sudo = Command::new("sudo");
            sudo.arg("-n").arg(root().join(script));
            sudo
        }
    };
    let output = command.args(arguments).current_dir(root()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}:\n{told}");
    println!("{told}");
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
