//! The identity provider by raw HTTP, and what its tokens open.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::client::{Client, encoded};
use super::*;

/// An answer: its status, its header, and its body, as JSON where it is that.
struct Heard {
    status: u16,
    header: String,
    body: Value,
}

/// Sends a request with a body and more header fields; none where the connection closed without an answer.
async fn request(method: &str, url: &str, fields: &str, body: &str) -> Option<Heard> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let length = body.len();
    let text = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A connection that is reset has been closed as well.
    let _ = stream.read_to_string(&mut answer).await;
    let (header, body) = answer.split_once("\r\n\r\n")?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    let status = header.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Heard { status, header: header.to_lowercase(), body })
}

async fn post(url: &str, form: &[(&str, &str)]) -> Heard {
    let body = oauth2::url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request("POST", url, "", &body).await.expect("an answer")
}

const ID: (&str, &str) = ("client_id", "5a2d80b0-6f3c-4c34-9d0e-1b7c2f6d8e11");
const SECRET: (&str, &str) = ("client_secret", "abra~cadabra");
const OWN: (&str, &str) = ("grant_type", "client_credentials");
const DEFAULT: (&str, &str) = ("scope", "https://outlook.office365.com/.default");
const SEND: (&str, &str) = ("scope", "https://outlook.office.com/SMTP.Send offline_access");
const DEVICE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");

/// What the mailbox says to this token.
async fn knock(sandbox: &Sandbox, token: &Value) -> String {
    let mut client = Client::secured(sandbox).await;
    let bearer = format!("user=webmaster@example.com\u{1}auth=Bearer {}\u{1}\u{1}", token.as_str().unwrap());
    client.say(&format!("AUTH XOAUTH2 {}", encoded(&bearer))).await
}

