//! Scripted smarthosts for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

use crate::config::secret::Secret;
use crate::config::{Login, Method, Password, PasswordForm, SmtpEndpoint, TlsMode};
use crate::provider::Mechanism;
use crate::provider::presets::Keep;

/// What a peer does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Sends these octets.
    Say(&'static [u8]),
    /// Reads a line that must begin like this.
    Hear(&'static str),
    /// Reads content up to its final dot.
    Content,
    /// Lets time pass, in a test that owns the clock.
    Wait(Duration),
    /// Says and reads nothing more, but keeps the connection open.
    Silence,
}

/// What a peer heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The lines of [`Act::Hear`].
    pub(super) lines: Vec<String>,
    /// The contents, unstuffed.
    pub(super) contents: Vec<Vec<u8>>,
}

/// Plays the script, then closes.
pub(super) async fn play(stream: impl AsyncRead + AsyncWrite + Unpin, script: Vec<Act>) -> Heard {
    let mut stream = BufReader::new(stream);
    let mut heard = Heard::default();
    for act in script {
        match act {
            Act::Say(octets) => {
                stream.write_all(octets).await.unwrap();
                stream.flush().await.unwrap();
            }
            Act::Hear(wanted) => {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert!(line.starts_with(wanted), "wanted {wanted}, heard {line:?}");
                heard.lines.push(line);
            }
            Act::Content => heard.contents.push(content(&mut stream).await),
            Act::Wait(span) => tokio::time::sleep(span).await,
            Act::Silence => std::future::pending().await,
        }
    }
    heard
}

/// Replies by verb, for transactions whose commands depend on what came before. An empty reply closes.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies {
    pub(super) extensions: &'static str,
    pub(super) mail: &'static str,
    pub(super) rcpt: Vec<&'static str>,
    pub(super) data: &'static str,
    pub(super) end: &'static [u8],
}

/// Answers until the client leaves or a reply closes.
pub(super) async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, replies: Replies) -> Heard {
    let mut stream = BufReader::new(stream);
    let mut heard = Heard::default();
    stream.write_all(b"220 peer\r\n").await.unwrap();
    let (mut rcpt, mut mail_taken, mut line) = (replies.rcpt.iter(), false, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return heard;
        }
        heard.lines.push(line.clone());
        let reply: Vec<u8> = match line.get(..4).unwrap() {
            "EHLO" => format!("250-peer\r\n{}250 HELP\r\n", replies.extensions).into(),
            "MAIL" => {
                mail_taken = replies.mail.starts_with('2');
                replies.mail.into()
            }
            "RCPT" if !mail_taken => b"503 5.5.1 MAIL first\r\n".to_vec(),
            "RCPT" => (*rcpt.next().unwrap()).into(),
            "DATA" if replies.data.starts_with('3') => {
                stream.write_all(replies.data.as_bytes()).await.unwrap();
                heard.contents.push(content(&mut stream).await);
                replies.end.into()
            }
            "DATA" => replies.data.into(),
            "RSET" => b"250 2.0.0 reset\r\n".to_vec(),
            "QUIT" => b"221 2.0.0 bye\r\n".to_vec(),
            _ => b"500 5.5.2 what\r\n".to_vec(),
        };
        if stream.write_all(&reply).await.is_err() || reply.is_empty() || reply.starts_with(b"421") {
            return heard;
        }
    }
}

async fn content(stream: &mut (impl AsyncBufRead + Unpin)) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        assert_ne!(stream.read_until(b'\n', &mut line).await.unwrap(), 0, "closed within the content");
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return content,
            Some(rest) => content.extend_from_slice(rest),
            None => content.extend_from_slice(&line),
        }
    }
}

/// An endpoint without login.
pub(super) fn endpoint(tls: TlsMode) -> SmtpEndpoint {
    SmtpEndpoint {
        host: "localhost".into(),
        port: 587,
        tls,
        ca_file: None,
        certificate: None,
        login: None,
        ehlo: "relay.example.com".into(),
        keep: Keep::default(),
    }
}

/// A login with a password.
pub(super) fn password(username: &str, secret: Secret) -> Login {
    Login {
        username: username.into(),
        password: Some(Password { secret, form: PasswordForm::AsItIs, expires: None }),
        oauth: None,
        prefer: Method::OAuth,
        mechanisms: vec![Mechanism::Plain, Mechanism::Login],
    }
}

/// A new certificate authority of this name as PEM, and a server with a certificate of it.
pub(super) fn tls_server(authority: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, authority);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (pem, Arc::new(config))
}
