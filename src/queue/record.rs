//! What goes into the queue and what comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountName, ClientName, DeliveryId, LoginKey, MessageId, RouteName};
use crate::provider::Caps;
use crate::route::Priority;
use crate::schedule::plan::Flow;
use crate::schedule::verdict::{Charge, Doubt, Heard, Outcome};
use crate::smtp::{Address, Envelope, ReversePath};
use crate::time::Timestamp;

/// A message about to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its queue id.
    pub id: MessageId,
    /// Whose it is.
    pub client: ClientName,
    /// From which address it came.
    pub address: String,
    /// In which class.
    pub priority: Priority,
    /// From whom and to whom.
    pub envelope: Envelope,
    /// By which route.
    pub route: RouteName,
    /// Its `Message-ID:`.
    pub header_id: String,
    /// The wall clock when it was accepted.
    pub received: Timestamp,
    /// Octets of its whole content, with what intake added.
    pub size: u64,
    /// The beginning of its content: all of it, unless chunks were appended before.
    pub head: Vec<u8>,
    /// How many chunks were appended.
    pub chunks: u32,
}

/// A claim to be made: the oldest delivery of a flow, by an account.
#[derive(Clone, Debug)]
pub struct ClaimRequest<'a> {
    /// By which account.
    pub account: &'a AccountName,
    /// With which login.
    pub login: &'a LoginKey,
    /// Under which caps; looked at once more.
    pub caps: &'a Caps,
    /// The client's part of each cap at most, in percent; looked at once more too.
    pub share: Option<u32>,
    /// Of which route.
    pub route: &'a RouteName,
    /// Of whose mail.
    pub client: &'a ClientName,
    /// Of which class.
    pub priority: Priority,
    /// For how long the claim is ours unless it is renewed.
    pub lease: Duration,
}

/// One coming transaction, leased: a delivery, some of its recipients, one account.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// Distinguishes this lease from all others of the delivery.
    pub fence: i64,
    /// The charge on the ledger.
    pub charge: i64,
    /// By which account.
    pub account: AccountName,
    /// With which login.
    pub login: LoginKey,
    /// Of which route.
    pub route: RouteName,
    /// Of whose mail.
    pub client: ClientName,
    /// From whom.
    pub reverse_path: ReversePath,
    /// To whom, in this transaction.
    pub recipients: Vec<ClaimedRecipient>,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// How long it has waited, without the time in which no account could send.
    pub age: Duration,
    /// Octets of the stored content.
    pub size: u64,
    /// How often the delivery has been tried before.
    pub attempts: u32,
    /// An unlisted refusal that was not believed.
    pub doubt: Option<Doubt>,
}

/// A recipient of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRecipient {
    /// Its number within the delivery.
    pub number: u32,
    /// Its address.
    pub address: Address,
    /// How often it has been tried.
    pub tried: u32,
}

/// What is written after an attempt.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// For each recipient of the claim, in its order: what becomes of it and what was said.
    pub outcomes: Vec<(Outcome, String)>,
    /// Whether the charge stays.
    pub charge: Charge,
    /// What the delivery is doubted for from now on.
    pub doubt: Option<Doubt>,
    /// Deliveries that were put off in doubt may be tried at once: the lane has delivered this one.
    pub wakes_doubted: bool,
    /// What belongs to the message's history.
    pub heard: Vec<Heard>,
    /// The host that was tried, for the history.
    pub host: String,
    /// What the wall clock shows, for the history.
    pub wall: Timestamp,
}

/// Whether a settlement was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// It was; what is left of the delivery.
    Written {
        /// Recipients that still wait.
        waiting: u32,
        /// Attempts so far, with this one.
        attempts: u32,
    },
    /// The lease was not ours any more; nothing was written but the end of the charge.
    Superseded,
}

/// What the scheduler may see.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Mail that may go now.
    pub flows: Vec<Flow>,
    /// When the next delivery that was put off is due.
    pub next_due: Option<Timestamp>,
}

/// A lease whose holder died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaimed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// Whose mail.
    pub client: ClientName,
    /// By which account it was claimed.
    pub account: AccountName,
    /// The recipients that were in the transaction.
    pub recipients: Vec<Address>,
}

