//! The data of permessage-deflate (RFC 7692 §7.2), without context takeover: each message is
//! inflated and deflated by itself, and nothing is kept between them.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

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

/// Blocks of one message that are marked the last of a stream. RFC 7692 §7.2.1 allows any number, but
/// each costs the clearing of a window.
const MAX_STREAMS: usize = 1000;

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
/// Inflated it is larger (hostile.md B8), or it is not what a deflater makes.
pub(super) fn inflate(message: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut inflater = Inflater::new(message.len(), limit);
    inflater.feed(message)?;
    if inflater.feed(&ENDING)? { Ok(inflater.inflated) } else { Err(Fault::CORRUPT) }
}

struct Inflater {
    state: Decompress,
    /// Streams of which the last block has come.
    streams: usize,
    inflated: Vec<u8>,
    limit: usize,
}

impl Inflater {
    fn new(deflated: usize, limit: usize) -> Self {
        // JSON shrinks to a quarter or less.
        let guess = deflated.saturating_mul(4).min(limit);
        let inflated = Vec::with_capacity(guess);
        Self { state: Decompress::new(false), streams: 0, inflated, limit }
    }

    /// Inflates a part of the message; whether it ended with the last block of a stream.
    fn feed(&mut self, mut deflated: &[u8]) -> Result<bool, Fault> {
        loop {
            self.make_room();
            let (read, written) = (self.state.total_in(), self.inflated.len());
            let status = self
                .state
                .decompress_vec(deflated, &mut self.inflated, FlushDecompress::Sync)
                .map_err(|_| Fault::CORRUPT)?;
            let used = self.state.total_in() - read;
            deflated =
                usize::try_from(used).ok().and_then(|n| deflated.get(n..)).unwrap_or_default();
            if self.inflated.len() > self.limit {
                return Err(Fault::TOO_BIG);
            }
            let ended = status == Status::StreamEnd;
            if ended {
                self.next_stream()?;
            }
            let flushed = ended || self.inflated.len() < self.inflated.capacity();
            if deflated.is_empty() && flushed {
                return Ok(ended);
            }
            if !ended && used == 0 && self.inflated.len() == written {
                return Err(Fault::CORRUPT);
            }
        }
    }

    /// Grows to twice what is there, and to one byte more than the limit, which tells of too much.
    fn make_room(&mut self) {
        let len = self.inflated.len();
        if len == self.inflated.capacity() {
            let most = self.limit.saturating_sub(len).saturating_add(1);
            self.inflated.reserve_exact(len.max(MIN_DEFLATE).min(most));
        }
    }

    /// What follows the last block of a stream is another stream (RFC 7692 §7.2.3.4).
    fn next_stream(&mut self) -> Result<(), Fault> {
        self.streams += 1;
        if self.streams > MAX_STREAMS {
            return Err(Fault::size("too many compressed streams in a message"));
        }
        self.state.reset(false);
        Ok(())
    }
}
