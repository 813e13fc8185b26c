use std::process::Command;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use self::provider::Provider;
use super::*;
use crate::config::secret::Secret;
use crate::config::{ClientProof, Grant};
use crate::schedule::attempt::{Step, TroubleKind};
use crate::time::{ManualClock, Timestamp};

mod assertions;
mod device;
mod methods;
mod provider;
mod refresh;

const NAME: &str = "m365";

/// An account's source, its clock and where its files lie.
struct Scene {
    folder: TempDir,
    clock: Arc<ManualClock>,
    tokens: Arc<Tokens>,
    provider: Provider,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let (database, observer) = (folder.path().join("queue.db"), Arc::new(Observer::default()));
        let tokens = Arc::new(Tokens::beside(&database, Arc::clone(&clock) as Arc<dyn Clock>, observer));
        Self { folder, clock, tokens, provider: Provider::start().await }
    }

    /// A file with a secret.
    fn secret(&self, name: &str, value: &str) -> Secret {
        let path = self.folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        let mut mode = path.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        Secret::File(path)
    }

    fn application(&self) -> Arc<Source> {
        let proof = ClientProof::Secret(self.secret("secret", "s3cr3t"));
        self.tokens.source(&NAME.into(), &self.provider.oauth(proof, Grant::Application))
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn alarms(&self) -> u64 {
        self.tokens.around.observer.counts().alarms
    }
}

fn token(name: &str, lives: u64) -> String {
    format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":{lives}}}"#)
}

async fn shown(source: &Arc<Source>) -> String {
    source.token().await.unwrap().secret.expose_secret().to_owned()
}

async fn trouble(source: &Arc<Source>) -> (TroubleKind, String) {
    let trouble = source.token().await.unwrap_err();
    assert_eq!(trouble.step, Step::Token);
    (trouble.kind, trouble.detail)
}

#[tokio::test]
async fn all_connections_share_one_request() {
    let scene = Scene::set().await;
    scene.provider.says(200, &token("one", 3600));
    scene.provider.gate.send_replace(false);
    let source = scene.application();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { shown(&source).await })
        })
        .collect();
    scene.provider.hears(1).await;
    scene.provider.gate.send_replace(true);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "one");
    }
    let heard = scene.provider.heard();
    assert_eq!(heard.len(), 1);
    let wanted =
        [("grant_type", "client_credentials"), ("scope", "one two"), ("client_id", "app"), ("client_secret", "s3cr3t")];
    assert_eq!(heard[0], wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn a_token_is_renewed_while_the_old_one_still_serves() {
    for (lives, serves_alone, ages) in [(4500, 3374, 3375), (600, 299, 300), (8, 3, 4)] {
        let scene = Scene::set().await;
        scene.provider.says(200, &token("one", lives));
        scene.provider.says(200, &token("two", lives));
        let source = scene.application();
        assert_eq!(shown(&source).await, "one");
        scene.pass(serves_alone);
        assert_eq!(shown(&source).await, "one");
        scene.pass(ages - serves_alone);
        scene.provider.gate.send_replace(false);
        // The second one is asked for, and nobody waits for it.
        for _ in 0..3 {
            assert_eq!(shown(&source).await, "one");
        }
        scene.provider.hears(2).await;
        scene.provider.gate.send_replace(true);
        while shown(&source).await == "one" {
            tokio::task::yield_now().await;
        }
        assert_eq!((shown(&source).await, scene.provider.heard().len()), ("two".into(), 2), "{lives}");
    }
}

#[tokio::test]
async fn neither_an_expired_nor_a_refused_token_is_shown() {
    let scene = Scene::set().await;
    for name in ["one", "two", "three"] {
        scene.provider.says(200, &token(name, 3600));
    }
    let source = scene.application();
    let one = source.token().await.unwrap();
    scene.pass(3569);
    assert_eq!(shown(&source).await, "one");
    let scene = Scene::set().await;
    for name in ["one", "two", "three"] {
        scene.provider.says(200, &token(name, 3600));
    }
    let source = scene.application();
    assert_eq!(shown(&source).await, "one");
    scene.pass(3570); // its last moments
    assert_eq!(shown(&source).await, "two");
    let two = source.token().await.unwrap();
    source.forget(&two);
    assert_eq!(shown(&source).await, "three");
    // Other connections were refused with the old ones.
    source.forget(&two);
    source.forget(&one);
    assert_eq!((shown(&source).await, scene.provider.heard().len()), ("three".into(), 3));
}

#[tokio::test]
async fn a_refusal_is_repeated_and_not_asked_for_again() {
    let scene = Scene::set().await;
    let refusal =
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: \"s3cr3t\" is wrong.\r\nTrace ID: x"}"#;
    scene.provider.says(401, refusal);
    let source = scene.application();
    let first = trouble(&source).await;
    assert_eq!(first.0, TroubleKind::TokenRefused);
    assert!(first.1.ends_with("said: invalid_client: AADSTS7000215: \"…\" is wrong."), "{}", first.1);
    for _ in 0..3 {
        assert_eq!(trouble(&source).await, first);
    }
    assert_eq!((scene.provider.heard().len(), scene.alarms()), (1, 1));
    // The keeper does not ask more often than a lane that is refused its login.
    assert_eq!(source.tend().await, Duration::from_secs(900));
    scene.pass(11);
    trouble(&source).await;
    source.forgive();
    trouble(&source).await;
    assert_eq!((scene.provider.heard().len(), scene.alarms()), (3, 1));
}