fn assert_denied(heard: &Heard, status: u16, error: &str, number: u64) {
    assert_eq!((heard.status, &heard.body["error"]), (status, &error.into()), "{}", heard.body);
    let description = heard.body["error_description"].as_str().unwrap();
    if number == 0 {
        assert_eq!(heard.body["error_codes"], json!([]));
    } else {
        assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
        assert_eq!(heard.body["error_codes"], json!([number]));
    }
    assert!(!description.contains('{'), "{description}");
    for id in ["trace_id", "correlation_id"] {
        assert_eq!(heard.body[id].as_str().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
    let moment = heard.body["timestamp"].as_str().unwrap();
    assert!(moment.len() == 20 && moment.ends_with('Z') && moment.as_bytes()[10] == b' ', "{moment}");
}

#[tokio::test]
async fn an_application_gets_a_token_by_its_secret() {
    let sandbox = start(SandboxConfig::default()).await;
    let url = sandbox.token_url();
    assert!(url.ends_with("/contoso.onmicrosoft.com/oauth2/v2.0/token"), "{url}");
    let heard = post(&url, &[OWN, ID, SECRET, DEFAULT]).await;
    assert_eq!(
        (heard.status, &heard.body["token_type"], &heard.body["expires_in"]),
        (200, &"Bearer".into(), &4500.into())
    );
    assert!(heard.header.contains("cache-control: no-store") && heard.body.get("refresh_token").is_none());
    assert!(knock(&sandbox, &heard.body["access_token"]).await.starts_with("235 2.7.0 "));

    // By HTTP Basic, where the secret is encoded twice.
    let fields = format!("Authorization: Basic {}\r\n", encoded(&format!("{}:abra%7Ecadabra", ID.1)));
    let form = "grant_type=client_credentials&scope=https%3A%2F%2Foutlook.office365.com%2F.default";
    assert_eq!(request("POST", &url, &fields, form).await.unwrap().status, 200);

    let other = url.replace("contoso", "fabrikam");
    for (form, url, status, error, number) in [
        (&[OWN, ID, ("client_secret", "x"), DEFAULT][..], &url, 401, "invalid_client", 7_000_215),
        (&[OWN, ID, DEFAULT], &url, 401, "invalid_client", 7_000_218),
        (&[OWN, ("client_id", "x"), SECRET, DEFAULT], &url, 400, "unauthorized_client", 700_016),
        (&[OWN, ID, SECRET, DEFAULT], &other, 400, "invalid_request", 90_002),
        (&[OWN, ID, SECRET, SEND], &url, 400, "invalid_scope", 70_011),
        (&[("grant_type", "password"), ID, SECRET], &url, 400, "unsupported_grant_type", 70_003),
        (&[("grant_type", "refresh_token"), ID, ("refresh_token", "x")], &url, 400, "invalid_grant", 70_000),
        (&[DEVICE, ID, ("device_code", "x")], &url, 400, "bad_verification_code", 70_018),
    ] {
        assert_denied(&post(url, form).await, status, error, number);
    }
    let counters = sandbox.counters();
    assert_eq!((counters.client_credentials, counters.refreshes, counters.polls, counters.tokens), (7, 1, 1, 2));
}

#[tokio::test]
async fn a_token_ends_with_its_life_or_when_it_is_revoked() {
    let mut config = SandboxConfig::default();
    config.tokens.lifetime = Duration::ZERO;
    let sandbox = start(config).await;
    let dead = post(&sandbox.token_url(), &[OWN, ID, SECRET, DEFAULT]).await;
    assert!(knock(&sandbox, &dead.body["access_token"]).await.starts_with("535 5.7.3 "));

    let sandbox = start(SandboxConfig::default()).await;
    let alive = post(&sandbox.token_url(), &[OWN, ID, SECRET, DEFAULT]).await;
    assert!(knock(&sandbox, &alive.body["access_token"]).await.starts_with("235 "));
    sandbox.revoke_tokens();
    assert!(knock(&sandbox, &alive.body["access_token"]).await.starts_with("535 5.7.3 "));
}

#[tokio::test]
async fn a_user_gets_tokens_by_a_device_code_and_goes_on_by_refresh_tokens() {
    let mut config = SandboxConfig::default();
    config.tokens.code_interval = Duration::ZERO;
    let sandbox = start(config).await;
    let (url, device_url) = (sandbox.token_url(), sandbox.device_url());
    for scope in [DEFAULT.1, "offline_access", "https://outlook.office.com/SMTP.Send", ""] {
        assert_denied(&post(&device_url, &[ID, ("scope", scope)]).await, 400, "invalid_scope", 70_011);
    }
    let code = post(&device_url, &[ID, SEND]).await.body;
    let poll = [DEVICE, ID, ("device_code", code["device_code"].as_str().unwrap())];
    assert_denied(&post(&url, &poll).await, 400, "authorization_pending", 70_016);
    let page = code["verification_uri"].as_str().unwrap();
    let shown = request("GET", page, "", "").await.unwrap();
    assert!(shown.status == 200 && shown.body.as_str().unwrap().contains("name=\"user_code\""), "{}", shown.body);
    assert_eq!(post(page, &[("user_code", "WRONG")]).await.status, 400);
    let user_code = code["user_code"].as_str().unwrap();
    assert!(code["message"].as_str().unwrap().contains(user_code) && user_code.len() == 9);
    assert_eq!(post(page, &[("user_code", user_code)]).await.status, 200);
    let first = post(&url, &poll).await.body;
    assert!(knock(&sandbox, &first["access_token"]).await.starts_with("235 "));

    let refresh = |token: &Value| {
        let (url, token) = (url.clone(), token.as_str().unwrap().to_owned());
        async move { post(&url, &[("grant_type", "refresh_token"), ID, ("refresh_token", &token)]).await }
    };
    let second = refresh(&first["refresh_token"]).await.body;
    assert_ne!(second["refresh_token"], first["refresh_token"], "a new one each time");
    assert!(knock(&sandbox, &second["access_token"]).await.starts_with("235 "));
    assert_eq!(refresh(&first["refresh_token"]).await.status, 200, "the old one goes on working");
    let seed = Value::from(secrecy::ExposeSecret::expose_secret(&sandbox.issue_refresh_token()));
    assert_eq!(refresh(&seed).await.status, 200);
    sandbox.revoke_tokens();
    assert_denied(&refresh(&second["refresh_token"]).await, 400, "invalid_grant", 50_173);
    let counters = sandbox.counters();
    assert_eq!((counters.device_codes, counters.polls, counters.refreshes, counters.tokens), (1, 2, 4, 4));
}

#[tokio::test]
async fn a_device_that_polls_too_fast_is_slowed_down_and_a_test_can_approve() {
    let sandbox = start(SandboxConfig::default()).await;
    let code = post(&sandbox.device_url(), &[ID, SEND]).await.body;
    assert_eq!((&code["interval"], &code["expires_in"]), (&5.into(), &900.into()));
    let poll = [DEVICE, ID, ("device_code", code["device_code"].as_str().unwrap())];
    assert!(sandbox.approve(code["user_code"].as_str().unwrap()) && !sandbox.approve("x"));
    assert_eq!(post(&sandbox.token_url(), &poll).await.status, 200);
    let code = post(&sandbox.device_url(), &[ID, SEND]).await.body;
    let poll = [DEVICE, ID, ("device_code", code["device_code"].as_str().unwrap())];
    assert_denied(&post(&sandbox.token_url(), &poll).await, 400, "authorization_pending", 70_016);
    assert_denied(&post(&sandbox.token_url(), &poll).await, 400, "slow_down", 0);
}

#[tokio::test]
async fn google_has_its_own_addresses_and_scope() {
    let sandbox = start(SandboxConfig::of(Service::Google)).await;
    assert!(sandbox.token_url().ends_with("/token") && sandbox.device_url().ends_with("/device/code"));
    let code = post(&sandbox.device_url(), &[ID, ("scope", "https://mail.google.com/")]).await.body;
    assert!(code["verification_url"].is_string() && sandbox.approve(code["user_code"].as_str().unwrap()), "{code}");
    let poll = [DEVICE, ID, SECRET, ("device_code", code["device_code"].as_str().unwrap())];
    let tokens = post(&sandbox.token_url(), &poll).await.body;
    assert!(knock(&sandbox, &tokens["access_token"]).await.starts_with("235 2.7.0 Accepted"));
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let sandbox = start(SandboxConfig::default()).await;
    let page = sandbox.token_url();
    assert_eq!(request("GET", &page, "", "").await.unwrap().status, 404);
    assert!(request("POST", &page, "", &"x".repeat(70_000)).await.is_none(), "a form that is too long");
}

#[tokio::test]
async fn every_denial_is_answered_in_entras_words() {
    let sandbox = start(SandboxConfig::default()).await;
    let refresh = secrecy::ExposeSecret::expose_secret(&sandbox.issue_refresh_token()).to_owned();
    let code = post(&sandbox.device_url(), &[ID, SEND]).await.body;
    let own = vec![OWN, ID, SECRET, DEFAULT];
    let user = vec![("grant_type", "refresh_token"), ID, ("refresh_token", &refresh)];
    let poll = vec![DEVICE, ID, ("device_code", code["device_code"].as_str().unwrap())];
    let denials = [
        (Fault::TokenInvalidClient, &own, 401, "invalid_client", 7_000_215),
        (Fault::TokenSecretExpired, &own, 401, "invalid_client", 7_000_222),
        (Fault::TokenAppUnknown, &own, 400, "unauthorized_client", 700_016),
        (Fault::TokenTenantUnknown, &own, 400, "invalid_request", 90_002),
        (Fault::TokenGrantExpired, &user, 400, "invalid_grant", 700_082),
        (Fault::TokenGrantRevoked, &user, 400, "invalid_grant", 50_173),
        (Fault::TokenMfa, &user, 400, "invalid_grant", 50_076),
        (Fault::TokenConditionalAccess, &own, 400, "invalid_grant", 53_003),
        (Fault::TokenNoConsent, &own, 400, "invalid_grant", 65_001),
        (Fault::TokenThrottled, &own, 429, "temporarily_unavailable", 90_055),
        (Fault::TokenUnavailable, &own, 503, "temporarily_unavailable", 90_033),
        (Fault::DeviceDeclined, &poll, 400, "authorization_declined", 0),
        (Fault::DeviceExpired, &poll, 400, "expired_token", 70_019),
        (Fault::DeviceSlowDown, &poll, 400, "slow_down", 0),
    ];
    for (fault, form, status, error, number) in denials {
        sandbox.set_fault(Some(FaultRule::from(fault).delayed(Duration::from_secs(7))));
        let heard = post(&sandbox.token_url(), form).await;
        assert_denied(&heard, status, error, number);
        assert_eq!(heard.header.contains("retry-after: 7\r\n"), fault == Fault::TokenThrottled, "{fault}");
    }
    // One that concerns refresh tokens leaves an application alone.
    sandbox.set_fault(Some(Fault::TokenGrantRevoked.into()));
    assert_eq!(post(&sandbox.token_url(), &own).await.status, 200);
    let of_tokens = Fault::ALL.iter().filter(|fault| fault.topic() == Topic::Tokens).count();
    assert_eq!(of_tokens, denials.len() + 2, "the others are below");
}

#[tokio::test]
async fn the_endpoint_can_close_or_answer_late() {
    let sandbox = start(SandboxConfig::default()).await;
    let form = format!("grant_type=client_credentials&client_id={}", ID.1);
    sandbox.set_fault(Some(Fault::TokenCut.into()));
    assert!(request("POST", &sandbox.token_url(), "", &form).await.is_none());
    sandbox.set_fault(Some(FaultRule::from(Fault::TokenSlow).delayed(Duration::from_millis(50))));
    let before = sandbox.mailbox.now();
    assert_eq!(post(&sandbox.token_url(), &[OWN, ID, SECRET, DEFAULT]).await.status, 200);
    assert!(sandbox.mailbox.now().since(before) >= Duration::from_millis(50));
}

/// What an assertion says, to be spoilt.
fn claims(sandbox: &Sandbox) -> Value {
    let now = sandbox.mailbox.now().as_micros() / 1_000_000;
    json!({ "aud": sandbox.token_url(), "iss": ID.1, "sub": ID.1, "jti": "1", "nbf": now, "exp": now + 600 })
}

/// Signs it with the application's key.
fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap() else { panic!("PKCS #8") };
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const KEY: &str = include_str!("../../../tests/data/oauth/application.key");
const CERTIFICATE: &str = include_str!("../../../tests/data/oauth/application.pem");

#[tokio::test]
async fn an_application_gets_a_token_by_its_certificate() {
    let mut config = SandboxConfig::default();
    config.tokens.certificate = Some(CERTIFICATE.to_owned());
    let sandbox = start(config).await;
    let ask = |assertion: String, form: &str| {
        let (url, form) = (sandbox.token_url(), form.to_owned());
        async move {
            let kind = ("client_assertion_type", form.as_str());
            post(&url, &[OWN, ID, DEFAULT, kind, ("client_assertion", &assertion)]).await
        }
    };
    let bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let der = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)) });
    let claims = claims(&sandbox);
    let heard = ask(signed(&header, &claims), bearer).await;
    assert_eq!(heard.status, 200, "{}", heard.body);
    assert!(knock(&sandbox, &heard.body["access_token"]).await.starts_with("235 "));

    let with = |value: &Value, key: &str, other: Value| {
        let mut value = value.clone();
        value[key] = other;
        value
    };
    let now = claims["nbf"].as_i64().unwrap();
    for (assertion, number) in [
        (signed(&with(&header, "alg", "RS256".into()), &claims), 50_027),
        (signed(&with(&header, "typ", "JWS".into()), &claims), 50_027),
        (signed(&with(&header, "x5t#S256", "x".into()), &claims), 700_027),
        (signed(&header, &with(&claims, "iss", "x".into())), 50_027),
        (signed(&header, &with(&claims, "sub", "x".into())), 50_027),
        (signed(&header, &with(&claims, "jti", "".into())), 50_027),
        (signed(&header, &with(&claims, "aud", "https://login.microsoftonline.com/".into())), 700_023),
        (signed(&header, &with(&claims, "exp", (now + 601).into())), 700_024),
        (signed(&header, &with(&claims, "nbf", (now - 600).into())), 700_024),
        (signed(&header, &with(&with(&claims, "nbf", (now + 120).into()), "exp", (now + 300).into())), 700_024),
        (signed(&header, &with(&with(&claims, "nbf", (now - 300).into()), "exp", (now - 1).into())), 700_024),
        (format!("{}.AAAA", signed(&header, &claims).rsplit_once('.').unwrap().0), 700_027),
        ("x.y".to_owned(), 50_027),
    ] {
        assert_denied(&ask(assertion, bearer).await, 401, "invalid_client", number);
    }
    assert_denied(&ask(signed(&header, &claims), "other").await, 401, "invalid_client", 7_000_218);
    let without = start(SandboxConfig::default()).await;
    let form = [OWN, ID, DEFAULT, ("client_assertion_type", bearer), ("client_assertion", "x.y.z")];
    assert_denied(&post(&without.token_url(), &form).await, 401, "invalid_client", 700_027);
}

#[tokio::test]
async fn a_certificate_without_an_rsa_key_is_an_error() {
    let mut config = SandboxConfig::default();
    config.tokens.certificate = Some(Authority::in_memory().unwrap().ca_pem().to_owned());
    let Err(error) = Sandbox::start(config).await else { panic!("started") };
    assert!(error.to_string().contains("not RSA"), "{error}");
}
