use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tempfile::NamedTempFile;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

use crate::config::OwnCertificate;
use crate::config::secret::Secret;
use crate::deliver::peer::Act::{Content, Hear, Say};
use crate::deliver::peer::{Act, Heard, endpoint, password, play, tls_server};
use crate::deliver::upstream::{BodyKind, Upstream};
use crate::deliver::witness::Unwatched;
use crate::schedule::attempt::{End, RcptResult};
use crate::smtp::{Envelope, ReversePath};

const OFFER: &[Act] =
    &[Say(b"220 peer\r\n"), Hear("EHLO"), Say(b"250-peer\r\n250-8BITMIME\r\n250 STARTTLS\r\n"), Hear("STARTTLS\r\n")];
const GO: &[Act] = &[Say(b"220 2.0.0 go\r\n")];
const HELLO: &[Act] = &[Hear("EHLO relay.example.com\r\n"), Say(b"250-peer\r\n250 SIZE 1000\r\n")];

/// A server whose certificate is changed before it is signed, and an endpoint that trusts its CA.
fn trusted(tls: TlsMode, change: impl FnOnce(&mut CertificateParams)) -> (NamedTempFile, SmtpEndpoint, TlsAcceptor) {
    let (pem, config) = tls_server("a CA", change);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let endpoint = SmtpEndpoint { ca_file: Some(file.path().to_owned()), ..endpoint(tls) };
    (file, endpoint, TlsAcceptor::from(config))
}

/// Plays `before` in plain text and `after` through TLS.
async fn peer<S: Stream>(mut stream: S, before: Vec<Act>, acceptor: TlsAcceptor, after: Vec<Act>) -> Option<Heard> {
    play(&mut stream, before).await;
    let stream = acceptor.accept(stream).await.ok()?;
    Some(play(stream, after).await)
}

async fn secured(stream: DuplexStream, endpoint: &SmtpEndpoint) -> Result<Extensions, Obstacle> {
    secure(stream, endpoint, "localhost:587", &Timeouts::default(), &Unwatched).await.map(|(_, extensions)| extensions)
}

/// What comes of STARTTLS when the server plays `before` in plain text and then shakes hands.
async fn after_plain(before: &[&[Act]]) -> Result<Extensions, Obstacle> {
    let (_file, endpoint, acceptor) = trusted(TlsMode::StartTls, |_| {});
    let (ours, theirs) = duplex(4096);
    tokio::spawn(peer(theirs, before.concat(), acceptor, HELLO.to_vec()));
    secured(ours, &endpoint).await
}

fn trouble(result: Result<Extensions, Obstacle>) -> Trouble {
    match result {
        Err(Obstacle::Trouble(trouble)) => trouble,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_goes_out_over_tcp_and_starttls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_file, mut endpoint, acceptor) = trusted(TlsMode::StartTls, |_| {});
    endpoint.port = listener.local_addr().unwrap().port();
    let transaction = [
        Hear("MAIL"),
        Say(b"250 ok\r\n"),
        Hear("RCPT"),
        Say(b"250 ok\r\n"),
        Hear("DATA"),
        Say(b"354 go\r\n"),
        Content,
        Say(b"250 ok\r\n"),
        Hear("QUIT"),
    ];
    let script = [HELLO, &transaction].concat();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        peer(stream, [OFFER, GO].concat(), acceptor, script).await
    });
    let mut upstream = Upstream::connect(&endpoint, None, &Timeouts::default(), &Unwatched).await.unwrap();
    // What was offered before TLS counts no more (RFC 3207 §4.2).
    assert_eq!(upstream.extensions(), &Extensions { size: Some(1000), ..Extensions::default() });
    let envelope = Envelope { reverse_path: ReversePath::Null, recipients: vec!["a@example.com".parse().unwrap()] };
    let transcript = upstream.transact(&envelope, b"x\r\n", BodyKind::default()).await;
    assert_eq!(transcript.recipients, [RcptResult::Accepted]);
    assert!(matches!(transcript.end, End::Accepted(_)));
    upstream.quit().await;
    assert_eq!(server.await.unwrap().unwrap().contents, [b"x\r\n"]);
}

#[tokio::test]
async fn tls_may_come_first() {
    let (_file, endpoint, acceptor) = trusted(TlsMode::Implicit, |_| {});
    let (ours, theirs) = duplex(4096);
    tokio::spawn(peer(theirs, Vec::new(), acceptor, [&[Say(b"220 peer\r\n")], HELLO].concat()));
    assert_eq!(secured(ours, &endpoint).await.unwrap().size, Some(1000));
}

