//! One client that is told of events: by an event stream or a WebSocket, plain or over TLS. What it
//! receives is counted, not kept.

use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::http::{Target, ask};
use crate::tls::Certificate;
use crate::websocket::{self, Frames};

/// How clients are told of events.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Way {
    /// By a WebSocket in place of an event stream.
    #[arg(long)]
    websocket: bool,
    /// The message that a WebSocket begins with, to enable push.
    #[arg(long, requires = "websocket")]
    enable: Option<String>,
    /// Whether a WebSocket offers permessage-deflate, which must be agreed then.
    #[arg(long, requires = "websocket")]
    deflate: bool,
    /// The server's certificate, a PEM file; without it there is no TLS.
    #[arg(long)]
    certificate: Option<Certificate>,
}

/// A connection, plain or not.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// See the [module](self).
pub(crate) struct Subscriber {
    connection: Box<dyn Duplex>,
    arrivals: Arrivals,
    /// Arrived but not told yet.
    events: u64,
}

/// Where in what it receives a client stands.
enum Arrivals {
    /// In an event stream: how much of a field's name has been matched.
    EventSource { matched: usize },
    /// In a WebSocket.
    WebSocket(Frames),
}

impl Way {
    /// Opens connection number `n`, as far as the head of the answer, and enables push.
    /// `receive_buffer` in bytes is the kernel's choice unless given.
    pub(crate) async fn open(
        &self,
        target: &Target,
        headers: &[String],
        n: usize,
        receive_buffer: Option<u32>,
    ) -> io::Result<Subscriber> {
        let stream = target.connect(n, receive_buffer).await?;
        let mut connection: Box<dyn Duplex> = match &self.certificate {
            Some(certificate) => Box::new(certificate.handshake(stream).await?),
            None => Box::new(stream),
        };
        let (mut arrivals, early) = if self.websocket {
            let early = websocket::handshake(&mut connection, target, headers, self.deflate);
            (Arrivals::WebSocket(Frames::default()), early.await?)
        } else {
            let headers = [headers, &["Accept: text/event-stream".to_owned()]].concat();
            let request = target.request("GET", &headers, "");
            let (_, early) = ask(&mut connection, &request, "200").await?;
            (Arrivals::EventSource { matched: 0 }, early)
        };
        if let Some(enable) = &self.enable {
            connection.write_all(&websocket::text(enable)?).await?;
            connection.flush().await?;
        }
        let events = arrivals.count(&early)?;
        Ok(Subscriber { connection, arrivals, events })
    }
}

impl Subscriber {
    /// Waits for events; how many there are, one at least.
    ///
    /// # Errors
    /// When the connection ends, too.
    pub(crate) async fn events(&mut self) -> io::Result<u64> {
        while self.events == 0 {
            let Self { connection, arrivals, .. } = self;
            self.events = poll_fn(|context| {
                // Not held while waiting: ten thousand of them would be.
                let mut buffer = [0; 2048];
                let mut buffer = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut *connection).poll_read(context, &mut buffer))?;
                Poll::Ready(match buffer.filled() {
                    [] => Err(io::ErrorKind::UnexpectedEof.into()),
                    arrived => arrivals.count(arrived),
                })
            })
            .await?;
            if let Arrivals::WebSocket(frames) = arrivals
                && !frames.pongs.is_empty()
            {
                connection.write_all(&take(&mut frames.pongs)).await?;
                connection.flush().await?;
            }
        }
        Ok(take(&mut self.events))
    }

    /// Reads on without counting, for who looks at what was sent.
    pub(crate) async fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        crate::http::receive(&mut self.connection, buffer).await
    }
}

impl Arrivals {
    /// How many events are in what arrived.
    fn count(&mut self, arrived: &[u8]) -> io::Result<u64> {
        let mut events = 0;
        match self {
            Self::EventSource { matched } => events = data_lines(arrived, matched),
            Self::WebSocket(frames) => frames.feed(arrived, |_| events += 1)?,
        }
        Ok(events)
    }
}

/// How many `data` fields begin in `bytes`; `matched` carries a part of the word over to the next.
fn data_lines(bytes: &[u8], matched: &mut usize) -> u64 {
    const WORD: &[u8] = b"data:";
    let mut lines = 0;
    for byte in bytes {
        *matched = match WORD.get(*matched) {
            Some(wanted) if wanted == byte => *matched + 1,
            _ => usize::from(WORD.first() == Some(byte)),
        };
        if *matched == WORD.len() {
            lines += 1;
            *matched = 0;
        }
    }
    lines
}