#[tokio::test]
async fn an_identity_provider_that_is_busy_is_left_alone_as_long_as_it_says() {
    for (head, wait) in [("", 1), ("retry-after: 120\r\n", 120), ("retry-after: 86400\r\n", 900)] {
        let scene = Scene::set().await;
        scene.provider.says_with(if head.is_empty() { 503 } else { 429 }, head, "<html>busy");
        scene.provider.says(200, &token("one", 3600));
        let source = scene.application();
        assert_eq!(trouble(&source).await.0, TroubleKind::Connect);
        scene.clock.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        assert_eq!(trouble(&source).await.0, TroubleKind::Connect);
        assert_eq!(scene.provider.heard().len(), 1, "{head}");
        scene.pass(1);
        assert_eq!((shown(&source).await, scene.provider.heard().len()), ("one".into(), 2), "{head}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_and_not_quoted() {
    for (status, body) in [(200, "<html>s3cr3t"), (404, "s3cr3t"), (400, ""), (302, "")] {
        let scene = Scene::set().await;
        scene.provider.says(status, body);
        let (kind, detail) = trouble(&scene.application()).await;
        assert_eq!(kind, TroubleKind::Protocol, "{status}");
        assert!(!detail.contains("s3cr3t") && detail.contains("127.0.0.1"), "{detail}");
    }
}

#[tokio::test]
async fn the_keeper_backs_off_and_says_once_what_is_wrong_and_that_it_works_again() {
    let scene = Scene::set().await;
    scene.provider.says(503, "");
    let source = scene.application();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let wait = source.tend().await;
        waits.push(wait.as_secs());
        scene.clock.advance(wait);
    }
    assert_eq!(waits, [60, 300, 900, 900]);
    assert_eq!((scene.provider.heard().len(), scene.alarms()), (4, 1));
    scene.provider.says(200, &token("one", 3600));
    scene.provider.says(200, &token("one", 3600));
    scene.pass(1);
    source.tend().await;
    scene.clock.advance(source.tend().await);
    source.tend().await;
    assert!(!source.is_failing());
    assert_eq!(shown(&source).await, "one");
}

#[tokio::test]
async fn other_settings_have_another_source() {
    let scene = Scene::set().await;
    let source = scene.application();
    assert!(Arc::ptr_eq(&source, &scene.application()));
    let other = scene.provider.oauth(ClientProof::None, Grant::Application);
    assert!(!Arc::ptr_eq(&source, &scene.tokens.source(&NAME.into(), &other)));
    scene.tokens.retain(&[]);
    assert!(locked(&scene.tokens.sources).is_empty());
}

#[tokio::test]
async fn what_holds_a_token_does_not_show_it() {
    let scene = Scene::set().await;
    scene.provider.says(200, &token("EwBAAl3BAAUFFpUAo7J3", 3600));
    let token = scene.application().token().await.unwrap();
    assert!(!format!("{token:?}").contains("EwBAA"));
}
