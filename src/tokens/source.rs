//! The access tokens of one account.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::spawn_blocking;

use super::assertion::{self, Shown};
use super::descent::{self, Descent};
use super::file::{self, Stored};
use super::fingerprint::Fingerprint;
use super::request::{self, Denied, Granted, denied};
use super::{Around, locked};
use crate::config::OAuth;
use crate::ids::AccountName;
use crate::provider::refusal::naming;
use crate::schedule::attempt::{Trouble, TroubleKind};
use crate::time::{Timestamp, wall_clock};

/// The access tokens of one account: fetched once for all of its connections.
pub struct Source {
    around: Arc<Around>,
    account: AccountName,
    oauth: OAuth,
    state: Mutex<State>,
    lasting: Arc<Lasting>,
}

/// What the sources of an account have in common where its settings change: one may still be at it when the next one begins.
#[derive(Default)]
struct Lasting {
    /// Held by who fetches.
    flight: tokio::sync::Mutex<()>,
    /// A refresh token that could not be written down yet.
    unwritten: Mutex<Option<Stored>>,
    /// Whether a person has been told that no token comes.
    alarmed: AtomicBool,
}

/// An access token.
#[derive(Clone)]
pub struct Token {
    /// What is shown to the smarthost.
    pub secret: SecretString,
    /// When it came, in scheduling time.
    pub fetched: Timestamp,
    /// How long it is good for.
    lives: Duration,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failed: Option<Failed>,
    /// The files of its secrets, as they were before they were last read.
    read: Option<Fingerprint>,
}

/// The last fetch failed.
struct Failed {
    denied: Denied,
    at: Timestamp,
    /// So many in a row.
    times: u32,
}

/// What a caller can have without asking anybody.
enum AtHand {
    /// A token that serves.
    Token(Token),
    /// One that serves, and a new one is due.
    Ageing(Token),
    /// What the identity provider said a moment ago.
    Denied(Trouble),
    /// Nothing.
    Nothing,
}

impl Source {
    pub(super) fn new(around: Arc<Around>, account: AccountName, oauth: OAuth) -> Self {
        Self { around, account, oauth, state: Mutex::default(), lasting: Arc::default() }
    }

    /// The account's source under other settings.
    pub(super) fn under(&self, oauth: OAuth) -> Self {
        let lasting = Arc::clone(&self.lasting);
        Self { lasting, ..Self::new(Arc::clone(&self.around), self.account.clone(), oauth) }
    }

    /// The account is gone, or has no tokens any more: whether none came is nobody's trouble now.
    pub(super) fn end(&self) {
        if self.lasting.alarmed.swap(false, Relaxed) {
            self.around.observer.alarm_ended("token", self.account.as_str());
        }
    }

    /// Whether these are its settings.
    pub(super) fn has(&self, oauth: &OAuth) -> bool {
        self.oauth == *oauth
    }

    pub(super) fn settings(&self) -> &OAuth {
        &self.oauth
    }

    /// A token that serves: the one at hand, or a fresh one. Who asks while one is fetched waits for that; who asks just
    /// after a refusal hears the same one.
    ///
    /// # Errors
    /// At [`Step::Token`](crate::schedule::attempt::Step::Token), with what to do.
    pub async fn token(self: &Arc<Self>) -> Result<Token, Trouble> {
        match self.at_hand() {
            AtHand::Token(token) => Ok(token),
            AtHand::Ageing(token) => {
                let source = Arc::clone(self);
                tokio::spawn(async move { source.renew().await });
                Ok(token)
            }
            AtHand::Denied(trouble) => Err(trouble),
            AtHand::Nothing => {
                // As a task of its own: a refresh token that is being replaced must not be lost with who waits for it.
                let source = Arc::clone(self);
                let fetching = tokio::spawn(async move { source.fetch().await });
                fetching.await.unwrap_or_else(|broken| {
                    Err(denied(TroubleKind::Local, format!("no token could be fetched: {broken}")).trouble)
                })
            }
        }
    }

    /// Takes no more account of this token: the smarthost has refused it.
    pub fn forget(&self, token: &Token) {
        let mut state = locked(&self.state);
        if state.token.as_ref().is_some_and(|held| held.secret.expose_secret() == token.secret.expose_secret()) {
            state.token = None;
        }
    }

    /// Asks anew at the next opportunity: something was mended.
    pub(super) fn begin_anew(&self) {
        self.forgive();
        let mut state = locked(&self.state);
        state.token = None;
        state.read = Some(Fingerprint::of_oauth(&self.oauth));
    }

    /// Remembers what the files of its secrets are, just before they are read.
    pub(super) fn reading(&self) {
        locked(&self.state).read = Some(Fingerprint::of_oauth(&self.oauth));
    }

