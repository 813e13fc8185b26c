//! What sessions run over: a socket of either kind, plain or behind TLS.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::tls::{Acceptor, HandshakeFailed};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Whether something has come that nobody has read. Asks the system and does not wait.
    fn has_input(&self) -> bool {
        let mut octet = [MaybeUninit::uninit()];
        let looked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut octet),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut octet),
        };
        matches!(looked, Ok(1..))
    }

    /// Waits until something has come, and leaves it there. False where the client hangs up instead.
    pub(super) async fn speaks(&self) -> bool {
        let mut octet = [MaybeUninit::uninit()];
        let look = Interest::READABLE;
        let looked = match self {
            Self::Tcp(stream) => stream.async_io(look, || SockRef::from(stream).peek(&mut octet)).await,
            Self::Unix(stream) => stream.async_io(look, || SockRef::from(stream).peek(&mut octet)).await,
        };
        matches!(looked, Ok(1..))
    }
}

/// A connection, and by what it can become an encrypted one.
#[derive(Debug)]
pub(super) struct Stream<S> {
    layer: Layer<S>,
    acceptor: Option<Acceptor>,
    /// How long a handshake may take.
    limit: Duration,
}

#[derive(Debug)]
enum Layer<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// Its handshake was given up.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// A plain connection. `timeout` is how long the client may take for a step.
    pub(super) fn plain(socket: S, acceptor: Option<Acceptor>, timeout: Duration) -> Self {
        Self { layer: Layer::Plain(socket), acceptor, limit: timeout.min(HANDSHAKE_LIMIT) }
    }

    /// Shakes hands. What was not read before belongs to the handshake.
    ///
    /// # Errors
    /// Why there is no TLS. Of the stream remains what can be closed.
    pub(super) async fn secure(&mut self) -> Result<(), HandshakeFailed> {
        let acceptor = self.acceptor.clone().ok_or_else(HandshakeFailed::no_certificate)?;
        let socket = match std::mem::replace(&mut self.layer, Layer::Gone) {
            Layer::Plain(socket) => socket,
            other => {
                self.layer = other;
                return Ok(());
            }
        };
        match timeout(self.limit, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => {
                self.layer = Layer::Tls(Box::new(stream));
                Ok(())
            }
            Ok(Err((failed, socket))) => {
                self.layer = Layer::Plain(socket);
                Err(failed)
            }
            Err(_) => Err(HandshakeFailed::timed_out(acceptor.mode(), self.limit)),
        }
    }
}

impl Stream<Socket> {
    /// Whether the client has sent something that nobody has read, as far as the socket shows it.
    pub(super) fn has_input(&self) -> bool {
        match &self.layer {
            Layer::Plain(socket) => socket.has_input(),
            Layer::Tls(stream) => stream.get_ref().0.has_input(),
            Layer::Gone => false,
        }
    }
}

/// How long a handshake may take where the time for a step is longer: it is a few packets, however slow the link.
pub(super) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            // Devices hang up without close_notify, which is an error here. What ends a message is CRLF.CRLF, so nothing is
            // cut short unseen.
            Layer::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Layer::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Layer::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Layer::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Layer::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Layer::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
