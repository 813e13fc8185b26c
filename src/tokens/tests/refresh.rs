//! Refresh tokens: which one is shown, and what is kept of the answer.

use super::*;
use crate::alarm::happening::What;
use crate::tokens::file;

fn granted(access: &str, refresh: Option<&str>) -> String {
    let refresh = refresh.map(|refresh| format!(r#","refresh_token":"{refresh}""#)).unwrap_or_default();
    format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":60{refresh}}}"#)
}

impl Scene {
    fn user(&self, seed: Option<Secret>) -> Arc<Source> {
        let oauth = self.provider.oauth(ClientProof::None, Grant::User { seed });
        self.tokens.source(&NAME.into(), &oauth)
    }

    fn stored(&self) -> Option<String> {
        let folder = &self.tokens.around.folder;
        file::read(folder, &NAME.into()).unwrap().map(|stored| stored.refresh.expose_secret().to_owned())
    }

    fn last_shown(&self) -> String {
        self.provider.heard().last().unwrap()["refresh_token"].clone()
    }

    /// A token after the last one has expired.
    async fn next(&self, source: &Arc<Source>) -> String {
        self.pass(60);
        shown(source).await
    }
}

#[tokio::test]
async fn a_refresh_token_is_replaced_at_every_answer_that_brings_one() {
    let scene = Scene::set().await;
    scene.provider.says(200, &granted("one", Some("second")));
    scene.provider.says(200, &granted("two", None));
    scene.provider.says(200, &granted("three", Some("third")));
    let source = scene.user(Some(scene.secret("seed", "first")));
    assert_eq!(shown(&source).await, "one");
    assert_eq!((scene.last_shown(), scene.stored()), ("first".into(), Some("second".into())));
    assert_eq!(scene.provider.heard()[0]["grant_type"], "refresh_token");
    assert_eq!(scene.next(&source).await, "two");
    assert_eq!((scene.last_shown(), scene.stored()), ("second".into(), Some("second".into())));
    assert_eq!(scene.next(&source).await, "three");
    assert_eq!((scene.last_shown(), scene.stored()), ("second".into(), Some("third".into())));
}

#[tokio::test]
async fn a_seed_that_was_changed_counts_and_one_that_was_not_does_not() {
    let scene = Scene::set().await;
    scene.provider.says(200, &granted("one", Some("second")));
    let seed = scene.secret("seed", "first");
    let source = scene.user(Some(seed.clone()));
    shown(&source).await;
    // As after a restart: systemd lays credentials down anew, with the same content.
    scene.secret("seed", "first");
    scene.next(&source).await;
    assert_eq!(scene.last_shown(), "second");
    scene.secret("seed", "another");
    scene.next(&source).await;
    assert_eq!(scene.last_shown(), "another");
    scene.next(&source).await;
    assert_eq!(scene.last_shown(), "second");
    let Secret::File(path) = seed else { panic!() };
    std::fs::remove_file(path).unwrap();
    scene.next(&source).await;
    assert_eq!(scene.last_shown(), "second");
}

#[tokio::test]
async fn a_seed_is_stored_although_the_answer_brings_no_other() {
    let scene = Scene::set().await;
    scene.provider.says(200, &granted("one", None));
    shown(&scene.user(Some(scene.secret("seed", "first")))).await;
    assert_eq!(scene.stored(), Some("first".into()));
}

#[tokio::test]
async fn without_a_refresh_token_the_trouble_says_which_command_brings_one() {
    let scene = Scene::set().await;
    let wanted = "nobody has logged in yet: run `mailsluice account login m365`";
    assert_eq!(trouble(&scene.user(None)).await, (TroubleKind::TokenRefused, wanted.into()));
    // One of another registration is none.
    let stored = file::Stored { refresh: "x".into(), client_id: "other".into(), seed: None };
    file::write(&scene.tokens.around.folder, &NAME.into(), &stored).unwrap();
    scene.pass(60);
    assert_eq!(trouble(&scene.user(None)).await.1, wanted);
    assert!(scene.provider.heard().is_empty());
}

#[tokio::test]
async fn a_refused_refresh_token_is_told_with_the_command_and_without_the_token() {
    let scene = Scene::set().await;
    let refusal = r#"{"error":"invalid_grant","error_description":"AADSTS700082: 0.AXoA is 90 days old."}"#;
    scene.provider.says(400, refusal);
    let (kind, detail) = trouble(&scene.user(Some(scene.secret("seed", "0.AXoA")))).await;
    assert_eq!(kind, TroubleKind::TokenRefused);
    let wanted = "invalid_grant: AADSTS700082: … is 90 days old.; to log in again, run `mailsluice account login m365`";
    assert!(detail.ends_with(wanted), "{detail}");
}

#[tokio::test]
async fn a_refresh_token_that_cannot_be_written_serves_from_memory_until_it_can() {
    let scene = Scene::set().await;
    scene.provider.says(200, &granted("one", Some("second")));
    scene.provider.says(200, &granted("two", None));
    let source = scene.user(Some(scene.secret("seed", "first")));
    let folder = &scene.tokens.around.folder;
    std::fs::write(folder, "in the way").unwrap();
    // What is in the way of writing is in the way of reading, too.
    assert_eq!(trouble(&source).await.0, TroubleKind::Local);
    std::fs::remove_file(folder).unwrap();
    std::fs::create_dir_all(folder.join("~m365/x")).unwrap();
    scene.pass(60);
    assert_eq!((shown(&source).await, scene.stored(), scene.alarms()), ("one".into(), None, 2));
    std::fs::remove_dir_all(folder.join("~m365")).unwrap();
    assert_eq!(scene.next(&source).await, "two");
    assert_eq!((scene.last_shown(), scene.stored()), ("second".into(), Some("second".into())));
}

#[tokio::test]
async fn a_refresh_token_outlives_a_change_of_the_settings() {
    let scene = Scene::set().await;
    scene.provider.says(200, &granted("one", Some("second")));
    scene.provider.says(200, &granted("two", Some("third")));
    scene.provider.says(200, &granted("three", None));
    let seed = scene.secret("seed", "first");
    let source = scene.user(Some(seed.clone()));
    let folder = &scene.tokens.around.folder;
    std::fs::create_dir_all(folder.join("~m365/x")).unwrap();
    assert_eq!((shown(&source).await, scene.stored()), ("one".into(), None));
    let mut changed = source.settings().clone();
    changed.scope = "three".into();
    // One has just begun when the settings change: the other waits for what it brings.
    scene.provider.gate.send_replace(false);
    scene.pass(60);
    let old = tokio::spawn(async move { shown(&source).await });
    scene.provider.hears(2).await;
    let source = scene.tokens.source(&NAME.into(), &changed);
    let new = tokio::spawn(async move { shown(&source).await });
    tokio::task::yield_now().await;
    std::fs::remove_dir_all(folder.join("~m365")).unwrap();
    scene.provider.gate.send_replace(true);
    assert_eq!((old.await.unwrap(), new.await.unwrap()), ("two".into(), "three".into()));
    let shown: Vec<_> = scene.provider.heard().iter().map(|form| form["refresh_token"].clone()).collect();
    assert_eq!(shown, ["first", "second", "third"], "each is shown once");
    assert_eq!(scene.stored(), Some("third".into()));
}

const REFUSAL: &str = r#"{"error":"invalid_client"}"#;

#[tokio::test]
async fn what_the_settings_were_at_fault_for_is_over_when_others_are_not() {
    let scene = Scene::set().await;
    for (status, body) in [(400, REFUSAL), (200, &granted("one", None)), (400, REFUSAL)] {
        scene.provider.says(status, body);
    }
    let source = scene.user(Some(scene.secret("seed", "first")));
    trouble(&source).await;
    let ended = || scene.tokens.around.observer.take_events().iter().any(|event| event.what == What::Ended);
    assert!(!ended());
    let mut changed = source.settings().clone();
    changed.client_id = "right".into();
    shown(&scene.tokens.source(&NAME.into(), &changed)).await;
    assert!(ended());
    scene.pass(60);
    trouble(&scene.tokens.source(&NAME.into(), &changed)).await;
    scene.tokens.retain(&[]);
    assert!(ended(), "the account is gone");
}
