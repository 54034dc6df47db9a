//! A client to test with: writes frames, well or badly formed, and the decoder that reads them.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use super::*;

mod compressed;
mod encoded;
mod generated;
mod library;
mod offers;
mod rules;

/// Large enough for every test that is not about limits.
const LIMITS: Limits = Limits { message: 1 << 20, fragments: 1000 };

const DEFLATE: Option<Deflate> = Some(Deflate { server_max_window_bits: 15 });

const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// A masked frame. `first`: flags and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = announce(first, payload.len() as u64, mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame.
fn announce(first: u8, length: u64, mask: [u8; 4]) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..126 => header.push(0x80 | length as u8),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(mask);
    header
}

/// The first byte of a server's frame, and the size of its header.
fn header(frame: &[u8]) -> (u8, usize) {
    let size = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (frame[0], size)
}

/// What the payload of a compressed message is (RFC 7692 §7.2.1).
fn compress(message: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(message.len() + 100);
    let mut state = Compress::new(Compression::default(), false);
    state.compress_vec(message, &mut compressed, FlushCompress::Sync).expect("deflated");
    assert_eq!(state.total_in(), message.len() as u64);
    let end = compressed.len() - 4;
    assert_eq!(compressed.split_off(end), [0, 0, 0xff, 0xff]);
    compressed
}

/// All that comes of these reads, and what stops it.
#[derive(PartialEq, Eq, Debug)]
struct Read {
    incoming: Vec<Incoming>,
    fault: Option<Fault>,
}

impl Read {
    fn from<'a>(
        mut decoder: Decoder,
        limits: &Limits,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut read = Self { incoming: Vec::new(), fault: None };
        for mut chunk in chunks {
            loop {
                match decoder.next(&mut chunk, limits) {
                    Ok(Some(incoming)) => read.incoming.push(incoming),
                    Ok(None) => break,
                    Err(fault) => assert_eq!(read.fault.replace(fault), None, "a second fault"),
                }
                assert!(decoder.held() <= limits.message + 512, "{} held", decoder.held());
            }
            assert!(chunk.is_empty(), "more is needed, but {} bytes are left", chunk.len());
        }
        read
    }

    /// In one chunk; in single bytes the same must come.
    fn whole(deflate: Option<Deflate>, bytes: &[u8]) -> Self {
        let whole = Self::from(Decoder::new(deflate), &LIMITS, [bytes]);
        assert_eq!(whole, Self::from(Decoder::new(deflate), &LIMITS, bytes.chunks(1)));
        whole
    }
}

/// What comes of frames without compression, if all is well.
#[track_caller]
fn read(frames: &[Vec<u8>]) -> Vec<Incoming> {
    let read = Read::whole(None, &frames.concat());
    assert_eq!(read.fault, None);
    read.incoming
}

/// How the connection fails.
#[track_caller]
fn fault(frames: &[Vec<u8>]) -> Fault {
    Read::whole(None, &frames.concat()).fault.expect("a fault")
}

fn said(text: &str) -> Incoming {
    Incoming::Text(Bytes::copy_from_slice(text.as_bytes()))
}
