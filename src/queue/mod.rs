//! What survives a crash: messages, deliveries, the ledger of what was sent, the standing of lanes.
//!
//! [`QueueStore`] is the contract, [`sqlite`] the store that keeps it, [`Queue`] the handle that the rest of the program
//! holds: it sends work to one writer thread, which shares a commit among all that waits, and answers only what is durable.

pub mod error;
mod handle;
pub mod record;
pub mod sqlite;

use std::time::Duration;

pub use error::{Full, OpenError, StoreError};
pub use handle::{Queue, Urgency};
use record::{
    Claim, ClaimRequest, DueReport, ListRequest, Listed, NewMessage, Operated, Operation, Reclaimed, Settled,
    Settlement, Shown, Stats, View,
};

use crate::ids::{AccountName, LoginKey, MessageId, RouteName};
use crate::route;
use crate::schedule::cap::Ledger;
use crate::schedule::lane::{CauseKind, Lane};
use crate::time::Timestamp;

/// A queue that survives a crash. The promises, each of them a test in `tests/queue_contract.rs`:
///
/// 1. All methods but [`begin`](Self::begin), [`commit`](Self::commit) and [`roll_back`](Self::roll_back) are called
///    between `begin` and `commit`. What they did is durable once `commit` has returned, and not at all after
///    `roll_back`, a failed commit, or a crash before it.
/// 2. A message is stored whole, with all its recipients, or not at all. Chunks without a message are swept at opening.
/// 3. A delivery is claimed by one claim at a time, whose fence no other claim of it shares. A settlement with another
///    fence writes nothing but the end of its charge.
/// 4. A claim is made only where the caps, and the client's part of them, leave room for it, and charges the ledger in the
///    same transaction. Ledgers are kept by login, not by account. A charge is open until it is settled; what a crash left
///    open ends at the next opening.
/// 5. Every recipient has one fate. Its delivery waits while one of its recipients does.
/// 6. The content of a message is kept until each recipient is delivered or deleted; its history for 30 days more.
/// 7. The time passed to a method is taken as it is. Ages leave out the time in which a route was stopped, and the time
///    between the last commit and the next opening.
/// 8. A message of which a settlement has let a recipient fail is due for a report, once nothing of it is open any more, until
///    it is [`reported`](Self::reported) or an operator tries it again. What an operator lets fail is not.
/// 9. [`StoreError::Full`] leaves everything as it was before `begin`; [`StoreError::Failed`] and [`StoreError::Damaged`] mean
///    that nothing more is promised until the store is opened anew.
pub trait QueueStore: Send {
    /// Begins a transaction.
    ///
    /// # Errors
    /// Where the store has failed.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes durable what was done since `begin`.
    ///
    /// # Errors
    /// [`StoreError::Full`] where there is no room, [`StoreError::Failed`] where the store broke.
    fn commit(&mut self, now: Timestamp) -> Result<(), StoreError>;

    /// Undoes what was done since `begin`.
    ///
    /// # Errors
    /// Where the store has failed.
    fn roll_back(&mut self) -> Result<(), StoreError>;

    /// Moves what the log of the store holds to where it belongs, so that the room of the log can be used again. Called
    /// between transactions, where one found no room.
    ///
    /// # Errors
    /// Where the store has failed; a full disk is no error here.
    fn checkpoint(&mut self) -> Result<(), StoreError>;

    /// Frees what is kept aside for the time when the disk is full. Called between transactions; whether there was any.
    fn free_ballast(&mut self) -> bool;

    /// Nothing more will be asked of the store, because of this error. It leaves what its next opening must know.
    fn give_up(&mut self, error: &StoreError);

    /// Whether there is room for so many more octets of mail.
    ///
    /// # Errors
    /// [`StoreError::Full`] says what there is no room in.
    fn room_for(&self, octets: u64) -> Result<(), StoreError>;

    /// Stores a part of the content of a message that is still on its way, numbered from 1.
    ///
    /// # Errors
    /// As for the transaction.
    fn append(&mut self, message: MessageId, number: u32, chunk: &[u8]) -> Result<(), StoreError>;

    /// Forgets the chunks of a message that never came to its end.
    ///
    /// # Errors
    /// As for the transaction.
    fn abandon(&mut self, message: MessageId) -> Result<(), StoreError>;

    /// Stores a message and makes it ready to go.
    ///
    /// # Errors
    /// As for the transaction.
    fn enqueue(&mut self, message: &NewMessage, now: Timestamp) -> Result<(), StoreError>;

    /// What the scheduler may see: of each flow the `heads` oldest deliveries. Makes ready what is due.
    ///
    /// # Errors
    /// As for the transaction.
    fn view(&mut self, heads: u32, now: Timestamp) -> Result<View, StoreError>;

    /// What was sent with a login; none where nothing was.
    fn ledger(&self, login: &LoginKey) -> Option<&Ledger>;