/// A self-signed certificate and its key, in files.
fn own_certificate(folder: &Path, name: &str) -> (CertificateDer<'static>, OwnCertificate) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["relay.example.com".into()]).unwrap().self_signed(&key).unwrap();
    let file = |end: &str, pem: String| {
        let path = folder.join(format!("{name}.{end}"));
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let own = OwnCertificate {
        certificate: file("pem", certificate.pem()),
        key: Secret::File(file("key", key.serialize_pem())),
    };
    (certificate.der().clone(), own)
}

#[tokio::test]
async fn our_certificate_is_shown_to_who_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, own) = own_certificate(folder.path(), "own");
    let (file, endpoint, _) = trusted(TlsMode::Implicit, |_| {});
    let (pem, server) = tls_server("a CA", |_| {});
    std::fs::write(file.path(), pem).unwrap();
    let mut known = rustls::RootCertStore::empty();
    known.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), Arc::clone(&provider)).build().unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(
        builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::clone(&server.cert_resolver)),
    ));
    let shaken = async |certificate: Option<OwnCertificate>| {
        let (ours, theirs) = duplex(4096);
        tokio::spawn(peer(theirs, Vec::new(), acceptor.clone(), [&[Say(b"220 x\r\n")], HELLO].concat()));
        secured(ours, &SmtpEndpoint { certificate, ..endpoint.clone() }).await
    };
    assert_eq!(shaken(Some(own.clone())).await.unwrap().size, Some(1000));
    assert!(shaken(None).await.is_err());
    // What cannot be used is told before anything is sent.
    let (_, other) = own_certificate(folder.path(), "other");
    for (own, wanted) in [
        (OwnCertificate { key: other.key, ..own.clone() }, "it belongs to another key"),
        (OwnCertificate { key: Secret::File(own.certificate.clone()), ..own.clone() }, "no private key in PEM"),
        (OwnCertificate { key: Secret::File("/nonexistent".into()), ..own }, "its key cannot be read"),
    ] {
        let trouble = trouble(shaken(Some(own)).await);
        assert_eq!((trouble.step, trouble.kind), (Step::Tls, TroubleKind::Local));
        assert!(trouble.detail.contains(wanted), "{trouble}");
    }
}

#[tokio::test]
async fn what_is_injected_behind_the_reply_to_starttls_ends_the_connection() {
    for injected in [&b"220 go\r\n250 injected\r\n"[..], b"220 go\r\n250-inj", b"220 go\r\nrubbish\r\n"] {
        let trouble = trouble(after_plain(&[OFFER, &[Say(injected)]]).await);
        assert_eq!((trouble.step, trouble.kind), (Step::StartTls, TroubleKind::Protocol), "{trouble}");
    }
    assert!(after_plain(&[OFFER, GO]).await.is_ok());
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let (ours, theirs) = duplex(4096);
    let server =
        tokio::spawn(play(theirs, [&OFFER[..2], &[Say(b"250-peer\r\n250 AUTH PLAIN\r\n"), Hear("")]].concat()));
    let trouble = trouble(secured(ours, &endpoint(TlsMode::StartTls)).await);
    assert_eq!((trouble.step, trouble.kind), (Step::StartTls, TroubleKind::Protocol));
    assert!(trouble.detail.contains("does not offer STARTTLS"), "{trouble}");
    assert_eq!(server.await.unwrap().lines[1], "");
}

#[tokio::test]
async fn refusals_before_tls_are_told_as_they_were_said() {
    for (script, wanted, text) in [
        (&[&[Say(b"421-4.3.2 busy\r\n421 4.3.2 later\r\n")][..]][..], Step::Greeting, "421 4.3.2 busy 4.3.2 later"),
        (&[&OFFER[..2], &[Say(b"502 no\r\n")]], Step::Ehlo, "502 no"),
        (&[OFFER, &[Say(b"454 4.7.0 not now\r\n")]], Step::StartTls, "454 4.7.0 not now"),
    ] {
        let Err(Obstacle::Refused { step, reply }) = after_plain(script).await else { panic!("{wanted}") };
        assert_eq!((step, reply.to_string().as_str()), (wanted, text));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_explained() {
    type Change = fn(&mut CertificateParams);
    let table: [(Change, &str); 3] = [
        (|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1), "it has expired"),
        (|params| params.not_before = rcgen::date_time_ymd(4000, 1, 1), "it is not valid yet"),
        (
            |params| params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())],
            "not for the name localhost",
        ),
    ];
    for (change, wanted) in table {
        let (_file, endpoint, acceptor) = trusted(TlsMode::Implicit, change);
        let trouble = handshake_trouble(&endpoint, acceptor).await;
        assert!(trouble.detail.contains(wanted), "{trouble}");
    }
    let (file, mine, _) = trusted(TlsMode::Implicit, |_| {});
    for (authority, wanted) in [("another CA", "knows its issuer"), ("a CA", "share a name but not a key")] {
        let (_, server) = tls_server(authority, |_| {});
        let trouble = handshake_trouble(&mine, TlsAcceptor::from(server)).await;
        assert!(trouble.detail.contains(wanted), "{trouble}");
        assert!(trouble.detail.contains(file.path().to_str().unwrap()), "{trouble}");
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let (_file, _, acceptor) = trusted(TlsMode::Implicit, |_| {});
    let empty = NamedTempFile::new().unwrap();
    for (path, wanted) in
        [("/nonexistent/ca.pem", "No such file"), (empty.path().to_str().unwrap(), "holds no certificate")]
    {
        let endpoint = SmtpEndpoint { ca_file: Some(path.into()), ..endpoint(TlsMode::Implicit) };
        let trouble = handshake_trouble(&endpoint, acceptor.clone()).await;
        assert!(trouble.detail.contains(path) && trouble.detail.contains(wanted), "{trouble}");
    }
}

