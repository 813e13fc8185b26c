//! A client that says what it is told to and hears every byte, over real sockets.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::sandbox::{Sandbox, authority};

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) struct Client {
    stream: BufReader<Box<dyn Duplex>>,
    connector: TlsConnector,
}

pub(super) const MESSAGE: &[u8] =
    b"From: <webmaster@example.com>\r\nSubject: one\r\nMessage-ID: <1@example.com>\r\n\r\n.dot\r\n..\r\nend\r\n";

impl Client {
    /// Connects, and reads nothing.
    pub(super) async fn connect(sandbox: &Sandbox) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(authority::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(sandbox.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Duplex> = Box::new(stream);
        Self { stream: BufReader::new(stream), connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Comes as far as the second EHLO.
    pub(super) async fn secured(sandbox: &Sandbox) -> Self {
        let mut client = Self::connect(sandbox).await;
        assert!(client.reply().await.starts_with("220 "));
        client.say("EHLO relay.example").await;
        assert!(client.say("STARTTLS").await.starts_with("220 "));
        let mut client = client.handshake().await.unwrap();
        client.say("EHLO relay.example").await;
        client
    }

    /// Comes as far as the login.
    pub(super) async fn logged_in(sandbox: &Sandbox) -> Self {
        let mut client = Self::secured(sandbox).await;
        assert_eq!(client.login("open-sesame").await, "235 2.7.0 Authentication successful");
        client
    }

    pub(super) async fn login(&mut self, password: &str) -> String {
        let user = encoded("webmaster@example.com");
        assert_eq!(self.say(&format!("AUTH LOGIN {user}")).await, "334 UGFzc3dvcmQ6");
        self.say(&encoded(password)).await
    }

    pub(super) async fn handshake(self) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.connector.connect(name, self.stream.into_inner()).await?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), connector: self.connector })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        // The sandbox may have hung up; what it said is asked for next.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next reply with its lines parted by line feeds; what there was of it where the connection ended.
    pub(super) async fn reply(&mut self) -> String {
        String::from_utf8_lossy(&self.reply_bytes().await).into_owned()
    }

    pub(super) async fn reply_bytes(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        loop {
            let start = reply.len();
            let read = self.stream.read_until(b'\n', &mut reply).await;
            if !matches!(read, Ok(1..)) || !reply.ends_with(b"\r\n") {
                return reply;
            }
            if reply.get(start + 3) != Some(&b'-') {
                reply.truncate(reply.len() - 2);
                reply.retain(|byte| *byte != b'\r');
                return reply;
            }
        }
    }

    pub(super) async fn say(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Comes as far as the reply to DATA.
    pub(super) async fn data(&mut self, to: &str) -> String {
        assert_eq!(self.say("MAIL FROM:<webmaster@example.com>").await, "250 2.1.0 Sender OK");
        assert_eq!(self.say(&format!("RCPT TO:<{to}>")).await, "250 2.1.5 Recipient OK");
        self.say("DATA").await
    }

    /// Sends content and its end, stuffed.
    pub(super) async fn finish(&mut self, content: &[u8]) -> String {
        let mut stuffed = Vec::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            stuffed.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.write(&stuffed).await;
        self.reply().await
    }

    /// Sends a message and returns the final reply.
    pub(super) async fn send(&mut self, to: &str, content: &[u8]) -> String {
        assert_eq!(self.data(to).await, "354 Start mail input; end with <CRLF>.<CRLF>");
        self.finish(content).await
    }
}

pub(super) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}
