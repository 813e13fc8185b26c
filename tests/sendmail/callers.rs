//! Real programs that call `/usr/sbin/sendmail`, `mail` and so on. In a mount namespace of its own each finds mailsluice in
//! sendmail's place and the relay's socket where it usually is; the machine keeps what it has.

use std::process::{Child, Command, Output, Stdio};

use super::{Local, code, fed, told};
use crate::support::daemon::Daemon;
use crate::support::mounts;

/// Puts the binary ($1) where sendmail is, and the folder of the relay's socket ($0) where that is.
const PLACE: &str = r#"
mount -t tmpfs none /run
mkdir -p /run/mailsluice /run/lock
mount --bind "$0" /run/mailsluice
mount --bind "$1" /usr/sbin/sendmail
shift
"#;

/// Has cron find one crontab alone: what stands behind its options is written into it.
const CRON: &str = r#"
mount -t tmpfs none /etc/cron.d
mount -t tmpfs none /var/spool/cron
mount --bind /dev/null /etc/crontab
mkdir -m 1730 /var/spool/cron/crontabs
printf '%s\n' "$1" > /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
shift
"#;

impl Local {
    /// A program in such a namespace, behind more preparations.
    fn inside(&self, prepare: &str, arguments: &[&str]) -> Command {
        let mut command = mounts::unshared();
        command.args(["--pid", "--fork", "--kill-child", "sh", "-ec", &format!("{PLACE}{prepare}exec \"$@\"")]);
        command.arg(self.site.path().join("run")).arg(env!("CARGO_BIN_EXE_mailsluice")).args(arguments);
        command.env_remove("MAILSLUICE_SOCKET").env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn caller(&self, arguments: &[&str], input: &str) -> Output {
        fed(self.inside("", arguments).spawn().unwrap(), input.as_bytes())
    }
}

/// Mailx turns them round.
fn sorted(to: &[String]) -> Vec<&str> {
    let mut to: Vec<&str> = to.iter().map(String::as_str).collect();
    to.sort_unstable();
    to
}

/// A program that does not end by itself; it is killed when the value goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay, and its daemon.
fn served() -> (Local, Daemon) {
    let local = Local::new("");
    let daemon = local.site.serve();
    (local, daemon)
}

fn fine(output: &Output) {
    assert_eq!((code(output), told(output)), (0, String::new()), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn phps_mail_delivers_and_knows_when_it_does_not() {
    let (local, daemon) = served();
    let script = r#"
        $headers = ["From" => "Shop <shop@shop.example>", "Cc" => "c@d.example", "Bcc" => "hidden@x.example", "X-Order" => "4711"];
        var_dump(mail("a@b.example, Jane <jane@x.example>", "Gruss", "one\n.\ntwo\n", $headers, "-fbounce@shop.example"));
    "#;
    let output = local.caller(&["php", "-r", script], "");
    fine(&output);
    assert_eq!(output.stdout, b"bool(true)\n");
    let arrived = &local.arrived(&daemon, 1)[0];
    assert_eq!(arrived.from, "bounce@shop.example");
    assert_eq!(arrived.to, ["a@b.example", "jane@x.example", "c@d.example", "hidden@x.example"]);
    assert_eq!((arrived.field("From"), arrived.field("X-Order")), ("Shop <shop@shop.example>", "4711"));
    assert_eq!((arrived.fields("Bcc").len(), &arrived.body[..]), (0, &b"one\r\n.\r\ntwo\r\n\r\n"[..]));

    daemon.stop();
    let output = local.caller(&["php", "-r", script], "");
    assert_eq!(output.stdout, b"bool(false)\n");
    assert!(told(&output).contains("sendmail: nobody answers at /run/mailsluice/submission"), "{}", told(&output));
}

#[test]
fn what_a_job_of_cron_prints_is_mailed() {
    let (local, daemon) = served();
    let crontab = "MAILTO=ops@x.example\n@reboot echo 'disk full'; echo .; echo 'and more'";
    let _cron = Running(local.inside(CRON, &[crontab, "cron", "-f"]).spawn().unwrap());
    let arrived = local.arrived(&daemon, 1).remove(0);
    assert_eq!((&*arrived.from, &arrived.to[..]), ("root@shop.example", &["ops@x.example".to_owned()][..]));
    assert_eq!(arrived.field("From"), "Cron Daemon <root@shop.example>");
    assert!(arrived.field("Subject").contains("disk full"), "{}", arrived.header);
    assert_eq!(arrived.body, b"disk full\r\n.\r\nand more\r\n");
}

#[test]
fn mailx_delivers() {
    let (local, daemon) = served();
    fine(&local.caller(
        &["mail", "-s", "A test", "-c", "c@d.example", "-b", "hidden@x.example", "root", "a@b.example"],
        "one\n\n.two\n",
    ));
    let arrived = &local.arrived(&daemon, 1)[0];
    assert_eq!(arrived.from, "root@shop.example");
    assert_eq!(sorted(&arrived.to), ["a@b.example", "c@d.example", "hidden@x.example", "root@shop.example"]);
    assert_eq!((arrived.field("Subject"), arrived.fields("Bcc").len()), ("A test", 0));
    assert!(arrived.field("From").ends_with("<root@shop.example>"), "{}", arrived.header);
    assert_eq!(arrived.body, b"one\r\n\r\n.two\r\n");
}

#[test]
fn mdadm_tells_of_an_array() {
    let (local, daemon) = served();
    let output = local.caller(&["mdadm", "--monitor", "--test", "--oneshot", "--mail", "root", "/dev/md127"], "");
    let arrived = local.arrived(&daemon, 1).remove(0);
    assert_eq!(arrived.to, ["root@shop.example"], "{}", told(&output));
    assert!(arrived.field("Subject").starts_with("TestMessage event on /dev/md127:"), "{}", arrived.header);
    assert!(String::from_utf8_lossy(&arrived.body).contains("/dev/md127"));
}

#[test]
fn smartd_warns_of_a_disk() {
    let (local, daemon) = served();
    let mut smartd = local.inside("", &["/usr/share/smartmontools/smartd_warning.sh"]);
    for (name, value) in [
        ("SMARTD_MAILER", ""),
        ("SMARTD_ADDRESS", "root ops@x.example"),
        ("SMARTD_MESSAGE", "Device: /dev/sda, FAILED SMART self-check. BACK UP DATA NOW!"),
        ("SMARTD_FAILTYPE", "Health"),
        ("SMARTD_TFIRST", ""),
        ("SMARTD_PREVCNT", "0"),
        ("SMARTD_NEXTDAYS", "1"),
        ("SMARTD_DEVICEINFO", "A disk, S/N:1"),
    ] {
        smartd.env(name, value);
    }
    fine(&fed(smartd.spawn().unwrap(), b""));
    let arrived = local.arrived(&daemon, 1).remove(0);
    assert_eq!(sorted(&arrived.to), ["ops@x.example", "root@shop.example"]);
    assert!(arrived.field("Subject").starts_with("SMART error (Health) detected on host: "), "{}", arrived.header);
    assert!(String::from_utf8_lossy(&arrived.body).contains("BACK UP DATA NOW!"));
}