    /// Lets the next who needs a token ask again, whatever was said the last time: a person wants it so.
    pub(super) fn forgive(&self) {
        if let Some(failed) = &mut locked(&self.state).failed {
            (failed.at, failed.denied.retry_after) = (Timestamp::EPOCH, None);
        }
    }

    /// Whether the last fetch failed.
    pub(super) fn is_failing(&self) -> bool {
        locked(&self.state).failed.is_some()
    }

    /// Whether the files of its secrets are others than when they were last read.
    pub(super) fn has_changed_secrets(&self) -> bool {
        let now = Fingerprint::of_oauth(&self.oauth);
        locked(&self.state).read.as_ref().is_some_and(|read| *read != now)
    }

    /// Fetches where that is due. How long until it is due again.
    pub(super) async fn tend(self: &Arc<Self>) -> Duration {
        if self.due_in().is_zero() {
            match self.at_hand() {
                AtHand::Nothing => drop(self.token().await),
                AtHand::Token(_) | AtHand::Ageing(_) | AtHand::Denied(_) => {
                    let source = Arc::clone(self);
                    // What came of it is in the state.
                    let _ = tokio::spawn(async move { source.renew().await }).await;
                }
            }
        }
        self.due_in().max(SOON)
    }

    /// Waits until nothing is fetched: a refresh token that is being replaced is lost with the process.
    pub(super) async fn at_rest(&self) {
        drop(self.lasting.flight.lock().await);
    }

    /// Takes in what a login by device code has brought.
    pub(super) async fn logged_in(&self, granted: Granted) -> Result<(), String> {
        let _flight = self.lasting.flight.lock().await;
        let Some(refresh) = granted.refresh.clone() else {
            return Err("the identity provider gave no refresh token: scope must hold offline_access".into());
        };
        let stored =
            Stored { refresh, client_id: self.oauth.client_id.clone(), seed: descent::mark(&self.oauth).await };
        self.write_down(stored).await?;
        self.take_in(granted);
        Ok(())
    }

    fn at_hand(&self) -> AtHand {
        let now = self.around.clock.now();
        let state = locked(&self.state);
        match (&state.token, &state.failed) {
            (Some(token), failed) if token.serves(now) => {
                let waits = failed.as_ref().is_some_and(|failed| now < failed.renewal_at());
                if token.is_ageing(now) && !waits {
                    AtHand::Ageing(token.clone())
                } else {
                    AtHand::Token(token.clone())
                }
            }
            (_, Some(failed)) if now < failed.again_at() => AtHand::Denied(failed.denied.trouble.clone()),
            _ => AtHand::Nothing,
        }
    }

    fn due_in(&self) -> Duration {
        let now = self.around.clock.now();
        let state = locked(&self.state);
        let retry = state.failed.as_ref().map_or(Timestamp::EPOCH, Failed::renewal_at);
        let age = state.token.as_ref().map_or(Timestamp::EPOCH, Token::ages_at);
        retry.max(age).since(now)
    }

    /// A fresh token; the one at hand where another has just fetched it.
    async fn fetch(&self) -> Result<Token, Trouble> {
        let _flight = self.lasting.flight.lock().await;
        match self.at_hand() {
            AtHand::Token(token) | AtHand::Ageing(token) => Ok(token),
            AtHand::Denied(trouble) => Err(trouble),
            AtHand::Nothing => self.ask().await,
        }
    }

    /// A fresh token in place of one that still serves, unless somebody is at it.
    async fn renew(&self) {
        let Ok(_flight) = self.lasting.flight.try_lock() else { return };
        if matches!(self.at_hand(), AtHand::Ageing(_)) {
            let _ = self.ask().await;
        }
    }

    /// Asks the identity provider, whatever is at hand. By who holds the flight.
    async fn ask(&self) -> Result<Token, Trouble> {
        let (granted, descent) = self.request().await.map_err(|denied| self.take_blow(denied))?;
        if let Some(stored) = descent.replaced_by(&granted) {
            // The token serves all the same, and the refresh token from memory.
            if let Err(why) = self.write_down(stored).await {
                self.around.observer.alarm("token", &why);
            }
        }
        Ok(self.take_in(granted))
    }

    async fn request(&self) -> Result<(Granted, Descent), Denied> {
        self.reading();
        let unwritten = locked(&self.lasting.unwritten).clone();
        let descent = descent::find(&self.oauth, &self.around.folder, &self.account, unwritten).await?;
        let proof = self.proof().await?;
        let web = self.around.web().map_err(|error| denied(TroubleKind::Local, error.to_string()))?;
        let refresh = match &descent {
            Descent::Application => None,
            Descent::User { stored, .. } => Some(&stored.refresh),
        };
        let granted = request::fetch(web, &self.oauth, &proof, refresh).await.map_err(|denied| {
            let detail = naming(&denied.trouble.detail, &self.account);
            Denied { trouble: Trouble { detail, ..denied.trouble }, ..denied }
        });
        match (granted, &descent) {
            (Err(Denied { trouble, retry_after }), Descent::User { .. })
                if trouble.kind == TroubleKind::TokenRefused =>
            {
                let detail =
                    format!("{}; to log in again, run `{}`", trouble.detail, descent::login_command(&self.account));
                Err(Denied { trouble: Trouble { detail, ..trouble }, retry_after })
            }
            (granted, _) => granted.map(|granted| (granted, descent)),
        }
    }

