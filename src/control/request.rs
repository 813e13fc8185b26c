//! What a command asks of the daemon, and the answers.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountName, ClientName, MessageId};
use crate::observe::metrics::Counts;
use crate::queue::record::{ListRequest, Listed, Operated, Operation, Shown, Stats};
use crate::schedule::trial::Trial;
use crate::smtp::Address;
use crate::tokens::{Invitation, LoginProgress};

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A page of the list.
    List(ListRequest),
    /// Everything about a message.
    Show(MessageId),
    /// Something is to be done to a message.
    Operate {
        /// Which.
        id: MessageId,
        /// What.
        operation: Operation,
    },
    /// Everything that was put off is to be tried now.
    RetryAll,
    /// How much there is.
    Stats,
    /// How the accounts stand.
    Accounts,
    /// An account's lane is to be opened, and what was put off tried now.
    Resume(AccountName),
    /// An account's lane is to be closed.
    Pause(AccountName),
    /// An account is to be tried out, without a message.
    Test(AccountName),
    /// A test mail is to be queued.
    TestMail {
        /// From whom; none: the first account's own address.
        from: Option<Address>,
        /// To whom.
        to: Address,
    },
    /// The configuration is to be read again.
    Reload,
    /// Whether the daemon does what it is there for.
    Health,
    /// A user wants to log in to an account.
    Login(AccountName),
    /// How far that login is.
    LoginOutcome(AccountName),
}

impl Request {
    /// Whether the queue is another one afterwards.
    pub fn changes(&self) -> bool {
        match self {
            Self::List(_)
            | Self::Show(_)
            | Self::Stats
            | Self::Accounts
            | Self::Test(_)
            | Self::Reload
            | Self::Health => false,
            Self::Operate { .. }
            | Self::RetryAll
            | Self::Resume(_)
            | Self::Pause(_)
            | Self::Login(_)
            | Self::LoginOutcome(_)
            | Self::TestMail { .. } => true,
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A page of the list.
    Listed(Vec<Listed>),
    /// Everything about a message; none where there is no such message.
    Shown(Option<Box<Shown>>),
    /// What came of an operation.
    Operated(Operated),
    /// So many deliveries are to be tried now.
    Hastened(u64),
    /// How much there is.
    Stats {
        /// In the queue.
        queue: Stats,
        /// Since the daemon's start; none without a daemon.
        since_start: Option<Counts>,
    },
    /// How the accounts stand.
    Accounts(Vec<AccountStanding>),
    /// What came of a trial.
    Tested(Box<Trial>),
    /// The message is on disk, with this queue id.
    Queued(MessageId),
    /// The configuration was read again; how that went, in a sentence.
    Reloaded(String),
    /// Whether the daemon does what it is there for.
    Health {
        /// Where clients can connect.
        listening: Vec<String>,
        /// What does not work, each a sentence; nothing where all does.
        trouble: Vec<String>,
    },
    /// What the user needs to log in.
    Invited(Invitation),
    /// How far a login is.
    LoginIs(LoginProgress),
    /// It was not done; says why and what to do.
    Refused(String),
}

/// How an account stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountStanding {
    /// Its name.
    pub account: AccountName,
    /// Its preset.
    pub provider: String,
    /// Where its mail goes.
    pub host: String,
    /// How it logs in: `OAuth` or `password`, by the last login; none where it needs none.
    #[serde(default)]
    pub login: Option<String>,
    /// `open`, `resting` or `paused`.
    pub standing: String,
    /// Why it is not open.
    pub cause: Option<String>,
    /// What the provider said.
    pub reply: Option<String>,
    /// Seconds since it stopped.
    pub stopped_seconds: Option<u64>,
    /// Seconds until it is probed.
    pub next_probe_in: Option<u64>,
    /// Transactions under way.
    pub sending: u32,
    /// At most so many at a time.
    pub connections: u32,
    /// Each of its caps.
    pub caps: Vec<CapStanding>,
    /// What is left of its pace, where the provider wanted less a moment ago.
    #[serde(default)]
    pub pace: Option<PaceStanding>,
    /// What clients with a share have used of it.
    #[serde(default)]
    pub shares: Vec<ShareStanding>,
    /// Seconds until the next message of normal priority may go, or a probe where the account is not open; zero: now; none:
    /// when one under way has ended, or an operator opens the account.
    pub next_slot_in: Option<f64>,
}

/// What is left of the pace of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaceStanding {
    /// The caps that are lower just now, as the configuration would write them.
    pub caps: Vec<String>,
    /// Connections at a time.
    pub connections: u32,
    /// Seconds until all of it is back.
    pub full_in: u64,
}

/// How a client stands with its part of an account's caps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareStanding {
    /// Whose.
    pub client: ClientName,
    /// Of each cap at most, in percent.
    pub percent: u32,
    /// Its part of each cap.
    pub caps: Vec<CapStanding>,
    /// Seconds until its part has room; zero: now; none: when one under way has ended.
    pub next_slot_in: Option<f64>,
}

/// How much of a cap is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapStanding {
    /// `messages` or `recipients`.
    pub counted: String,
    /// As the configuration writes it.
    pub cap: String,
    /// In the window that ends now.
    pub used: u64,
    /// Of it, for normal priority.
    pub left: u64,
}
