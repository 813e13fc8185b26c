//! What has failed for good is reported, once, and together where it is much.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::config::Config;
use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::intake::{Intake, Submission, Trace};
use mailsluice::notify::Notifier;
use mailsluice::observe::Observer;
use mailsluice::provider::Caps;
use mailsluice::queue::record::{ClaimRequest, Settlement};
use mailsluice::queue::{Queue, QueueStore, Urgency};
use mailsluice::route::Priority;
use mailsluice::sandbox::{Fault, FaultRule};
use mailsluice::schedule::attempt::Step;
use mailsluice::schedule::verdict::{Charge, Outcome};
use mailsluice::smtp::{Envelope, ReversePath};
use mailsluice::time::{Clock, ManualClock, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::queue_contract::heard;
use crate::support::TempQueue;
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

/// How often these tests look before they give up.
const LOOKS: usize = 1200;
const HOUR: Duration = Duration::from_secs(3600);

/// A queue in time that the test sets, and the notifier over it.
struct Desk {
    clock: Arc<ManualClock>,
    queue: TempQueue,
    observer: Arc<Observer>,
    intake: Arc<Intake>,
    config: watch::Sender<Arc<Config>>,
    stop: watch::Sender<bool>,
}

impl Desk {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let queue = TempQueue::start(Arc::clone(&clock) as Arc<dyn Clock>);
        let text = "[reports]\nto = \"ops@example.com\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                    hostname = \"relay.example\"\n[[account]]\nname = \"office\"\nprovider = \"directory\"\n\
                    path = \"/nowhere\"\nfrom = \"webmaster@example.com\"\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let (config, current) = watch::channel(Arc::new(config));
        let observer = Arc::new(Observer::default());
        let intake = Intake::new(queue.queue.clone(), Arc::clone(&observer), current, Arc::default(), MessageId(0));
        Self { clock, queue, observer, intake: Arc::new(intake), config, stop: watch::Sender::new(false) }
    }

    /// Starts a notifier, as a process does.
    async fn notify(&self) -> JoinHandle<()> {
        let (queue, intake) = (self.queue.queue.clone(), Arc::clone(&self.intake));
        let notifier = Notifier::new(queue, Arc::clone(&self.observer), intake, self.config.subscribe()).await.unwrap();
        tokio::spawn(notifier.run(self.stop.subscribe()))
    }

    /// So many messages are refused for good.
    async fn fail(&self, count: usize) {
        for _ in 0..count {
            let head = b"Subject: hello\r\n\r\nx\r\n".to_vec();
            let submission = Submission {
                id: self.intake.next_id(),
                client: "shop".into(),
                priority: Priority::Normal,
                trace: Trace {
                    address: [127, 0, 0, 1].into(),
                    hostname: "relay.example".into(),
                    helo: "shop".into(),
                    protocol: "ESMTP",
                },
                envelope: Envelope {
                    reverse_path: "shop@example.org".parse().map(ReversePath::Address).unwrap(),
                    recipients: vec!["jane@example.org".parse().unwrap()],
                },
                size: head.len() as u64,
                head,
                chunks: 0,
            };
            self.intake.accept(submission).await.unwrap();
            refuse(&self.queue.queue).await;
        }
    }

    /// The relay's own mail, once there is so much.
    async fn own_mail(&self, count: usize) -> Vec<Arrived> {
        for _ in 0..LOOKS {
            let mail = self.queue.messages().await;
            let own = mail.iter().filter(|(one, _)| one.client.as_str() == "mailsluice");
            let own: Vec<Arrived> = own.map(|(_, content)| Arrived::of(content)).collect();
            if own.len() >= count {
                assert_eq!(own.len(), count);
                return own;
            }
            self.ring().await;
        }
        panic!("there is no mail number {count}");
    }

    /// Gives the notifier a reason to look, and a moment to do so.
    async fn ring(&self) {
        self.observer.lane_resumed(&"office".into());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// How many messages are due.
    async fn due(&self) -> usize {
        let due = |store: &mut dyn QueueStore, _| Ok(store.due_reports(1000)?.len());
        self.queue.queue.write(Urgency::Work, due).await.unwrap()
    }

    async fn wait_until_due(&self, count: usize) {
        for _ in 0..LOOKS {
            if self.due().await == count {
                return;
            }
            self.ring().await;
        }
        panic!("{} are due, not {count}", self.due().await);
    }
}

async fn refuse(queue: &Queue) {
    let work = |store: &mut dyn QueueStore, now| {
        let request = ClaimRequest {
            account: &"office".into(),
            login: &LoginKey("office".into()),
            caps: &Caps { windows: vec![], connections: 9, recipients_per_message: 9, message_size: 1 << 20 },
            route: &"default".into(),
            client: &"shop".into(),
            priority: Priority::Normal,
            lease: HOUR,
        };
        let claim = store.claim(&request, now)?.expect("something to claim");
        let settlement = Settlement {
            outcomes: vec![(Outcome::Failed, "550 5.1.1 No such user".into())],
            charge: Charge::Refunded,
            doubt: None,
            wakes_doubted: false,
            host: "smtp.example.net".into(),
            wall: now,
            heard: vec![heard(Step::Rcpt, "550 5.1.1 No such user", vec![0])],
        };
        store.settle(&claim, &settlement, now).map(|_| ())
    };
    queue.write(Urgency::Work, work).await.unwrap();
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