/// What an operator does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Try now what waits, and once more what has failed.
    Retry,
    /// Do not try until released.
    Hold,
    /// Undo hold.
    Release,
    /// Give up what has not been delivered, and forget the content.
    Delete,
    /// What was uncertain was delivered.
    SettleDelivered,
    /// What was uncertain was not delivered, and is not to be.
    SettleFailed,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operated {
    /// It was done to so many recipients.
    Done {
        /// Whose message.
        client: ClientName,
        /// Who was concerned.
        recipients: Vec<Address>,
    },
    /// There is no such message.
    Unknown,
    /// The message is in a transaction right now.
    Busy,
    /// There is nothing that the operation could be done to; says why.
    Nothing(String),
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// To be tried, or tried again.
    Waiting,
    /// Not to be tried until released.
    Held,
    /// In a transaction right now.
    Sending,
    /// Perhaps delivered; a person decides.
    Uncertain,
    /// Accepted by the provider.
    Delivered,
    /// Failed for good.
    Failed,
    /// Put off until it was too old.
    Expired,
    /// Given up by an operator.
    Deleted,
}

impl Fate {
    /// The word that lists use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Sending => "sending",
            Self::Uncertain => "uncertain",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }
}

/// A message in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its queue id.
    pub queue_id: MessageId,
    /// Where it stands: the least settled of its recipients' fates.
    pub fate: Fate,
    /// Whose it is.
    pub client: ClientName,
    /// In which class.
    pub priority: Priority,
    /// From whom.
    pub from: ReversePath,
    /// The first recipient.
    pub to: String,
    /// How many recipients it has.
    pub recipients: u32,
    /// Octets.
    pub size: u64,
    /// Seconds since it was accepted.
    pub age_seconds: u64,
    /// Seconds until it is tried next, where it was put off.
    pub next_attempt_in: Option<u64>,
    /// How often it was tried.
    pub attempts: u32,
    /// What was said last.
    pub last_reply: Option<String>,
}

/// Everything about a message but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// As the list has it.
    #[serde(flatten)]
    pub listed: Listed,
    /// From which address it came.
    pub address: String,
    /// Its `Message-ID:`.
    pub message_id: String,
    /// The wall clock when it was accepted.
    pub received: String,
    /// By which route.
    pub route: RouteName,
    /// Each recipient.
    pub each: Vec<ShownRecipient>,
    /// What was said in each attempt, the first first.
    pub history: Vec<ShownAttempt>,
    /// Where it waits and no account takes mail: why. Filled in by who knows the accounts.
    #[serde(default)]
    pub waits_for: Vec<WaitsFor>,
}

/// A recipient of a shown message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRecipient {
    /// Its address.
    pub address: String,
    /// Where it stands.
    pub fate: Fate,
    /// How often it was tried.
    pub attempts: u32,
    /// What was said last.
    pub reply: Option<String>,
}

/// Something that was said in an attempt at a shown message, and perhaps again in those that followed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownAttempt {
    /// The wall clock when it was last said.
    pub time: String,
    /// Seconds from then to now.
    pub ago_seconds: u64,
    /// How many attempts in a row ended with it.
    pub times: u32,
    /// The wall clock when it was first said.
    pub first: String,
    /// By which account.
    pub account: AccountName,
    /// At which host.
    pub host: String,
    /// To which step; none where our own settings kept the message, or an older version did not write it down.
    pub step: Option<String>,
    /// What it means, in a sentence.
    pub sentence: String,
    /// The reply, or the trouble where none came.
    pub reply: String,
    /// How many recipients it was about; zero where an older version did not write it down.
    pub recipients: u32,
    /// The first few of them.
    pub to: Vec<String>,
}

/// An account that does not take mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// Which.
    pub account: AccountName,
    /// `resting` or `paused`.
    pub standing: String,
    /// Why.
    pub cause: String,
    /// Seconds until a message tries; none where an operator has to open it.
    pub next_probe_in: Option<u64>,
}

/// Which messages a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Those after this one.
    pub after: Option<MessageId>,
    /// At most so many.
    pub limit: u32,
    /// Those that stand like this; none: all that are not done.
    pub fate: Option<Fate>,
}

/// A message that has failed, and of which nobody has been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueReport {
    /// The message.
    pub message: MessageId,
    /// When the first of its recipients failed.
    pub failed: Timestamp,
}

/// How much is in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Deliveries that may go now.
    pub ready: u64,
    /// Deliveries that were put off.
    pub deferred: u64,
    /// Deliveries in a transaction.
    pub sending: u64,
    /// Deliveries on hold.
    pub held: u64,
    /// Deliveries of which a person must say whether they were delivered.
    pub uncertain: u64,
    /// Deliveries that failed for good and are still kept.
    pub failed: u64,
    /// Deliveries that ended within the time that history is kept.
    pub done: u64,
    /// Octets of mail that is kept.
    pub live_bytes: u64,
    /// How old the oldest message is that waits, in seconds; what is on hold does not count.
    pub oldest_seconds: Option<u64>,
}
