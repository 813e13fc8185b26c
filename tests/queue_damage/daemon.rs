//! The same with the daemon and the commands: what they say, and their exit codes.

use std::collections::BTreeSet;

use super::PAGE;
use super::furnished::owners;
use crate::support::client::{Numbered, offer};
use crate::support::daemon::{Daemon, Site};
use crate::support::kept::{DELIVERED, KEPT, config, ids, told};

/// A site whose queue holds so many messages, with its daemon stopped, and their ids.
fn site_with(messages: u32) -> (Site, BTreeSet<String>) {
    let site = Site::new(&config(KEPT), "");
    std::fs::create_dir(site.path().join("out")).unwrap();
    let daemon = site.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(offer(daemon.address(), 2, (0..messages).map(Numbered)));
    assert_eq!(daemon.stop(), 0);
    let ids = ids(&site);
    assert_eq!(ids.len(), messages as usize);
    (site, ids)
}

/// Zeroes the first page of this kind that belongs to a tree; its number.
fn damage(site: &Site, name: &str, kind: &str) -> usize {
    let path = site.path().join("queue.db");
    let mut octets = std::fs::read(&path).unwrap();
    let owners = owners(&path, octets.len() / PAGE);
    let page = *owners.iter().find(|(_, owner)| owner.name == name && owner.kind == kind).unwrap().0;
    octets[(page - 1) * PAGE..page * PAGE].fill(0);
    std::fs::write(&path, octets).unwrap();
    page
}

fn delivered(daemon: &Daemon, count: usize) -> BTreeSet<String> {
    let lines = daemon.wait_for_count("deliveries", count, |line| line["event"] == "delivered");
    lines.iter().map(|line| line["queue_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_damaged_queue_is_told_at_the_start_and_recovered_by_the_command_it_names() {
    let (site, ids) = site_with(40);
    let mut octets = std::fs::read(site.path().join("queue.db")).unwrap();
    octets[..PAGE].fill(0);
    std::fs::write(site.path().join("queue.db"), &octets).unwrap();
    for command in [&["serve"][..], &["queue", "list"], &["queue", "retry", "--all"], &["account", "list"]] {
        let output = site.run(command);
        assert_eq!(output.status.code(), Some(65), "{command:?}: {}", told(&output));
        for wanted in ["the queue is damaged", "can be read: 40", "`mailsluice queue recover`", "Nothing was written"] {
            assert!(told(&output).contains(wanted), "{command:?} does not say {wanted:?}: {}", told(&output));
        }
    }
    let copy = site.path().join("copy");
    let output = site.run(&["queue", "backup", copy.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(65), "{}", told(&output));
    assert!(!copy.exists() && !site.path().join("copy.partial").exists());
    assert!(std::fs::read(site.path().join("queue.db")).unwrap() == octets);

    let output = site.run(&["queue", "recover"]);
    assert!(output.status.success() && told(&output).contains("40 messages that are not done"), "{}", told(&output));
    assert!(!told(&output).contains("lost"), "{}", told(&output));
    let output = site.run(&["queue", "recover"]);
    assert!(output.status.success() && told(&output).contains("nothing is damaged"), "{}", told(&output));
    site.configure(&config(DELIVERED));
    let daemon = site.serve();
    assert_eq!(delivered(&daemon, 40), ids);
    let output = site.run(&["queue", "recover"]);
    assert_eq!(output.status.code(), Some(75), "{}", told(&output));
    assert_eq!(daemon.stop(), 0);
}

/// Damage that no opening meets: the daemon stops at it, and the next start looks at everything, says it and stays down.
#[test]
fn damage_that_is_met_while_running_is_reported_by_the_next_start() {
    let (site, ids) = site_with(40);
    damage(&site, "message", "leaf");
    site.configure(&config(DELIVERED));
    let output = site.run(&["serve"]);
    assert_eq!(output.status.code(), Some(74), "a restart looks at it: {}", told(&output));
    assert!(told(&output).contains("mailsluice: the queue cannot be used any more, since its file is damaged"));
    assert!(site.path().join("queue.db-damaged").exists());
    let output = site.run(&["serve"]);
    assert_eq!(output.status.code(), Some(65));
    assert!(told(&output).contains("Of 40 messages that are not done and that it tells of, "), "{}", told(&output));

    let output = site.run(&["queue", "recover"]);
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    let lost: BTreeSet<String> = ids.iter().filter(|id| said.contains(&format!("  {id}  from"))).cloned().collect();
    assert!((1..10).contains(&lost.len()) && said.contains("to you@example.com: its content"), "{said}");
    let daemon = site.serve();
    let delivered = delivered(&daemon, 40 - lost.len());
    assert_eq!(daemon.stop(), 0);
    assert_eq!(delivered, ids.difference(&lost).cloned().collect());
}

/// One message alone is hit: the daemon goes on with the others, and somebody hears of it.
#[test]
fn a_message_that_cannot_be_read_is_alarmed_of() {
    let (site, _) = site_with(2);
    let database = rusqlite::Connection::open(site.path().join("queue.db")).unwrap();
    let one = "UPDATE message SET head = 5 WHERE id = (SELECT min(id) FROM message)";
    assert_eq!(database.execute(one, ()).unwrap(), 1);
    drop(database);
    site.configure(&config(DELIVERED));
    let daemon = site.serve();
    let alarm = daemon.wait_for("the alarm", |line| line["kind"] == "queue_damaged");
    assert!(alarm.to_string().contains("restart the daemon"), "{alarm}");
    assert_eq!(delivered(&daemon, 1).len(), 1);
    daemon.stop();
    assert!(site.path().join("queue.db-damaged").exists());
}

/// Recipients are gone, the content is there: a person gets it as a file.
#[test]
fn content_without_recipients_is_given_to_a_person() {
    let (site, ids) = site_with(5);
    damage(&site, "recipient", "leaf");
    let output = site.run(&["queue", "recover"]);
    let said = told(&output);
    assert!(output.status.success() && said.contains("0 messages that are not done"), "{said}");
    for id in ids {
        let line = said.lines().find(|line| line.contains(&format!("  {id}  from shop@example.org"))).expect(&said);
        let file = line.split("its content: ").nth(1).expect(line);
        let content = std::fs::read_to_string(file).unwrap();
        assert!(content.contains("To: you@example.com") && content.contains("Subject: Number "), "{content}");
    }
}
