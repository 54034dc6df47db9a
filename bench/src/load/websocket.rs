//! As much of WebSocket as a load generator needs (RFC 6455): a client's handshake and frames.
//!
//! Messages are counted and measured, not kept, and not inflated where they are compressed. The
//! header of a frame is `tungstenite`'s.

use std::io::{self, Cursor};
use std::mem::take;

use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::http::{Target, ask};

/// Nobody hides anything from what is in between here (§10.3): one for all frames.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];

/// Opens a WebSocket on a connection (§4.1); gives what came along with the answer.
///
/// # Errors
/// Also when `deflate` was not agreed although wanted (RFC 7692 §5).
pub(crate) async fn handshake(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target,
    headers: &[String],
    deflate: bool,
) -> io::Result<Vec<u8>> {
    let mut headers = headers.to_vec();
    headers.extend(
        [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: jmap",
        ]
        .map(str::to_owned),
    );
    if deflate {
        headers.push("Sec-WebSocket-Extensions: permessage-deflate".to_owned());
    }
    let (head, rest) = ask(stream, &target.request("GET", &headers, ""), "101").await?;
    if deflate && !head.contains("permessage-deflate") {
        return Err(io::Error::other(format!("permessage-deflate was not agreed: {head}")));
    }
    Ok(rest)
}

/// The bytes of a text message in one frame.
pub(crate) fn text(message: &str) -> io::Result<Vec<u8>> {
    frame(OpCode::Data(Data::Text), message.as_bytes())
}

fn frame(opcode: OpCode, payload: &[u8]) -> io::Result<Vec<u8>> {
    let header = FrameHeader { opcode, mask: Some(MASK), ..FrameHeader::default() };
    let length = u64::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    header.format(length, &mut frame).map_err(io::Error::other)?;
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(frame)
}

/// What a server sends, put together from the pieces in which it arrives.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of a frame.
    begun: Vec<u8>,
    /// Bytes that fragments of a message have had so far.
    fragments: usize,
    /// Answers to pings, to be sent.
    pub(crate) pongs: Vec<u8>,
}

impl Frames {
    /// Takes what has arrived; `message` is told the length of each message that ends with it.
    ///
    /// # Errors
    /// When the server closes the WebSocket, or sends what is no frame.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut message: impl FnMut(usize)) -> io::Result<()> {
        let mut begun = take(&mut self.begun);
        let bytes = if begun.is_empty() {
            bytes
        } else {
            begun.extend_from_slice(bytes);
            &begun
        };
        let mut rest = bytes;
        loop {
            let mut cursor = Cursor::new(rest);
            let Some((header, length)) =
                FrameHeader::parse(&mut cursor).map_err(io::Error::other)?
            else {
                break;
            };
            let begin = usize::try_from(cursor.position()).map_err(io::Error::other)?;
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let Some((payload, after)) = rest[begin..].split_at_checked(length) else { break };
            rest = after;
            match header.opcode {
                OpCode::Data(_) => {
                    self.fragments += length;
                    if header.is_final {
                        message(take(&mut self.fragments));
                    }
                }
                OpCode::Control(Control::Ping) => {
                    self.pongs.extend(frame(OpCode::Control(Control::Pong), payload)?);
                }
                OpCode::Control(Control::Close) => {
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(io::Error::other(format!("closed: {code:?} {reason}")));
                }
                OpCode::Control(_) => {}
            }
        }
        self.begun = rest.to_vec();
        Ok(())
    }
}
