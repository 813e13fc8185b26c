use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::secret::Secret;
use crate::config::{ClientProof, Destination, Grant, Password, PasswordForm, TlsMode};
use crate::deliver::peer::endpoint;
use crate::message::fields::FieldRule;
use crate::message::sender::{SenderMode, SenderRule};
use crate::observe::Observer;
use crate::provider::{Caps, Mechanism, Provider};
use crate::schedule::verdict::OnUncertain;
use crate::smtp::Reply;
use crate::time::{Clock, ManualClock, Timestamp};

/// A smarthost and an identity provider that say yes or no as they are told, and an account at both.
struct Scene {
    said: Arc<Mutex<Says>>,
    account: AccountConfig,
    logins: Logins,
    clock: Arc<ManualClock>,
    observer: Arc<Observer>,
    folder: TempDir,
}

/// What they say, and what they were asked.
struct Says {
    password: &'static str,
    token: &'static str,
    /// A token from before this one is refused.
    good: u32,
    /// Whether the identity provider gives tokens.
    gives: bool,
    tokens: u32,
    logins: Vec<&'static str>,
}

const YES: &str = "235 2.7.0 yes";
const NO: &str = "535 5.7.3 Authentication unsuccessful";
const ENDED: &str = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.";

impl Scene {
    async fn set(prefer: Method) -> Self {
        let says = Says { password: YES, token: YES, good: 0, gives: true, tokens: 0, logins: Vec::new() };
        let said = Arc::new(Mutex::new(says));
        let smarthost = listen(Arc::clone(&said), smarthost).await;
        let issuer = listen(Arc::clone(&said), issuer).await;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        put(&secret, "sesame");
        let account = account(prefer, smarthost, issuer, &secret);
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let observer = Arc::new(Observer::default());
        let database = folder.path().join("queue.db");
        let logins = Logins::beside(&database, Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&observer));
        Self { said, account, logins, clock, observer, folder }
    }

    fn say(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.said.lock().unwrap());
    }

    /// Opens the account, a while after the last time; by which logins it went.
    async fn opened(&self) -> (Result<(), Obstacle>, Vec<&'static str>) {
        self.clock.advance(Duration::from_secs(1));
        self.say(|says| says.logins.clear());
        let Destination::Smtp(endpoint) = &self.account.destination else { panic!() };
        let opened = Upstream::open(&self.account, endpoint, &self.logins, &Timeouts::default()).await;
        (opened.map(drop), self.said.lock().unwrap().logins.clone())
    }

    async fn opens_by(&self, logins: &[&str]) {
        let (opened, by) = self.opened().await;
        assert_eq!((opened, by), (Ok(()), logins.to_vec()));
    }

    fn switches(&self) -> u64 {
        self.observer.counts().login_switches
    }
}

fn put(path: &Path, secret: &str) {
    std::fs::write(path, secret).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn account(prefer: Method, smarthost: SocketAddr, issuer: SocketAddr, secret: &Path) -> AccountConfig {
    let secret = Secret::File(secret.to_owned());
    let oauth = OAuth {
        client_id: "app".into(),
        proof: ClientProof::Secret(secret.clone()),
        grant: Grant::Application,
        scope: "mail".into(),
        token_url: format!("http://{issuer}/token"),
        device_url: format!("http://{issuer}/devicecode"),
        expires: None,
    };
    let login = Login {
        username: "tim".into(),
        password: Some(Password { secret, form: PasswordForm::AsItIs, expires: None }),
        oauth: Some(oauth),
        prefer,
        mechanisms: vec![Mechanism::Xoauth2, Mechanism::Login],
    };
    let endpoint = SmtpEndpoint {
        host: "127.0.0.1".into(),
        port: smarthost.port(),
        login: Some(login),
        ..endpoint(TlsMode::None)
    };
    AccountConfig {
        name: "m365".into(),
        provider: Provider::Microsoft365,
        destination: Destination::Smtp(endpoint),
        caps: Caps { windows: vec![], connections: 3, recipients_per_message: 100, message_size: 1 << 20 },
        sender: SenderRule { mode: SenderMode::Keep, from: None, allowed: vec![] },
        fields: FieldRule::default(),
        on_uncertain: OnUncertain::Resend,
    }
}

async fn listen<F>(said: Arc<Mutex<Says>>, serve: fn(TcpStream, Arc<Mutex<Says>>) -> F) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&said)));
        }
    });
    address
}

