//! The notifier over a queue in time that the test sets, without anything that sends.

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
use mailsluice::schedule::attempt::Step;
use mailsluice::schedule::verdict::{Charge, Outcome};
use mailsluice::smtp::{Envelope, ReversePath};
use mailsluice::time::{Clock, ManualClock, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::TempQueue;
use super::relay::Arrived;
use crate::queue_contract::heard;

/// How often these tests look before they give up.
const LOOKS: usize = 1200;
const HOUR: Duration = Duration::from_secs(3600);

/// A queue in time that the test sets, and the notifier over it.
pub(crate) struct Desk {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) queue: TempQueue,
    pub(crate) observer: Arc<Observer>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) config: watch::Sender<Arc<Config>>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Desk {
    pub(crate) fn new() -> Self {
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
    pub(crate) async fn notify(&self) -> JoinHandle<()> {
        let (queue, intake) = (self.queue.queue.clone(), Arc::clone(&self.intake));
        let notifier = Notifier::new(queue, Arc::clone(&self.observer), intake, self.config.subscribe()).await.unwrap();
        tokio::spawn(notifier.run(self.stop.subscribe()))
    }

    /// A message of the shop's waits.
    pub(crate) async fn accept(&self) {
        let head = b"Subject: hello\r\n\r\nx\r\n".to_vec();
        let submission = Submission {
            id: self.intake.next_id(),
            client: "shop".into(),
            priority: Priority::Normal,
            user: None,
            trace: Trace {
                origin: mailsluice::route::Origin::Ip([127, 0, 0, 1].into()),
                hostname: "relay.example".into(),
                helo: "shop".into(),
                protocol: "ESMTP",
            },
            envelope: Envelope {
                reverse_path: "shop@example.org".parse().map(ReversePath::Address).unwrap(),
                recipients: vec!["jane@example.org".parse().unwrap()],
            },
            aliased: vec![],
            size: head.len() as u64,
            head,
            chunks: 0,
        };
        self.intake.accept(submission).await.unwrap();
    }

    /// So many messages are refused for good.
    pub(crate) async fn fail(&self, count: usize) {
        let refusal = "550 5.1.1 No such user";
        for _ in 0..count {
            self.accept().await;
            attempt(&self.queue.queue, "shop", Priority::Normal, Outcome::Failed, refusal).await;
        }
    }

    /// The oldest alarm by mail leaves.
    pub(crate) async fn deliver_alarm(&self) {
        attempt(&self.queue.queue, "mailsluice", Priority::High, Outcome::Delivered, "250 2.0.0 OK").await;
    }

    /// The relay's own mail, once there is so much.
    pub(crate) async fn own_mail(&self, count: usize) -> Vec<Arrived> {
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
    pub(crate) async fn ring(&self) {
        self.observer.lane_resumed(&"office".into());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// How many messages are due.
    pub(crate) async fn due(&self) -> usize {
        let due = |store: &mut dyn QueueStore, _| Ok(store.due_reports(1000)?.len());
        self.queue.queue.write(Urgency::Work, due).await.unwrap()
    }

    /// Until what fails is collected, and the queue knows until when.
    pub(crate) async fn wait_until_collecting(&self) {
        for _ in 0..LOOKS {
            let kept = |store: &mut dyn QueueStore, _| store.kept("reports");
            let kept = self.queue.queue.write(Urgency::Work, kept).await.unwrap();
            if kept.is_some_and(|text| !text.contains(r#""until":null"#)) {
                return;
            }
            self.ring().await;
        }
        panic!("nothing is collected");
    }

    pub(crate) async fn wait_until_due(&self, count: usize) {
        for _ in 0..LOOKS {
            if self.due().await == count {
                return;
            }
            self.ring().await;
        }
        panic!("{} are due, not {count}", self.due().await);
    }
}

/// One attempt at the oldest message of this client and class.
async fn attempt(queue: &Queue, client: &'static str, priority: Priority, outcome: Outcome, reply: &'static str) {
    let work = move |store: &mut dyn QueueStore, now| {
        let request = ClaimRequest {
            account: &"office".into(),
            login: &LoginKey("office".into()),
            caps: &Caps { windows: vec![], connections: 9, recipients_per_message: 9, message_size: 1 << 20 },
            route: &"default".into(),
            client: &client.into(),
            priority,
            share: None,
            lease: HOUR,
        };
        let claim = store.claim(&request, now)?.expect("something to claim");
        let settlement = Settlement {
            outcomes: vec![(outcome.clone(), reply.into())],
            charge: Charge::Refunded,
            doubt: None,
            wakes_doubted: false,
            host: "smtp.example.net".into(),
            wall: now,
            heard: vec![heard(Step::Rcpt, reply, vec![0])],
        };
        store.settle(&claim, &settlement, now).map(|_| ())
    };
    queue.write(Urgency::Work, work).await.unwrap();
}
