//! Upstream's push over its WebSocket (RFC 8887 §4.3.5), for a server without an event source: opened,
//! asked for all types, read to its end. Nothing else is asked over it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming as Body;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::change::{self, Push};
use super::ended::{Ended, Farewell};
use super::event_stream::MOST;
use super::listen::Heard;
use super::template::PING;
use crate::upstream::{Subscription, Upstream};
use crate::websocket::handshake::{JMAP, proof};
use crate::websocket::wire::{Decoder, Incoming, Limits, masked, ping, pong, text};

/// What one message may cost.
const LIMITS: Limits = Limits { message: MOST, fragments: 1000 };

/// Bytes read at one time: push is small.
const READ: usize = 2048;

/// Pings without an answer, or anything else, until the connection is taken for dead.
const MOST_UNANSWERED: u8 = 2;

/// An open WebSocket, push asked for.
#[derive(Debug)]
pub(super) struct Socket<T = TokioIo<Upgraded>> {
    carrier: T,
    decoder: Decoder,
    /// What came and has not been looked at. Nothing, unless a message is in it.
    unread: BytesMut,
    /// The last `pushState`.
    state: Option<Box<str>>,
}

/// Completes a request: `headers` are those that authenticate, and what the operator adds.
///
/// # Errors
/// When there is no WebSocket, or no push over it, and why.
pub(super) async fn open(
    upstream: &Upstream,
    mut request: Request<crate::http::Body>,
    (place, state): (usize, Option<&str>),
) -> Result<Socket, Farewell> {
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    write_headers(request.headers_mut(), &key)?;
    let response = upstream.subscribe(request, Subscription(place)).await.map_err(Ended::from)?;
    check(&response, &key)?;
    let carrier = hyper::upgrade::on(response).await.map_err(|_| Ended::Broken)?;
    let mut socket = Socket::new(TokioIo::new(carrier));
    let patience = upstream.settings().response_timeout;
    match timeout(patience, socket.enable(state)).await {
        Ok(Ok(())) => Ok(socket),
        Ok(Err(ended)) => Err(ended.into()),
        // It answers no ping, which it must (RFC 6455 §5.5.2), or does not even read.
        Err(_) => Err(Ended::Silent.into()),
    }
}

