//! The files under `systemd/`, as systemd's own programs judge them.

use super::*;

fn shipped(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file)
}

/// Runs a program of systemd, which must succeed and complain of nothing.
fn clean(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complained.is_empty(), "{program} {arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A root with the units, the targets that they name, and a program in the place of the daemon.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["etc/systemd/system", "usr/bin", "usr/lib/systemd/system"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for unit in ["mailsluice.service", "mailsluice.socket"] {
        std::fs::copy(shipped(unit), at("etc/systemd/system").join(unit)).unwrap();
    }
    for unit in Path::new("/usr/lib/systemd/system").read_dir().unwrap().flatten() {
        if matches!(unit.path().extension().and_then(|it| it.to_str()), Some("target" | "slice")) {
            std::fs::copy(unit.path(), at("usr/lib/systemd/system").join(unit.file_name())).unwrap();
        }
    }
    std::fs::write(at("usr/bin/mailsluice"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(at("usr/bin/mailsluice"), PermissionsExt::from_mode(0o755)).unwrap();
    root
}

#[test]
fn the_units_are_well_formed_and_confined() {
    let root = root();
    let option = format!("--root={}", root.path().display());
    clean("systemd-analyze", &["verify", &option, "mailsluice.service", "mailsluice.socket"]);
    let service = shipped("mailsluice.service");
    clean("systemd-analyze", &["security", "--offline=true", "--threshold=15", service.to_str().unwrap()]);
    // Each would break something that no program of systemd knows of.
    let lines = std::fs::read_to_string(service).unwrap();
    for unbearable in ["PrivateUsers=", "DynamicUser=", "ProcSubset=", "PrivateNetwork=", "IPAddressDeny="] {
        assert!(!lines.lines().any(|line| line.starts_with(unbearable)), "{unbearable}");
    }
    // What no restart mends: a damaged queue, a wrong configuration. All else is tried again without end.
    assert!(lines.lines().any(|line| line == "RestartPreventExitStatus=65 78"), "{lines}");
    let socket = std::fs::read_to_string(shipped("mailsluice.socket")).unwrap();
    let listens: Vec<&str> = socket.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(listens, ["127.0.0.1:25", "[::1]:25", SUBMISSION_SOCKET]);
}

/// As root, since they give files away.
#[test]
fn the_user_and_the_folders_are_made() {
    let root = tempfile::tempdir().unwrap();
    let option = format!("--root={}", root.path().display());
    for folder in ["etc/mailsluice", "run", "var/lib"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let mut sysusers = Command::new("systemd-sysusers");
    let made = sysusers.arg(&option).arg(shipped("sysusers.d/mailsluice.conf")).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user: Vec<&str> =
        users.lines().find(|line| line.starts_with("mailsluice:")).unwrap().trim().split(':').collect();
    assert_eq!(user[5..], ["/var/lib/mailsluice", "/usr/sbin/nologin"]);
    clean("systemd-tmpfiles", &[&option, "--create", shipped("tmpfiles.d/mailsluice.conf").to_str().unwrap()]);
    for (folder, mode, owner) in
        [("run/mailsluice", 0o755, user[2]), ("var/lib/mailsluice", 0o700, user[2]), ("etc/mailsluice", 0o750, "0")]
    {
        let metadata = root.path().join(folder).metadata().unwrap();
        let found = (metadata.mode() & 0o7777, metadata.uid().to_string(), metadata.gid().to_string());
        assert_eq!(found, (mode, owner.to_owned(), user[3].to_owned()), "{folder}");
    }
}
