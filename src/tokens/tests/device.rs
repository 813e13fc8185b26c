//! Logins by device code.

use super::*;
use crate::tokens::file;

const CODE: &str = r#"{"device_code":"DEV1CE","user_code":"ABC-123","verification_uri":"https://example.com/device",
                       "expires_in":900,"interval":0,"message":"…"}"#;
const PENDING: &str = r#"{"error":"authorization_pending","error_description":"AADSTS70016: wait"}"#;

impl Scene {
    async fn invited(&self) -> Result<Invitation, String> {
        let oauth = self.provider.oauth(ClientProof::None, Grant::User { seed: None });
        self.tokens.begin_login(&NAME.into(), &oauth).await
    }

    async fn ended(&self) -> LoginProgress {
        loop {
            match self.tokens.login_progress(&NAME.into()) {
                LoginProgress::Waiting => tokio::task::yield_now().await,
                ended => return ended,
            }
        }
    }
}

#[tokio::test]
async fn a_user_logs_in_and_the_token_is_stored() {
    let scene = Scene::set().await;
    assert_eq!(scene.tokens.login_progress(&NAME.into()), LoginProgress::NotBegun);
    let granted = r#"{"access_token":"one","token_type":"Bearer","expires_in":3600,"refresh_token":"0.AXoA"}"#;
    for (status, says) in [(200, CODE), (400, PENDING), (503, ""), (400, PENDING), (200, granted)] {
        scene.provider.says(status, says);
    }
    let invitation = scene.invited().await.unwrap();
    let wanted = ("https://example.com/device", "ABC-123", 900);
    assert_eq!((&*invitation.verification_uri, &*invitation.user_code, invitation.expires_in), wanted);
    assert_eq!(scene.ended().await, LoginProgress::LoggedIn);
    let heard = scene.provider.heard();
    assert_eq!(heard[0], [("client_id", "app"), ("scope", "one two")].map(|(a, b)| (a.into(), b.into())).into());
    let polled = &heard[1];
    assert_eq!(
        (&*polled["grant_type"], &*polled["device_code"]),
        ("urn:ietf:params:oauth:grant-type:device_code", "DEV1CE")
    );
    let stored = file::read(&scene.tokens.around.folder, &NAME.into()).unwrap().unwrap();
    assert_eq!(stored.refresh.expose_secret(), "0.AXoA");
    // The access token that came with it serves.
    let oauth = scene.provider.oauth(ClientProof::None, Grant::User { seed: None });
    assert_eq!(shown(&scene.tokens.source(&NAME.into(), &oauth)).await, "one");
    assert_eq!(scene.provider.heard().len(), 5);
}

#[tokio::test]
async fn a_login_that_comes_to_nothing_says_why() {
    for (answer, wanted) in [
        (r#"{"error":"authorization_declined"}"#, "the login was declined: run the command again"),
        (r#"{"error":"access_denied"}"#, "the login was declined: run the command again"),
        (r#"{"error":"expired_token"}"#, "nobody entered the code within 15 min: run the command again"),
        (r#"{"error":"bad_verification_code","error_description":"of DEV1CE"}"#, "bad_verification_code: of …"),
        (r#"{"access_token":"x","token_type":"Bearer"}"#, "gave no refresh token"),
    ] {
        let scene = Scene::set().await;
        scene.provider.says(200, CODE);
        scene.provider.says(if answer.contains("access_token") { 200 } else { 400 }, answer);
        scene.invited().await.unwrap();
        let LoginProgress::Failed(why) = scene.ended().await else { panic!("{answer}") };
        assert!(why.contains(wanted), "{why}");
        assert!(!scene.tokens.around.folder.exists());
    }
}

#[tokio::test]
async fn an_application_needs_nobody_to_log_in() {
    let scene = Scene::set().await;
    let oauth = scene.provider.oauth(ClientProof::None, Grant::Application);
    let refused = scene.tokens.begin_login(&NAME.into(), &oauth).await.unwrap_err();
    assert!(refused.contains("there is nothing to do"), "{refused}");
    scene.provider.says(400, r#"{"error":"unauthorized_client","error_description":"AADSTS700016: no such app"}"#);
    assert!(scene.invited().await.unwrap_err().contains("AADSTS700016"));
}