async fn handshake_trouble(endpoint: &SmtpEndpoint, acceptor: TlsAcceptor) -> Trouble {
    let (ours, theirs) = duplex(4096);
    tokio::spawn(peer(theirs, Vec::new(), acceptor, Vec::new()));
    let trouble = trouble(secured(ours, endpoint).await);
    assert_eq!((trouble.step, trouble.kind), (Step::Tls, TroubleKind::Tls));
    trouble
}

#[tokio::test]
async fn a_server_that_greets_where_tls_was_expected_is_explained() {
    let (_file, endpoint, _) = trusted(TlsMode::Implicit, |_| {});
    let (ours, theirs) = duplex(4096);
    tokio::spawn(play(theirs, vec![Say(b"220 peer ESMTP\r\n"), Hear("")]));
    let trouble = trouble(secured(ours, &endpoint).await);
    assert!(trouble.detail.contains("tls = \"starttls\""), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn silence_on_port_465_and_a_handshake_without_end_are_timed_out() {
    let (ours, _theirs) = duplex(4096);
    let trouble_465 = trouble(secured(ours, &SmtpEndpoint { port: 465, ..endpoint(TlsMode::StartTls) }).await);
    assert_eq!((trouble_465.step, trouble_465.kind), (Step::Greeting, TroubleKind::TimedOut));
    assert!(trouble_465.detail.contains("tls = \"implicit\""), "{trouble_465}");
    let (ours, _theirs) = duplex(4096);
    let (_file, endpoint, _) = trusted(TlsMode::Implicit, |_| {});
    let handshake = trouble(secured(ours, &endpoint).await);
    assert_eq!((handshake.step, handshake.kind), (Step::Tls, TroubleKind::TimedOut));
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let endpoint = SmtpEndpoint { host: "127.0.0.1".into(), port, ..endpoint(TlsMode::None) };
    let trouble = dial(&endpoint, &peer_name(&endpoint), &Timeouts::default(), &Unwatched).await.unwrap_err();
    assert_eq!((trouble.step, trouble.kind), (Step::Connect, TroubleKind::Connect));
    assert!(trouble.detail.contains(&format!("127.0.0.1:{port}: Connection refused")), "{trouble}");
}

#[tokio::test]
async fn every_address_is_tried_and_small_writes_go_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    let shut = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stream = connect_any(&[shut, open], "peer", &Timeouts::default()).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    let endpoint = SmtpEndpoint { host: "127.0.0.1".into(), port: open.port(), ..endpoint(TlsMode::None) };
    assert!(dial(&endpoint, "peer", &Timeouts::default(), &Unwatched).await.unwrap().nodelay().unwrap());
}

#[test]
fn a_password_goes_in_plain_text_to_this_machine_only() {
    let login = Some(password("tim", Secret::Env("PASSWORD".into())));
    let with = |tls, login| SmtpEndpoint { login, ..endpoint(tls) };
    let (near, far) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
    assert!(refuse_plain_text(&with(TlsMode::None, login.clone()), near).is_ok());
    assert!(refuse_plain_text(&with(TlsMode::None, None), far).is_ok());
    assert!(refuse_plain_text(&with(TlsMode::StartTls, login.clone()), far).is_ok());
    let trouble = refuse_plain_text(&with(TlsMode::None, login), far).unwrap_err();
    assert_eq!((trouble.step, trouble.kind), (Step::Auth, TroubleKind::Protocol));
}

#[test]
fn peers_are_named_as_people_write_them() {
    let named = |host: &str| peer_name(&SmtpEndpoint { host: host.into(), ..endpoint(TlsMode::StartTls) });
    assert_eq!([named("smtp.office365.com"), named("::1")], ["smtp.office365.com:587", "[::1]:587"]);
}
