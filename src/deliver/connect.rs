//! From a host name to a connection that is encrypted, greeted and ready for AUTH or MAIL. What goes before TLS is
//! spoken here and not by the SMTP library, so that nothing sent in plain text is ever taken for the encrypted server's
//! word.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::extensions::Extensions;
use super::lettre::Connection;
use super::replies::ReplyReader;
use super::timeouts::{ADDRESSES, Timeouts};
use super::tls;
use super::trouble::{broken, protocol, within};
use super::witness::{Sight, Witness};
use crate::config::{SmtpEndpoint, TlsMode};
use crate::schedule::attempt::{Obstacle, Step, Trouble, TroubleKind};
use crate::smtp::Reply;
use crate::time::spoken;

/// What a conversation runs over: a socket, TLS upon it, or a test's pipe.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin + 'static> Stream for S {}

/// The smarthost as sentences name it: `smtp.office365.com:587`.
pub(super) fn peer_name(endpoint: &SmtpEndpoint) -> String {
    match endpoint.host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, endpoint.port).to_string(),
        Err(_) => format!("{}:{}", endpoint.host, endpoint.port),
    }
}

/// Resolves the host and connects to the first of its addresses that lets us. Credentials and plain text go together
/// only on this machine.
pub(super) async fn dial(
    endpoint: &SmtpEndpoint,
    peer: &str,
    timeouts: &Timeouts,
    witness: &dyn Witness,
) -> Result<TcpStream, Trouble> {
    let addresses = resolve(endpoint, peer, timeouts).await?;
    witness.saw(Sight::Addresses(&addresses));
    let stream = connect_any(&addresses, peer, timeouts).await?;
    let address = stream.peer_addr().map_err(|error| broken(Step::Connect, peer, &error))?;
    witness.saw(Sight::Connected(address));
    refuse_plain_text(endpoint, address.ip())?;
    // Content and its final dot are written apart: with Nagle's algorithm the dot waits for the peer's delayed ACK, 40
    // ms each message. Without the option the connection is slower, not broken.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Whether the host lets anybody connect just now. Says nothing there, and hangs up at once.
pub(super) async fn is_reached(endpoint: &SmtpEndpoint) -> bool {
    let (timeouts, peer) = (Timeouts::of_a_knock(), peer_name(endpoint));
    match resolve(endpoint, &peer, &timeouts).await {
        Ok(addresses) => connect_any(&addresses, &peer, &timeouts).await.is_ok(),
        Err(_) => false,
    }
}

/// Takes a fresh stream through greeting, EHLO and TLS as the endpoint wants them.
pub(super) async fn secure(
    stream: impl Stream,
    endpoint: &SmtpEndpoint,
    peer: &str,
    timeouts: &Timeouts,
    witness: &dyn Witness,
) -> Result<(Connection, Extensions), Obstacle> {
    let (connection, extensions) = match endpoint.tls {
        TlsMode::None => {
            let stream = greet(stream, endpoint, peer, timeouts, witness).await?.into_stream(Step::Greeting)?;
            Connection::hello(stream, &endpoint.ehlo, peer, timeouts.ehlo).await?
        }
        TlsMode::Implicit => {
            let stream =
                tls::handshake(stream, endpoint, peer, timeouts.tls, witness).await.map_err(Obstacle::Trouble)?;
            let stream = greet(stream, endpoint, peer, timeouts, witness).await?.into_stream(Step::Greeting)?;
            Connection::hello(stream, &endpoint.ehlo, peer, timeouts.ehlo).await?
        }
        TlsMode::StartTls => {
            let plain = greet(stream, endpoint, peer, timeouts, witness).await?;
            let stream = start_tls(plain, endpoint, timeouts).await?;
            let stream =
                tls::handshake(stream, endpoint, peer, timeouts.tls, witness).await.map_err(Obstacle::Trouble)?;
            Connection::hello(stream, &endpoint.ehlo, peer, timeouts.ehlo).await?
        }
    };
    witness.saw(Sight::Offered(&extensions));
    Ok((connection, extensions))
}

async fn resolve(endpoint: &SmtpEndpoint, peer: &str, timeouts: &Timeouts) -> Result<Vec<SocketAddr>, Trouble> {
    let host = &endpoint.host;
    let detail = match timeout(timeouts.resolve, lookup_host((host.as_str(), endpoint.port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            format!("the name {host} has no address; is the host of {peer} spelt right?")
        }
        Ok(Err(error)) => {
            format!("the name {host} cannot be looked up: {error}; is it spelt right, and does DNS work here?")
        }
        Err(_) => {
            format!("looking up the name {host} took more than {}; does DNS work here?", spoken(timeouts.resolve))
        }
    };
    Err(Trouble { step: Step::Resolve, kind: TroubleKind::Resolve, detail })
}

async fn connect_any(addresses: &[SocketAddr], peer: &str, timeouts: &Timeouts) -> Result<TcpStream, Trouble> {
    let mut failures = Vec::new();
    for address in addresses.iter().take(ADDRESSES as usize) {
        match timeout(timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer within {}", spoken(timeouts.connect))),
        }
    }
    let failures = failures.join("; ");
    let detail =
        format!("no connection to {peer} ({failures}); are host and port right, and does the firewall let it out?");
    Err(Trouble { step: Step::Connect, kind: TroubleKind::Connect, detail })
}

fn refuse_plain_text(endpoint: &SmtpEndpoint, address: IpAddr) -> Result<(), Trouble> {
    if endpoint.tls != TlsMode::None || endpoint.login.is_none() || address.to_canonical().is_loopback() {
        return Ok(());
    }
    let detail = format!("the password is not sent to {address} in plain text; set tls = \"starttls\" or \"implicit\"");
    Err(protocol(Step::Auth, detail))
}

async fn greet<'a, S: Stream>(
    stream: S,
    endpoint: &SmtpEndpoint,
    peer: &'a str,
    timeouts: &Timeouts,
    witness: &dyn Witness,
) -> Result<Dialogue<'a, S>, Obstacle> {
    let mut dialogue = Dialogue { stream, reader: ReplyReader::default(), peer };
    let reply = within(timeouts.greeting, Step::Greeting, peer, dialogue.reply()).await.map_err(|mut trouble| {
        // The usual reason of silence: each side waits for the other to speak first.
        if endpoint.port == 465 && endpoint.tls != TlsMode::Implicit {
            trouble.detail.push_str("; port 465 wants tls = \"implicit\"");
        }
        Obstacle::Trouble(trouble)
    })?;
    let reply = positive(Step::Greeting, reply)?;
    witness.saw(Sight::Greeting(&reply));
    Ok(dialogue)
}

