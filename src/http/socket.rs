//! One type for every byte stream either side speaks over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connected socket, with or without TLS. TLS state is some kilobytes, so it is boxed: a plain
/// socket, of which there may be very many, stays small.
#[derive(Debug)]
pub enum Socket {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// One stream of an HTTP/2 connection (RFC 8441).
    Http2(Box<TokioIo<Upgraded>>),
}

/// Bytes given to a stream of HTTP/2 at once. hyper copies whatever it is given, and h2 keeps it,
/// whether the client's window has room for it or not: so large a part of a frame would be neither held
/// back nor counted.
const HTTP2_PART: usize = 16 * 1024;

/// Runs `$body` with the pinned inner stream.
macro_rules! inner {
    ($self:ident, $stream:ident => $body:expr) => {
        match $self.get_mut() {
            Socket::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $body
            }
            Socket::Unix(stream) => {
                let $stream = Pin::new(stream);
                $body
            }
            Socket::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $body
            }
            Socket::Http2(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $body
            }
        }
    };
}

impl Socket {
    /// Has the kernel keep no more than `bytes` that the client has not taken (HTTP/2 has its own
    /// window for that).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn limit_unsent(&self, bytes: usize) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => SockRef::from(tcp).set_send_buffer_size(bytes),
            Self::Unix(unix) => SockRef::from(unix).set_send_buffer_size(bytes),
            Self::Tls(tls) => SockRef::from(tls.get_ref().0).set_send_buffer_size(bytes),
            Self::Http2(_) => Ok(()),
        }
    }

    /// Whether ALPN agreed on HTTP/2.
    #[must_use]
    pub fn negotiated_h2(&self) -> bool {
        let Self::Tls(stream) = self else { return false };
        stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let buf = match *self {
            Self::Http2(_) => buf.get(..HTTP2_PART).unwrap_or(buf),
            _ => buf,
        };
        inner!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Http2(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_shutdown(cx))
    }
}

/// How hyper-util's pool learns what ALPN chose.
impl Connection for Socket {
    fn connected(&self) -> Connected {
        if self.negotiated_h2() { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}