async fn smarthost(stream: TcpStream, said: Arc<Mutex<Says>>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut reply, mut heard) = (String::new(), "220 here".to_owned(), 0);
    let mut by_token = false;
    loop {
        stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        reply = match line.trim() {
            "AUTH LOGIN" => "334 VXNlcm5hbWU6".into(),
            "AUTH XOAUTH2" => {
                by_token = true;
                heard = 1;
                "334 ".into()
            }
            "QUIT" => return,
            hello if hello.starts_with("EHLO") => "250-here\r\n250 AUTH LOGIN XOAUTH2".into(),
            _ if heard == 0 => {
                heard = 1;
                "334 UGFzc3dvcmQ6".into()
            }
            _ => {
                let mut says = said.lock().unwrap();
                says.logins.push(if by_token { "token" } else { "password" });
                let stale = by_token && says.good > says.tokens;
                if stale { NO.into() } else { (if by_token { says.token } else { says.password }).into() }
            }
        };
    }
}

async fn issuer(stream: TcpStream, said: Arc<Mutex<Says>>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let answer = {
        let mut says = said.lock().unwrap();
        says.tokens += u32::from(says.gives);
        match says.gives {
            true => format!(
                "200 OK|{{\"access_token\":\"token-{}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}",
                says.tokens
            ),
            false => "400 Bad|{\"error\":\"invalid_client\"}".into(),
        }
    };
    let (status, body) = answer.split_once('|').unwrap();
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn passwords_that_have_ended_give_way_to_tokens_at_once_and_for_good() {
    for refusal in [ENDED, "550 5.7.30 Basic authentication is not supported for Client Submission."] {
        let scene = Scene::set(Method::Password).await;
        scene.opens_by(&["password"]).await;
        scene.say(|says| says.password = refusal);
        scene.opens_by(&["password", "token"]).await;
        scene.clock.advance(Duration::from_secs(100));
        scene.opens_by(&["token"]).await;
        assert_eq!(scene.switches(), 1);
    }
}

#[tokio::test]
async fn without_a_token_the_password_serves_and_tokens_are_tried_again_later() {
    let scene = Scene::set(Method::OAuth).await;
    scene.say(|says| says.gives = false);
    scene.opens_by(&["password"]).await;
    scene.say(|says| says.gives = true);
    scene.opens_by(&["password"]).await;
    scene.clock.advance(Duration::from_secs(900));
    scene.opens_by(&["token"]).await;
    assert_eq!(scene.switches(), 2);
    scene.say(|says| says.token = NO);
    // The token at hand, a fresh one, and then the password.
    scene.opens_by(&["token", "token", "password"]).await;
    scene.say(|says| says.token = YES);
    scene.logins.forgive(&scene.account.name);
    scene.opens_by(&["token"]).await;
    assert_eq!(scene.switches(), 4);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let scene = Scene::set(Method::OAuth).await;
    scene.opens_by(&["token"]).await;
    scene.say(|says| says.good = 2);
    scene.opens_by(&["token", "token"]).await;
    scene.opens_by(&["token"]).await;
    assert_eq!((scene.said.lock().unwrap().tokens, scene.switches()), (2, 0));
    // One that is refused although it is fresh is not asked for again.
    let scene = Scene::set(Method::OAuth).await;
    scene.say(|says| says.token = NO);
    scene.opens_by(&["token", "password"]).await;
    assert_eq!(scene.said.lock().unwrap().tokens, 1);
}

#[tokio::test]
async fn where_both_fail_the_one_to_mend_is_told() {
    let refused = |text: &str| Err(Obstacle::Refused { step: Step::Auth, reply: Reply::new(535, text) });
    let scene = Scene::set(Method::Password).await;
    scene.say(|says| (says.password, says.token) = (ENDED, NO));
    assert_eq!(scene.opened().await, (refused("5.7.3 Authentication unsuccessful"), vec!["password", "token"]));
    let scene = Scene::set(Method::Password).await;
    scene.say(|says| (says.password, says.token) = ("535 5.7.3 wrong", NO));
    assert_eq!(scene.opened().await, (refused("5.7.3 wrong"), vec!["password", "token"]));
    let scene = Scene::set(Method::OAuth).await;
    scene.say(|says| (says.password, says.gives) = (NO, false));
    let (Err(Obstacle::Trouble(trouble)), by) = scene.opened().await else { panic!() };
    assert_eq!((trouble.kind, by), (TroubleKind::TokenRefused, vec!["password"]));
    // And the password is not hammered by probes for the token.
    let (_, by) = scene.opened().await;
    assert_eq!((by, scene.switches()), (vec![], 0));
}

#[tokio::test]
async fn what_says_nothing_of_the_method_changes_nothing() {
    let scene = Scene::set(Method::OAuth).await;
    scene.say(|says| says.token = "454 4.7.0 Temporary authentication failure");
    let (opened, by) = scene.opened().await;
    assert!(matches!(opened, Err(Obstacle::Refused { step: Step::Auth, reply }) if reply.code == 454));
    assert_eq!(by, ["token"]);
    scene.say(|says| says.token = YES);
    scene.opens_by(&["token"]).await;
    assert_eq!(scene.switches(), 0);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_costs_no_connection_and_is_seen_when_it_is_mended() {
    let scene = Scene::set(Method::OAuth).await;
    let secret = scene.folder.path().join("secret");
    std::fs::remove_file(&secret).unwrap();
    let (Err(Obstacle::Trouble(trouble)), by) = scene.opened().await else { panic!() };
    assert_eq!((trouble.step, trouble.kind, by), (Step::Token, TroubleKind::Local, vec![]));
    assert!(trouble.detail.contains("no file"), "{trouble}");
    let config = config(&scene.account);
    assert!(scene.logins.mended(&config).is_empty());
    put(&secret, "sesame");
    assert_eq!(scene.logins.mended(&config), std::slice::from_ref(&scene.account.name));
    assert!(scene.logins.mended(&config).is_empty(), "told once");
    scene.opens_by(&["token"]).await;
    // While all is well, nobody looks.
    put(&secret, "another");
    assert!(scene.logins.mended(&config).is_empty());
}

#[tokio::test]
async fn what_the_last_process_was_refused_with_is_looked_at_by_the_next_one() {
    let scene = Scene::set(Method::OAuth).await;
    let (secret, config) = (scene.folder.path().join("secret"), config(&scene.account));
    put(&secret, "wrong");
    assert!(scene.logins.mended(&config).is_empty(), "nothing was refused that this process knows of");
    scene.logins.take_up(&config, std::slice::from_ref(&scene.account.name));
    std::fs::remove_file(&secret).unwrap();
    put(&secret, "wrong");
    assert!(scene.logins.mended(&config).is_empty(), "written again, but the same");
    put(&secret, "right");
    assert_eq!(scene.logins.mended(&config), std::slice::from_ref(&scene.account.name));
    assert!(scene.logins.mended(&config).is_empty(), "told once");
}

fn config(account: &AccountConfig) -> crate::config::Config {
    let queue = crate::config::QueueConfig {
        path: "queue.db".into(),
        max_bytes: 1,
        min_free: 1,
        max_age: Duration::from_secs(1),
        ephemeral: true,
    };
    crate::config::Config { queue, accounts: vec![account.clone()], ..Default::default() }
}
