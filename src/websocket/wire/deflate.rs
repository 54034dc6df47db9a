//! The data of permessage-deflate (RFC 7692 §7.2), without context takeover: each message is
//! inflated and deflated by itself, and nothing is kept between them.

use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::decode::Fault;

/// What permessage-deflate was agreed to (RFC 7692 §7.1): no context takeover both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// How far the client's inflater can look back: two to this many bytes, 8 to 15.
    pub server_max_window_bits: u8,
}

/// Bytes of a message that compression is worth its price for: a shorter one fits a packet anyhow.
pub const MIN_DEFLATE: usize = 256;

/// What a sender cuts off the end of each message (RFC 7692 §7.2.1): the end of an empty block that is
/// not compressed.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// `TAIL`, and then an empty block that is marked the last: nothing but a whole message ends with it.
const ENDING: [u8; 6] = [0, 0, 0xff, 0xff, 0x03, 0];

/// Blocks that a message may have before it must have come to something ...
const FREE_BLOCKS: usize = 1000;

/// ... which is this many bytes for each. A sender needs no more, even one that keeps little memory,
/// or that flushes often; but a block of ten bits, which says nothing, costs as much as hundreds of
/// bytes that do, and a megabyte of them seconds.
const BLOCK: usize = 50;

impl Deflate {
    /// Deflates a message after `prefix` bytes that are left to its frame header. `None`, if that is
    /// not worth it: a message that is too short, that does not get shorter, or that is longer than
    /// the client looks back (within its own length no distance is too far).
    pub(super) fn compress(self, message: &[u8], prefix: usize) -> Option<Vec<u8>> {
        let far =
            self.server_max_window_bits < 15 && message.len() >> self.server_max_window_bits > 0;
        if message.len() < MIN_DEFLATE || far {
            return None;
        }
        let mut frame = Vec::with_capacity(prefix + message.len());
        frame.resize(prefix, 0);
        let mut state = Compress::new(Compression::fast(), false);
        state.compress_vec(message, &mut frame, FlushCompress::Sync).ok()?;
        if frame.len() == frame.capacity() || !frame.ends_with(&TAIL) {
            return None;
        }
        frame.truncate(frame.len() - TAIL.len());
        frame.shrink_to_fit();
        Some(frame)
    }
}

/// Inflates a message of `limit` bytes at most (RFC 7692 §7.2.2).
///
/// # Errors
/// Inflated it is larger (hostile.md B8), it is made to take long, or it is not what a deflater makes.
pub(super) fn inflate(message: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    // JSON shrinks to a quarter or less.
    let guess = message.len().saturating_mul(4).min(limit);
    let mut inflater =
        Inflater { state: Box::default(), blocks: 0, inflated: vec![0; guess], len: 0, limit };
    inflater.feed(message)?;
    if inflater.feed(&ENDING)? { Ok(inflater.finish()) } else { Err(Fault::CORRUPT) }
}

/// flate2 does not tell of blocks, so this is what it stands on. It also needs no window beside the
/// output.
struct Inflater {
    state: Box<DecompressorOxide>,
    blocks: usize,
    /// Zeros from `len` on.
    inflated: Vec<u8>,
    len: usize,
    limit: usize,
}

impl Inflater {
    const FLAGS: u32 = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

    /// Inflates a part of the message; whether it ended with a block marked the last.
    fn feed(&mut self, mut deflated: &[u8]) -> Result<bool, Fault> {
        loop {
            let (status, read, written) =
                decompress(&mut self.state, deflated, &mut self.inflated, self.len, Self::FLAGS);
            deflated = deflated.get(read..).unwrap_or_default();
            self.len += written;
            match status {
                TINFLStatus::HasMoreOutput => self.grow()?,
                TINFLStatus::BlockBoundary => self.count_block()?,
                TINFLStatus::Done => {
                    self.count_block()?;
                    // Others may follow, as if nothing had ended (RFC 7692 §7.2.3.4).
                    self.state.init();
                    if deflated.is_empty() {
                        return Ok(true);
                    }
                }
                TINFLStatus::NeedsMoreInput => return Ok(false),
                _ => return Err(Fault::CORRUPT),
            }
        }
    }

    fn count_block(&mut self) -> Result<(), Fault> {
        self.blocks += 1;
        if self.blocks > FREE_BLOCKS + self.len / BLOCK {
            return Err(Fault::size("compressed data in too many blocks"));
        }
        Ok(())
    }

    /// Doubles the output, up to the one byte more than the limit that tells of too much.
    fn grow(&mut self) -> Result<(), Fault> {
        if self.len > self.limit {
            return Err(Fault::TOO_BIG);
        }
        let most = (self.limit - self.len).saturating_add(1);
        let more = self.len.max(MIN_DEFLATE).min(most);
        self.inflated.reserve_exact(more);
        self.inflated.resize(self.len + more, 0);
        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        let mut inflated = self.inflated;
        inflated.truncate(self.len);
        inflated.shrink_to_fit();
        inflated
    }
}