    /// Claims the oldest delivery of a flow; none where there is none, or the caps or the client's part of them leave no
    /// room.
    ///
    /// # Errors
    /// As for the transaction.
    fn claim(&mut self, request: &ClaimRequest<'_>, now: Timestamp) -> Result<Option<Claim>, StoreError>;

    /// The whole content of a message that is kept in one piece, to have a small one with its claim. None where it is not, or
    /// cannot be read: [`QueueReader::content`] says why.
    fn content(&mut self, message: MessageId) -> Option<Vec<u8>>;

    /// Prolongs the lease of a claim; whether it was still ours.
    ///
    /// # Errors
    /// As for the transaction.
    fn renew(&mut self, claim: &Claim, lease: Duration, now: Timestamp) -> Result<bool, StoreError>;

    /// Writes what came of a claim.
    ///
    /// # Errors
    /// As for the transaction.
    fn settle(&mut self, claim: &Claim, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError>;

    /// Takes back the leases whose holders have died: all of them at opening (`everything`), else those that ran out.
    /// Their recipients become uncertain where `hold` says so of the account, else wait again.
    ///
    /// # Errors
    /// As for the transaction.
    fn reclaim(
        &mut self,
        everything: bool,
        hold: &dyn Fn(&AccountName) -> bool,
        now: Timestamp,
    ) -> Result<Vec<Reclaimed>, StoreError>;

    /// How a lane stands.
    ///
    /// # Errors
    /// As for the transaction.
    fn lane(&mut self, account: &AccountName) -> Result<Lane, StoreError>;

    /// Writes down how a lane stands.
    ///
    /// # Errors
    /// As for the transaction.
    fn set_lane(&mut self, account: &AccountName, lane: &Lane) -> Result<(), StoreError>;

    /// Stops or starts the clock by which the mail of a route ages.
    ///
    /// # Errors
    /// As for the transaction.
    fn run_clock(&mut self, route: &RouteName, runs: bool, now: Timestamp) -> Result<(), StoreError>;

    /// The routes that have a clock, whether the configuration still makes them or not.
    fn routes(&self) -> Vec<RouteName>;

    /// Makes ready what was put off, up to so many deliveries; how many there were.
    ///
    /// # Errors
    /// As for the transaction.
    fn hasten(&mut self, limit: u32, now: Timestamp) -> Result<u32, StoreError>;

    /// Does what an operator wants done to a message.
    ///
    /// # Errors
    /// As for the transaction.
    fn operate(&mut self, message: MessageId, operation: Operation, now: Timestamp) -> Result<Operated, StoreError>;

    /// Messages that are due for a report, up to so many, the first to fail first.
    ///
    /// # Errors
    /// As for the transaction.
    fn due_reports(&mut self, limit: u32) -> Result<Vec<DueReport>, StoreError>;

    /// These messages need no report any more.
    ///
    /// # Errors
    /// As for the transaction.
    fn reported(&mut self, messages: &[MessageId]) -> Result<(), StoreError>;

    /// What was kept under this name by [`keep`](Self::keep); none where nothing was.
    ///
    /// # Errors
    /// As for the transaction.
    fn kept(&mut self, name: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a text under a name, in place of the one before: what the rest of the program must know after a restart.
    ///
    /// # Errors
    /// As for the transaction.
    fn keep(&mut self, name: &str, text: &str) -> Result<(), StoreError>;

    /// Octets of mail that is kept.
    fn live_bytes(&self) -> u64;

    /// Octets free where the queue lies; none where that cannot be told.
    fn free_bytes(&self) -> Option<u64>;

    /// Forgets the history and the failed messages that are older than `keep`, and charges older than `ledger`; up to a
    /// thousand of each. How many rows went.
    ///
    /// # Errors
    /// As for the transaction.
    fn sweep(&mut self, keep: Duration, ledger: Duration, now: Timestamp) -> Result<u32, StoreError>;
}

/// Reads beside the writer, each call short.
pub trait QueueReader: Send {
    /// The stored content of a message; none where it is gone.
    ///
    /// # Errors
    /// Where the store has failed.
    fn content(&mut self, message: MessageId) -> Result<Option<Vec<u8>>, StoreError>;

    /// The beginning of the stored content, with its whole header block; none where it is gone.
    ///
    /// # Errors
    /// Where the store has failed.
    fn head(&mut self, message: MessageId) -> Result<Option<Vec<u8>>, StoreError>;

    /// A page of the list.
    ///
    /// # Errors
    /// Where the store has failed.
    fn list(&mut self, request: &ListRequest, now: Timestamp) -> Result<Vec<Listed>, StoreError>;

    /// Everything about a message but its content.
    ///
    /// # Errors
    /// Where the store has failed.
    fn show(&mut self, message: MessageId, now: Timestamp) -> Result<Option<Shown>, StoreError>;

    /// How much there is.
    ///
    /// # Errors
    /// Where the store has failed.
    fn stats(&mut self, now: Timestamp) -> Result<Stats, StoreError>;
}

/// Lets the clocks of all routes stand still while each account is stopped for a fault of its own, or by an operator: mail
/// does not age meanwhile. A brief rest is no fault. Every route has all accounts, so they stop together. To be called where
/// a lane has changed.
///
/// # Errors
/// Where the store has failed.
pub fn tend_clocks<'a>(
    store: &mut dyn QueueStore,
    accounts: impl Iterator<Item = &'a AccountName> + Clone,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut runs = false;
    for account in accounts.clone() {
        runs |= store.lane(account)?.stop().is_none_or(|stop| stop.cause.kind == CauseKind::Rate);
    }
    let mut routes = route::all(accounts);
    let gone = store.routes().into_iter().filter(|known| !routes.contains(known)).collect::<Vec<_>>();
    routes.extend(gone);
    routes.iter().try_for_each(|route| store.run_clock(route, runs, now))
}
