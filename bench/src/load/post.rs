//! API calls, by HTTP or on a WebSocket each: rate, latency and the processor time that each
//! costs the server.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::take;
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::{Target, exchange, receive};
use crate::process::Server;
use crate::streams::count;
use crate::tell;
use crate::websocket::{Frames, handshake, text};

/// Calls are answered with 4 KB; what is shorter is a refusal (RFC 8887 §4.3.4).
const LEAST_ANSWER: usize = 2048;

/// See [`crate::Load::Post`].
#[derive(Debug, clap::Args)]
pub(crate) struct Post {
    /// Where calls go.
    #[arg(long)]
    url: Target,
    /// Header lines of every request.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// How many connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many requests, all connections together.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) requests: usize,
    /// Whether calls are messages on a WebSocket.
    #[arg(long)]
    websocket: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A connection that calls are made on.
struct Caller {
    stream: TcpStream,
    /// Of a WebSocket.
    frames: Option<Frames>,
    buffer: Vec<u8>,
}

impl Post {
    pub(crate) async fn run(self) -> io::Result<()> {
        // Everything that is made once is made now.
        self.calls(self.requests / 10).await?;
        let (spent, began) = (self.server.processor()?, Instant::now());
        let delays = self.calls(self.requests).await?;
        let (spent, took) = (self.server.processor()? - spent, began.elapsed());
        let requests = count(self.requests);
        tell("requests_per_second", requests / took.as_secs_f64());
        tell("processor_us_per_request", spent.as_secs_f64() * 1e6 / requests);
        tell("p50_us", count(delays.value_at_quantile(0.5)) / 1000.0);
        tell("p99_us", count(delays.value_at_quantile(0.99)) / 1000.0);
        Ok(())
    }

    /// Nanoseconds that each of `requests` calls took.
    pub(crate) async fn calls(&self, requests: usize) -> io::Result<Histogram<u64>> {
        // To ten seconds.
        let delays = Histogram::new_with_max(10_000_000_000, 3).map_err(io::Error::other)?;
        let (left, delays) = (Rc::new(Cell::new(requests)), Rc::new(RefCell::new(delays)));
        let request: Rc<[u8]> = if self.websocket {
            message()?.into()
        } else {
            self.url.request("POST", &self.headers, &body("")).into_bytes().into()
        };
        let mut connections = JoinSet::new();
        for n in 0..self.connections {
            let mut caller = self.caller(n).await?;
            let (request, left, delays) =
                (Rc::clone(&request), Rc::clone(&left), Rc::clone(&delays));
            connections.spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let sent = Instant::now();
                    caller.call(&request).await?;
                    let delay = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    delays.borrow_mut().saturating_record(delay);
                }
                io::Result::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        let delays = delays.borrow().clone();
        Ok(delays)
    }

    async fn caller(&self, n: usize) -> io::Result<Caller> {
        let mut stream = self.url.connect(n, None).await?;
        let mut frames = None;
        if self.websocket {
            handshake(&mut stream, &self.url, &self.headers, false).await?;
            frames = Some(Frames::default());
        }
        Ok(Caller { stream, frames, buffer: Vec::with_capacity(16 * 1024) })
    }
}

impl Caller {
    async fn call(&mut self, request: &[u8]) -> io::Result<()> {
        let Self { stream, frames, buffer } = self;
        let Some(frames) = frames else { return exchange(stream, request, buffer).await };
        stream.write_all(request).await?;
        let mut answer = None;
        while answer.is_none() {
            buffer.clear();
            receive(stream, buffer).await?;
            frames.feed(buffer, |length| answer = Some(length))?;
            stream.write_all(&take(&mut frames.pongs)).await?;
        }
        match answer {
            Some(length) if length < LEAST_ANSWER => {
                Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(buffer))))
            }
            _ => Ok(()),
        }
    }
}

/// The call as a message on a WebSocket (RFC 8887 §4.3.2).
pub(crate) fn message() -> io::Result<Vec<u8>> {
    text(&body(r#""@type":"Request","id":"R1","#))
}

/// An API request of 4 KB: a client that asks for e-mails by their ids. `more` stands before its other
/// members.
fn body(more: &str) -> String {
    format!(
        r#"{{{more}"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"],"methodCalls":[{}]}}"#,
        emails()
    )
}

/// Its call.
pub(crate) fn emails() -> String {
    let ids: Vec<_> = (0..240).map(|n| format!(r#""M{n:012x}""#)).collect();
    format!(r#"["Email/get",{{"accountId":"bench","ids":[{}]}},"0"]"#, ids.join(","))
}