    /// The proof of who we are, read or made anew.
    pub(super) async fn proof(&self) -> Result<Shown, Denied> {
        let oauth = self.oauth.clone();
        let shown = spawn_blocking(move || assertion::show(&oauth, wall_clock())).await;
        shown
            .unwrap_or_else(|broken| Err(broken.to_string()))
            .map_err(|why| denied(TroubleKind::Local, format!("no token for account {}: {why}", self.account)))
    }

    /// Keeps a refresh token on disk, or in memory until that can be done.
    async fn write_down(&self, stored: Stored) -> Result<(), String> {
        let (folder, account, kept) = (self.around.folder.clone(), self.account.clone(), stored.clone());
        let written = spawn_blocking(move || file::write(&folder, &account, &kept)).await;
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(broken) => Some(broken.to_string()),
        };
        *locked(&self.lasting.unwritten) = failure.as_ref().map(|_| stored);
        let Some(why) = failure else { return Ok(()) };
        let path = self.around.folder.join(self.account.as_str());
        Err(format!("the refresh token of account {} cannot be stored in {}: {why}", self.account, path.display()))
    }

    /// Keeps the token that came; where a person was told that none comes, tells that one does.
    fn take_in(&self, granted: Granted) -> Token {
        let token = Token { secret: granted.access, fetched: self.around.clock.now(), lives: granted.lives };
        let mut state = locked(&self.state);
        state.token = Some(token.clone());
        state.failed = None;
        if self.lasting.alarmed.swap(false, Relaxed) {
            self.around.observer.token_works(&self.account);
        }
        token
    }

    /// Remembers that none came, and tells a person once.
    fn take_blow(&self, denied: Denied) -> Trouble {
        let now = self.around.clock.now();
        let mut state = locked(&self.state);
        let times = state.failed.as_ref().map_or(0, |failed| failed.times) + 1;
        let trouble = denied.trouble.clone();
        // While the old token serves, a single failure is none that a person can do anything about.
        let serves = state.token.as_ref().is_some_and(|token| token.serves(now));
        let tell = times > 1 || !serves || trouble.kind == TroubleKind::TokenRefused;
        if tell && !self.lasting.alarmed.swap(true, Relaxed) {
            let sentence = format!("account {} gets no token: {}", self.account, trouble.detail);
            self.around.observer.alarm_begun("token", self.account.as_str(), &sentence);
        }
        state.failed = Some(Failed { denied, at: now, times });
        trouble
    }
}

impl Token {
    /// Whether it can still be shown: not in its last moments, which may pass on the way.
    fn serves(&self, now: Timestamp) -> bool {
        now < self.fetched.after(self.lives - LAST_MOMENTS.min(self.lives / 10))
    }

    fn is_ageing(&self, now: Timestamp) -> bool {
        now >= self.ages_at()
    }

    /// When a new one is due: when a quarter of its life is left, or 5 minutes where that is more, but at most half.
    fn ages_at(&self) -> Timestamp {
        let margin = (self.lives / 4).max(LEAST_MARGIN).min(self.lives / 2);
        self.fetched.after(self.lives - margin)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(fetched {})", self.fetched)
    }
}

impl Failed {
    /// Until when callers hear the same again.
    fn again_at(&self) -> Timestamp {
        let moment = if self.denied.trouble.kind == TroubleKind::TokenRefused { REFUSED } else { BUSY };
        self.at.after(self.denied.retry_after.unwrap_or(moment))
    }

    /// When it is tried again where nobody asks: a refusal is as final as one of a login.
    fn renewal_at(&self) -> Timestamp {
        let last = BACK_OFF[BACK_OFF.len() - 1];
        let wait = match self.denied.trouble.kind {
            TroubleKind::TokenRefused => last,
            _ => BACK_OFF.get(self.times as usize - 1).copied().unwrap_or(last),
        };
        self.at.after(self.denied.retry_after.unwrap_or(wait))
    }
}

const LEAST_MARGIN: Duration = Duration::from_secs(5 * 60);
const LAST_MOMENTS: Duration = Duration::from_secs(30);
/// For so long a refusal is repeated to all who ask.
const REFUSED: Duration = Duration::from_secs(10);
/// And so long that the identity provider cannot be reached.
const BUSY: Duration = Duration::from_secs(1);
const BACK_OFF: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
/// The keeper never looks more often.
const SOON: Duration = Duration::from_millis(200);