/// EHLO and STARTTLS, and the bare stream behind them.
async fn start_tls<S: Stream>(
    mut plain: Dialogue<'_, S>,
    endpoint: &SmtpEndpoint,
    timeouts: &Timeouts,
) -> Result<S, Obstacle> {
    let peer = plain.peer;
    let hello = format!("EHLO {}\r\n", endpoint.ehlo);
    let reply = within(timeouts.ehlo, Step::Ehlo, peer, plain.command(&hello)).await.map_err(Obstacle::Trouble)?;
    let reply = positive(Step::Ehlo, reply)?;
    if !Extensions::of(&reply).start_tls {
        let detail = format!(
            "{peer} does not offer STARTTLS, and mail never goes out in plain text instead; either the port is wrong, \
             or something between (an antivirus program, a firewall) removes the offer"
        );
        return Err(Obstacle::Trouble(protocol(Step::StartTls, detail)));
    }
    let reply = within(timeouts.tls, Step::StartTls, peer, plain.command("STARTTLS\r\n")).await;
    positive(Step::StartTls, reply.map_err(Obstacle::Trouble)?)?;
    plain.into_stream(Step::StartTls)
}

fn positive(step: Step, reply: Reply) -> Result<Reply, Obstacle> {
    if reply.code / 100 == 2 { Ok(reply) } else { Err(Obstacle::Refused { step, reply }) }
}

/// Commands and replies before the SMTP library takes over.
struct Dialogue<'a, S> {
    stream: S,
    reader: ReplyReader,
    peer: &'a str,
}

impl<S: Stream> Dialogue<'_, S> {
    async fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut octets = [0; 4096];
        loop {
            if let Some(reply) = self.reader.take() {
                return Ok(reply);
            }
            if let Some(fault) = self.reader.fault() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, fault.clone()));
            }
            match self.stream.read(&mut octets).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.reader.push(&octets[..length]).for_each(drop),
            }
        }
    }

    /// The stream, if nothing came behind the last reply: what did was sent before TLS, by the server or by somebody
    /// between, and would be read as if the encrypted server had said it (RFC 3207 §6, CVE-2021-38371 and others).
    fn into_stream(self, step: Step) -> Result<S, Obstacle> {
        if self.reader.is_quiet() {
            return Ok(self.stream);
        }
        let detail = format!("{} sent more than one reply; somebody between may be injecting commands", self.peer);
        Err(Obstacle::Trouble(protocol(step, detail)))
    }
}

#[cfg(test)]
mod tests;