fn write_headers(headers: &mut HeaderMap, key: &str) -> Result<(), Ended> {
    let key = HeaderValue::from_str(key).map_err(|_| Ended::NoStream)?;
    headers.insert(SEC_WEBSOCKET_KEY, key);
    for (name, value) in [
        (CONNECTION, "Upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_VERSION, "13"),
        (SEC_WEBSOCKET_PROTOCOL, JMAP),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(())
}

/// Whether the handshake is complete (RFC 6455 §4.1; W4).
fn check(response: &Response<Body>, key: &str) -> Result<(), Farewell> {
    let status = response.status().as_u16();
    if status != 101 {
        return Err(super::attempt::refusal(status, response.headers()));
    }
    let is = |name, value: &str| response.headers().get(name).is_some_and(|it| it == value);
    let complete =
        is(SEC_WEBSOCKET_ACCEPT, &proof(key.as_bytes())) && is(SEC_WEBSOCKET_PROTOCOL, JMAP);
    if complete { Ok(()) } else { Err(Ended::NoStream.into()) }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    pub(super) fn new(carrier: T) -> Self {
        Self { carrier, decoder: Decoder::of_server(), unread: BytesMut::new(), state: None }
    }

    /// Asks for push, all types, and waits until upstream has read that: messages are read in order.
    /// What it tells meanwhile is found by the probe that follows.
    async fn enable(&mut self, state: Option<&str>) -> Result<(), Ended> {
        const ENABLE: &str = "WebSocketPushEnable";
        let wish = match state {
            None => json!({ "@type": ENABLE, "dataTypes": null }),
            Some(state) => json!({ "@type": ENABLE, "dataTypes": null, "pushState": state }),
        };
        self.send(&text(wish.to_string().as_bytes())).await?;
        self.send(&ping(b"jmap")).await?;
        loop {
            match self.next().await? {
                Incoming::Pong => return Ok(()),
                Incoming::Text(text) if change::is_error(&text) => return Err(Ended::NoStream),
                Incoming::Text(text) => self.note_state(&text),
                Incoming::Ping(payload) => self.send(&pong(&payload)).await?,
                _ => {}
            }
        }
    }

    /// Listens to the end, which comes, too, when upstream answers no pings.
    ///
    /// Cancel safety: may be dropped at any time.
    pub(super) async fn listen(mut self, mut hear: impl FnMut(Heard)) -> Farewell {
        let mut unanswered = 0;
        let ended = loop {
            match timeout(PING, self.next()).await {
                Ok(Ok(incoming)) => {
                    unanswered = 0;
                    if let Err(ended) = self.take(incoming, &mut hear).await {
                        break ended;
                    }
                }
                Ok(Err(ended)) => break ended,
                Err(_) if unanswered >= MOST_UNANSWERED => break Ended::Silent,
                Err(_) => {
                    unanswered += 1;
                    if let Err(ended) = self.send(&ping(b"jmap")).await {
                        break ended;
                    }
                }
            }
        };
        Farewell { ended, wait: None, last_id: self.state }
    }

    async fn take(
        &mut self,
        incoming: Incoming,
        hear: &mut impl FnMut(Heard),
    ) -> Result<(), Ended> {
        match incoming {
            Incoming::Ping(payload) => self.send(&pong(&payload)).await?,
            Incoming::Text(text) => {
                self.note_state(&text);
                match change::read(&text, false) {
                    Push::Changes(claims) => hear(Heard::Changes(claims)),
                    Push::Unreadable => hear(Heard::Unreadable),
                    Push::Other => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_state(&mut self, text: &[u8]) {
        if let Some(state) = change::push_state(text) {
            self.state = Some(state);
        }
    }

    /// The next thing that came.
    ///
    /// Cancel safety: nothing that was read is lost.
    async fn next(&mut self) -> Result<Incoming, Ended> {
        loop {
            let mut bytes = &*self.unread;
            let came = self.decoder.next(&mut bytes, &LIMITS).map_err(|_| Ended::Broken)?;
            let used = self.unread.len() - bytes.len();
            self.unread.advance(used);
            match came {
                Some(Incoming::Close(_)) => return Err(Ended::Closed),
                Some(incoming) => return Ok(incoming),
                None => {
                    // Between messages nothing is held.
                    let mut buffer = BytesMut::with_capacity(READ);
                    match self.carrier.read_buf(&mut buffer).await {
                        Ok(0) => return Err(Ended::Closed),
                        Ok(_) => self.unread = buffer,
                        Err(_) => return Err(Ended::Broken),
                    }
                }
            }
        }
    }

    /// Writes a frame. A server that does not read it in the time of a ping is not there.
    async fn send(&mut self, frame: &Bytes) -> Result<(), Ended> {
        let frame = masked(frame, rand::random());
        let sending = async {
            self.carrier.write_all(&frame).await?;
            self.carrier.flush().await
        };
        let sent = timeout(PING, sending).await.map_err(|_| Ended::Silent)?;
        sent.map_err(|_| Ended::Broken)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::time::{Duration, Instant};

    use super::*;
    use crate::websocket::wire::{CloseCode, close};

    /// How listening to a server that does this ends, after how long, and how much was heard.
    async fn listened<F>(server: impl FnOnce(DuplexStream) -> F) -> (Ended, Duration, usize)
    where
        F: Future<Output = ()>,
    {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (began, mut heard) = (Instant::now(), 0);
        let listening = async {
            let farewell = Socket::new(ours).listen(|_| heard += 1).await;
            (farewell.ended, began.elapsed())
        };
        let ((ended, took), ()) = tokio::join!(listening, server(theirs));
        (ended, took, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_no_pings_is_given_up() {
        let (ended, took, _) = listened(async |mut server| {
            let mut pings = Vec::new();
            server.read_to_end(&mut pings).await.unwrap();
            assert!(!pings.is_empty());
        })
        .await;
        assert_eq!((ended, took), (Ended::Silent, 3 * PING));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_writes_and_never_reads_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let began = Instant::now();
        let flood = async { while theirs.write_all(&ping(b"ping")).await.is_ok() {} };
        let listening = timeout(1000 * PING, Socket::new(ours).listen(|_| {}));
        let (farewell, ()) = tokio::join!(listening, flood);
        assert_eq!(farewell.map(|it| it.ended), Ok(Ended::Silent));
        assert_eq!(began.elapsed(), PING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_pings_may_be_silent_otherwise() {
        let (ended, took, _) = listened(async |mut server| {
            let mut ping = [0; 10];
            for _ in 0..10 {
                // Two bytes of header, four of mask, four of payload.
                server.read_exact(&mut ping).await.unwrap();
                server.write_all(&pong(b"")).await.unwrap();
            }
        })
        .await;
        assert_eq!((ended, took), (Ended::Closed, 10 * PING));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_heard_in_any_pieces_until_it_closes() {
        let change = text(br#"{"@type":"StateChange","changed":{"a":{"Email":"1"}}}"#);
        let frames = [change, ping(b"x"), close(CloseCode::Normal, "")].concat();
        for size in [1, 7, 1000] {
            let (ended, _, heard) = listened(async |mut server| {
                for piece in frames.chunks(size) {
                    server.write_all(piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            assert_eq!((ended, heard), (Ended::Closed, 1), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_server_may_send_ends_it() {
        let (ended, ..) = listened(async |mut server| {
            server.write_all(&masked(&text(b"{}"), [1, 2, 3, 4])).await.unwrap();
        })
        .await;
        assert_eq!(ended, Ended::Broken);
    }
}
