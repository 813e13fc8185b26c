//! What has failed for good is reported, once, and together where it is much.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::config::Config;
use mailsluice::sandbox::{Fault, FaultRule};

use crate::support::notifier::Desk;
use crate::support::relay::{Arrived, HEAD, Upstream, WITHOUT_RATES, mailbox, run, send};

/// Python's own parser takes the report apart.
const TAKE_APART: &str = r#"
import email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
words, status, header = message.iter_parts()
groups = [dict(group.items()) for group in status.get_payload()]
print(json.dumps({
    "type": message.get_content_type(), "report-type": message["content-type"].params["report-type"],
    "subject": message["subject"], "from": message["from"].addresses[0].addr_spec, "to": str(message["to"]),
    "types": [part.get_content_type() for part in (words, status, header)],
    "words": words.get_content(), "groups": groups, "header": header.get_payload(decode=True).decode(),
    "defects": [str(defect) for part in message.walk() for defect in part.defects],
}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_failed_is_reported_once_and_a_report_never() {
    // The report is to somebody whom the provider refuses too.
    let mut sandbox = mailbox();
    sandbox.fault = Some(FaultRule::from(Fault::RejectRecipient).containing("nobody"));
    let upstream = Upstream::start(sandbox, WITHOUT_RATES).await;
    let reports = "[reports]\nto = [\"ops@example.com\", \"nobody.at.all@example.com\"]\n";
    upstream.configure(&format!("{HEAD}{reports}"), WITHOUT_RATES);
    let daemon = upstream.site.serve();
    let relay = daemon.address();
    let automatic = b"Subject: automatic\r\nAuto-Submitted: auto-replied\r\n\r\nx\r\n";
    send(relay, "shop@example.org", &["nobody@example.com"], automatic);
    send(relay, "", &["nobody@example.com"], b"Subject: a bounce\r\n\r\nx\r\n");
    let failed = |line: &serde_json::Value| line["event"] == "failed";
    daemon.wait_for_count("failures", 2, failed);
    let message =
        "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nTo: jane@example.org\r\nX-Shop: Z\u{fc}rich\r\n\r\nA secret.\r\n";
    send(relay, "shop@example.org", &["jane@example.org", "nobody@example.com"], message.as_bytes());
    let third = daemon.wait_for_count("failures", 3, failed).remove(2);

    let report =
        upstream.wait_for(2).await.iter().map(|one| Arrived::new(one)).find(|one| one.to == ["ops@example.com"]);
    let report = report.expect("a report");
    assert_eq!((report.from.as_str(), report.field("Auto-Submitted")), ("webmaster@example.com", "auto-generated"));
    let content = upstream.sandbox.deliveries().iter().find_map(|one| {
        let found = one.envelope.recipients[0].as_str() == "ops@example.com";
        found.then(|| one.content.as_ref().unwrap().to_vec())
    });
    let mut python = Command::new("python3");
    python.args(["-c", TAKE_APART]);
    let told: serde_json::Value = serde_json::from_slice(&run("python3", python, &content.unwrap()).stdout).unwrap();
    assert_eq!(
        (&told["type"], &told["report-type"]),
        (&"multipart/report".into(), &"delivery-status".into()),
        "{told}"
    );
    assert_eq!(told["types"], serde_json::json!(["text/plain", "message/delivery-status", "text/rfc822-headers"]));
    assert_eq!((&told["subject"], &told["from"]), (&"Not delivered: Grüße".into(), &"webmaster@example.com".into()));
    let words = told["words"].as_str().unwrap();
    let retry = format!("mailsluice queue retry {}", third["queue_id"].as_str().unwrap());
    assert!(words.contains("nobody@example.com: refused") && words.contains(&retry), "{words}");
    let groups = told["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "jane has it: {told}");
    assert_eq!(groups[0]["Reporting-MTA"], "dns; relay.example");
    assert_eq!(groups[0]["X-Mailsluice-Queue-ID"], third["queue_id"]);
    assert_eq!(groups[1]["Final-Recipient"], "rfc822; nobody@example.com");
    assert_eq!((&groups[1]["Action"], &groups[1]["Status"]), (&"failed".into(), &"5.1.10".into()));
    assert_eq!(groups[1]["Diagnostic-Code"], format!("smtp; {}", third["reply"].as_str().unwrap()));
    let header = told["header"].as_str().unwrap();
    assert!(header.contains("X-Shop: Zürich") && !told.to_string().contains("A secret."), "{told}");
    assert_eq!(told["defects"], serde_json::json!([]));

    // The report failed for its second recipient. Of that, of the automatic mail and of the bounce nothing is told.
    let settled = daemon.wait_for_count("failures", 4, failed);
    assert_eq!(settled[3]["client"], "mailsluice");
    send(relay, "shop@example.org", &["nobody@example.com"], b"Subject: another\r\n\r\nx\r\n");
    let own = |line: &serde_json::Value| line["event"] == "accepted" && line["client"] == "mailsluice";
    daemon.wait_for_count("reports", 2, own);
    daemon.wait_for_count("failures", 6, failed);
    assert_eq!(daemon.log().into_iter().filter(own).count(), 2);
    assert_eq!(daemon.stop(), 0);
}

/// Damage that a reader meets is of one message. Its sender must hear of the failure just then, and all others too.
#[tokio::test]
async fn a_message_whose_content_is_damaged_is_reported_and_so_are_others() {
    let desk = Desk::new();
    desk.fail(1).await;
    let database = rusqlite::Connection::open(desk.queue.path()).unwrap();
    assert_eq!(database.execute("UPDATE message SET head = 5", ()).unwrap(), 1);
    let notifier = desk.notify().await;
    assert_eq!(desk.own_mail(1).await.len(), 1);
    desk.fail(1).await;
    assert_eq!(desk.own_mail(2).await.len(), 2);
    desk.stop.send_replace(true);
    notifier.await.unwrap();
}

#[tokio::test]
async fn of_many_failures_five_are_reported_alone_and_the_others_together() {
    let desk = Desk::new();
    let notifier = desk.notify().await;
    desk.fail(60).await;
    for report in desk.own_mail(5).await {
        assert_eq!(report.field("Subject"), "Not delivered: hello");
    }
    desk.wait_until_due(55).await;
    desk.wait_until_collecting().await;
    desk.clock.advance(Duration::from_secs(14 * 60));
    desk.fail(3).await;
    // A process that starts in the middle goes on with the same window.
    desk.stop.send_replace(true);
    notifier.await.unwrap();
    desk.stop.send_replace(false);
    let _notifier = desk.notify().await;
    desk.wait_until_due(58).await;
    assert_eq!(desk.own_mail(5).await.len(), 5);

    desk.clock.advance(Duration::from_secs(60));
    desk.wait_until_due(0).await;
    let mail = desk.own_mail(6).await;
    assert_eq!(mail[5].field("Subject"), "58 messages were not delivered");
    let text = String::from_utf8_lossy(&mail[5].body).into_owned();
    assert_eq!(text.matches("jane@example.org: 550 5.1.1 No such user").count(), 58, "{text}");
    assert_eq!(text.matches("from shop@example.org (shop)").count(), 58, "{text}");
}

/// A crash between the failure and its report loses nothing, and one after it doubles nothing.
#[tokio::test]
async fn a_report_is_neither_lost_nor_doubled() {
    let desk = Desk::new();
    // Nobody was there to tell when it failed.
    desk.fail(2).await;
    assert_eq!(desk.due().await, 2);
    for _ in 0..3 {
        let notifier = desk.notify().await;
        desk.own_mail(2).await;
        desk.wait_until_due(0).await;
        notifier.abort();
    }
    // Without anybody to tell, what fails is not told later either.
    let mut config = Config::clone(&desk.config.borrow());
    config.reports.to.clear();
    desk.config.send_replace(Arc::new(config.clone()));
    let notifier = desk.notify().await;
    desk.fail(1).await;
    desk.wait_until_due(0).await;
    notifier.abort();
    config.reports.to = vec!["ops@example.com".parse().unwrap()];
    desk.config.send_replace(Arc::new(config));
    let _notifier = desk.notify().await;
    desk.fail(1).await;
    desk.own_mail(3).await;
}
