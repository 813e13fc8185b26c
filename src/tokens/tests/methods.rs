//! Which of its methods an account uses.

use super::*;
use crate::config::Method::{OAuth as Token, Password as Word};
use crate::config::{Login, Method, OAuth, Password, PasswordForm};

const FOREVER: Duration = Duration::from_secs(100_000);

struct Desk {
    clock: Arc<ManualClock>,
    observer: Arc<Observer>,
    logins: Logins,
    _folder: TempDir,
}

impl Desk {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let observer = Arc::new(Observer::default());
        let path = folder.path().join("queue.db");
        let logins = Logins::beside(&path, Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&observer));
        Self { clock, observer, logins, _folder: folder }
    }

    fn methods(&self, prefer: Method) -> Vec<Method> {
        self.logins.methods(&NAME.into(), &login(prefer))
    }

    fn failed(&self, method: Method, how: Failure) {
        self.logins.failed(&NAME.into(), method, how, "535 no".into());
    }

    fn opened(&self, prefer: Method, method: Method) {
        self.logins.opened(&NAME.into(), &login(prefer), method);
    }

    fn switches(&self) -> u64 {
        self.observer.counts().login_switches
    }
}

fn login(prefer: Method) -> Login {
    let secret = Secret::Env("NONE".into());
    let oauth = OAuth {
        client_id: "app".into(),
        proof: ClientProof::None,
        grant: Grant::Application,
        scope: String::new(),
        token_url: "http://127.0.0.1/token".into(),
        device_url: "http://127.0.0.1/devicecode".into(),
        expires: None,
    };
    Login {
        username: "tim".into(),
        password: Some(Password { secret, form: PasswordForm::AsItIs, expires: None }),
        oauth: Some(oauth),
        prefer,
        mechanisms: vec![],
    }
}

#[test]
fn a_password_that_nobody_takes_any_more_is_not_tried_again() {
    let desk = Desk::set();
    assert_eq!(desk.methods(Word), [Word, Token]);
    desk.failed(Word, Failure::ForGood);
    desk.opened(Word, Token);
    // Who had begun with the password meanwhile comes to the same, and says nothing more.
    desk.failed(Word, Failure::ForGood);
    desk.opened(Word, Token);
    desk.clock.advance(FOREVER);
    assert_eq!((desk.methods(Word), desk.switches()), (vec![Token], 1));
    desk.failed(Token, Failure::Perhaps);
    assert_eq!(desk.methods(Word), [Token]);
    desk.logins.forgive(&NAME.into());
    assert_eq!(desk.methods(Word), [Word, Token]);
}

#[test]
fn without_a_token_the_password_serves_for_a_quarter_of_an_hour() {
    let desk = Desk::set();
    desk.failed(Token, Failure::Perhaps);
    desk.opened(Token, Word);
    // Should passwords end meanwhile, the token is all there is.
    assert_eq!((desk.methods(Token), desk.switches()), (vec![Word, Token], 1));
    desk.clock.advance(Duration::from_secs(900));
    assert_eq!(desk.methods(Token), [Token, Word]);
    desk.failed(Token, Failure::Perhaps);
    desk.opened(Token, Word);
    assert_eq!(desk.switches(), 1, "it has been said");
    desk.clock.advance(Duration::from_secs(900));
    desk.opened(Token, Token);
    assert_eq!((desk.methods(Token), desk.switches()), (vec![Token, Word], 2));
}

#[test]
fn one_connection_alone_tries_a_method_again_that_has_failed() {
    let desk = Desk::set();
    desk.failed(Word, Failure::Perhaps);
    desk.opened(Word, Token);
    desk.clock.advance(Duration::from_secs(900));
    assert_eq!(desk.methods(Word), [Word, Token]);
    assert_eq!(desk.methods(Word), [Token, Word], "the others do not show a wrong password as well");
    desk.opened(Word, Word);
    assert_eq!(desk.methods(Word), [Word, Token]);
}

#[test]
fn where_both_fail_the_password_is_not_hammered() {
    let desk = Desk::set();
    desk.failed(Token, Failure::Perhaps);
    desk.failed(Word, Failure::Perhaps);
    assert_eq!(desk.methods(Token), [Token]);
    desk.clock.advance(Duration::from_secs(899));
    assert_eq!(desk.methods(Token), [Token]);
    desk.clock.advance(Duration::from_secs(1));
    assert_eq!(desk.methods(Token), [Token, Word]);
}

#[test]
fn what_there_is_but_one_of_is_always_tried() {
    let desk = Desk::set();
    let only = |change: fn(&mut Login)| {
        let mut login = login(Token);
        change(&mut login);
        desk.logins.methods(&NAME.into(), &login)
    };
    desk.failed(Token, Failure::Perhaps);
    desk.failed(Word, Failure::ForGood);
    assert_eq!(only(|login| login.oauth = None), [Word]);
    assert_eq!(only(|login| login.password = None), [Token]);
}
