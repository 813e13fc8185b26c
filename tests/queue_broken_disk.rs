//! A disk that fails at a commit: no 250, the daemon ends with an error, and a restart has all that was acknowledged.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::daemon::{Daemon, Site};
use crate::support::eio::{BreakableDisk, Breaks};

/// The account's host answers nowhere, so that the mail stays in the queue.
const CONFIG: &str = r#"
[queue]
path = "SITE/queue.db"
min_free = "0B"
ephemeral = true

[[listener]]
address = "127.0.0.1:0"
hostname = "relay.example"

[[account]]
name = "nowhere"
provider = "smtp"
host = "127.0.0.1"
port = 9
tls = "none"
"#;

/// What a client that sends one message hears to the end of its connection; that may come at any time.
fn send(daemon: &Daemon, subject: &str) -> String {
    let mut heard = Vec::new();
    let mut converse = || {
        let mut stream = TcpStream::connect(daemon.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(
            stream,
            "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n\
             Subject: {subject}\r\n\r\ny\r\n.\r\nQUIT\r\n"
        )?;
        stream.read_to_end(&mut heard)
    };
    // A reset is an end like another here.
    let _ = converse();
    String::from_utf8_lossy(&heard).into_owned()
}

fn a_broken_disk_costs_no_acknowledged_message(breaks: Breaks) {
    let (site, disk) = (Site::new(CONFIG, ""), BreakableDisk::new(breaks));
    let daemon = site.serve_with(|command| disk.under(command));
    for number in 1..=3 {
        assert!(send(&daemon, &format!("{number}")).contains("250 2.0.0 Ok: queued as "));
    }
    disk.break_now();
    // The dispatcher commits too, and may meet the fault first: then the client finds nobody.
    let heard = send(&daemon, "lost");
    assert!(!heard.contains("queued as"), "{heard}");
    daemon.wait_for("the alarm", |line| line["kind"] == "queue_failed");
    assert_ne!(daemon.ended(), 0);
    let daemon = site.serve();
    let list = site.json(&["queue", "list", "--json"]);
    let waiting = list.as_array().unwrap().len();
    // What was refused may be there all the same: its pages may have reached the disk. What was acknowledged is.
    assert!((3..=4).contains(&waiting), "{list}");
    assert!(send(&daemon, "again").contains("queued as"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn no_message_is_acknowledged_where_the_log_cannot_be_synced() {
    a_broken_disk_costs_no_acknowledged_message(Breaks::Syncs);
}

#[test]
fn no_message_is_acknowledged_where_the_log_cannot_be_written() {
    a_broken_disk_costs_no_acknowledged_message(Breaks::WritesAndSyncs);
}
