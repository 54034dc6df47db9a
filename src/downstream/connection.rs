//! One client connection: which HTTP it speaks, and who serves that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;

use super::dispatch::{Connection, Dispatch};
use super::guard::Rejection;
use crate::drain::{Drain, Phase};
use crate::http::Body;
use crate::http::prefixed::Prefixed;
use crate::http::socket::Socket;
use crate::streams::Engine;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Header fields of one request.
pub(super) const HEADERS: usize = 100;

/// What all connections share.
pub struct Connections {
    /// Answers requests.
    pub dispatch: Arc<Dispatch>,
    /// Takes streams.
    pub engine: Arc<Engine>,
    /// The end.
    pub drain: Drain,
}

impl Connections {
    /// Serves a connection to its end, or until a stream has left it. `room` is its place among
    /// all connections.
    pub async fn serve(
        &self,
        mut socket: Socket,
        connection: Connection,
        room: OwnedSemaphorePermit,
    ) {
        let settings = &self.dispatch.config.downstream;
        let agreed = socket.negotiated_h2();
        let mut beginning = Beginning::default();
        // HTTP/2 begins with a preface; by prior knowledge, anything else is HTTP/1.
        if agreed || (settings.http2 && !connection.tls) {
            // Who has agreed on HTTP/2 has something to say; others may connect ahead of need.
            let first = if agreed { settings.header_timeout } else { settings.keep_alive };
            tokio::select! {
                read = beginning.read(&mut socket, first, settings.header_timeout) => {
                    if read.is_err() { return }
                }
                () = self.drain.reached(Phase::Draining) => return,
            }
        }
        let is_preface = beginning.bytes() == PREFACE;
        let socket = Prefixed::new(beginning.bytes(), socket);
        match (agreed, is_preface) {
            (_, true) => self.http2(socket, connection).await,
            (false, false) => self.http1(socket, connection, room).await,
            // RFC 9113 §3.4: not HTTP/2, whatever was agreed.
            (true, false) => {}
        }
    }
}

/// The first bytes of a connection, as long as they may be the preface.
#[derive(Default)]
struct Beginning {
    bytes: [u8; PREFACE.len()],
    read: usize,
}

impl Beginning {
    fn bytes(&self) -> &[u8] {
        self.bytes.split_at(self.read).0
    }

    /// Reads until the bytes are the preface or can no longer become it: the first within `first`, the
    /// others within `others`.
    ///
    /// # Errors
    ///
    /// The client is late, or gone without a word.
    async fn read(
        &mut self,
        socket: &mut Socket,
        first: Duration,
        others: Duration,
    ) -> io::Result<()> {
        tokio::time::timeout(first, self.read_more(socket)).await??;
        tokio::time::timeout(others, async {
            while PREFACE.starts_with(self.bytes()) && self.read < PREFACE.len() {
                if self.read_more(socket).await? == 0 {
                    break;
                }
            }
            Ok(())
        })
        .await?
    }

    async fn read_more(&mut self, socket: &mut Socket) -> io::Result<usize> {
        let more = socket.read(self.bytes.split_at_mut(self.read).1).await?;
        self.read += more;
        if self.read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(more) }
    }
}

/// The answer to a request that breaks a rule.
pub(super) fn refused(rejection: Rejection) -> Response<Body> {
    rejection.response().map(super::dispatch::boxed)
}
