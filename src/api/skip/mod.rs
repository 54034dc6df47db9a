//! Gets over one nested JSON value, whatever its depth, in constant memory.
//!
//! It finds the bracket that closes the value and checks nothing else: what lies between is
//! upstream's word to the client. Most of a response is skipped here, so this is where its cost is:
//! 64 bytes at a time are only asked whether they hold any byte of interest, and how many quotes.
//! Only brackets of the kind that opened the value are counted: in valid JSON the two kinds nest, so
//! the other kind need not be looked at.

/// Bytes looked at together.
const BLOCK: usize = 64;

type Block = [u8; BLOCK];

/// The state between two chunks, inside a value whose opening bracket has been read.
#[derive(Debug, Clone)]
pub struct Skip {
    kind: Kind,
    /// Brackets of this kind still open, the outermost included.
    depth: u64,
    in_string: bool,
    /// The last byte was a backslash that escapes the next one.
    escaped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Array,
    Object,
}

impl Skip {
    /// Inside an array: `[` has been read.
    #[must_use]
    pub const fn array() -> Self {
        Self { kind: Kind::Array, depth: 1, in_string: false, escaped: false }
    }

    /// Inside an object: `{` has been read.
    #[must_use]
    pub const fn object() -> Self {
        Self { kind: Kind::Object, depth: 1, in_string: false, escaped: false }
    }

    /// Whether `byte` is the kind of bracket that ends the value.
    #[must_use]
    pub const fn is_closed_by(&self, byte: u8) -> bool {
        matches!((self.kind, byte), (Kind::Array, b']') | (Kind::Object, b'}'))
    }

    /// Reads on. The number of bytes up to and including the closing bracket, once it has come; what
    /// is fed after that has no meaning.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.kind {
            Kind::Array => self.feed_kind::<b'[', b']'>(bytes),
            Kind::Object => self.feed_kind::<b'{', b'}'>(bytes),
        }
    }

    fn feed_kind<const OPEN: u8, const CLOSE: u8>(&mut self, bytes: &[u8]) -> Option<usize> {
        let (first, rest) = bytes.split_at_checked(BLOCK).unwrap_or((bytes, &[]));
        if let Some(end) = self.copied_block::<OPEN, CLOSE>(first) {
            return Some(end);
        }
        // Where the chunk goes on, the block and the bytes before it can be looked at in place.
        let (blocks, last) = rest.as_chunks();
        let (before, _) = bytes.get(BLOCK - 1..).unwrap_or_default().as_chunks();
        let mut at = BLOCK;
        for (before, block) in before.iter().zip(blocks) {
            if let Some(end) = self.block::<OPEN, CLOSE>(before, block, BLOCK) {
                return Some(at + end);
            }
            at += BLOCK;
        }
        Some(at + self.copied_block::<OPEN, CLOSE>(last)?)
    }

    /// Reads a block, or less, of which the byte before it is in another chunk.
    fn copied_block<const OPEN: u8, const CLOSE: u8>(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut before, mut block) = ([b' '; BLOCK], [b' '; BLOCK]);
        before[0] = if self.escaped { b'\\' } else { b' ' };
        block.get_mut(..bytes.len())?.copy_from_slice(bytes);
        before.get_mut(1..)?.copy_from_slice(block.get(..BLOCK - 1)?);
        self.block::<OPEN, CLOSE>(&before, &block, bytes.len())
    }

    /// Reads a block of which the first `len` bytes are input and the others spaces. `before` holds
    /// the byte before each of its bytes.
    #[inline(always)]
    fn block<const OPEN: u8, const CLOSE: u8>(
        &mut self,
        before: &Block,
        block: &Block,
        len: usize,
    ) -> Option<usize> {
        if before[0] == b'\\' && !self.escaped {
            // The second of two backslashes escapes nothing.
            let mut before = *before;
            before[0] = b' ';
            return self.block_behind::<OPEN, CLOSE>(&before, block, len);
        }
        self.block_behind::<OPEN, CLOSE>(before, block, len)
    }

    /// The same, if `before` begins with a backslash only where that escapes the block's first byte.
    #[inline(always)]
    fn block_behind<const OPEN: u8, const CLOSE: u8>(
        &mut self,
        before: &Block,
        block: &Block,
        len: usize,
    ) -> Option<usize> {
        let glance = Glance::of::<OPEN, CLOSE>(before, block);
        if glance.is_plain {
            self.in_string ^= glance.odd_quotes;
        } else if let Some(end) = self.special_block::<OPEN, CLOSE>(before, block) {
            return Some(end);
        }
        self.escaped = match len.checked_sub(1).map(|last| block.get(last)) {
            Some(Some(b'\\')) => escapes(before, block, len - 1),
            Some(_) => false,
            None => self.escaped,
        };
        None
    }

    /// Reads a block that holds special bytes: brackets, in strings or not, and second backslashes.
    #[inline(never)]
    fn special_block<const OPEN: u8, const CLOSE: u8>(
        &mut self,
        before: &Block,
        block: &Block,
    ) -> Option<usize> {
        let mut quotes = bits(before, block, is_quote);
        let mut special = bits(before, block, is_special::<OPEN, CLOSE>);
        while special != 0 {
            let at = special.trailing_zeros() as usize;
            special &= special - 1;
            let byte = block.get(at).copied().unwrap_or_default();
            if byte == b'\\' {
                // A quote behind an even number of backslashes is one after all.
                let is_quote = block.get(at + 1) == Some(&b'"') && !escapes(before, block, at);
                quotes |= u64::from(is_quote) << at << 1;
            } else if self.in_string ^ is_odd(quotes & ((1 << at) - 1)) {
                // A bracket in a string.
            } else if byte == OPEN {
                self.depth += 1;
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(at + 1);
                }
            }
        }
        self.in_string ^= is_odd(quotes);
        None
    }
}

/// What there is in a block, seen in as few instructions as can be.
struct Glance {
    is_plain: bool,
    odd_quotes: bool,
}

impl Glance {
    // LLVM turns this loop into vector instructions of the baseline target, 16 bytes each;
    // `bench/instructions` shows when it no longer does.
    #[inline(always)]
    fn of<const OPEN: u8, const CLOSE: u8>(before: &Block, block: &Block) -> Self {
        let mut special = false;
        let mut quotes = 0;
        for (before, byte) in before.iter().zip(block) {
            special |= is_special::<OPEN, CLOSE>(*before, *byte);
            quotes ^= u8::from(is_quote(*before, *byte));
        }
        Self { is_plain: !special, odd_quotes: quotes & 1 == 1 }
    }
}

/// A quote, as far as the byte before it tells: a backslash might itself be escaped.
#[inline(always)]
const fn is_quote(before: u8, byte: u8) -> bool {
    (byte == b'"') & (before != b'\\')
}

#[inline(always)]
const fn is_special<const OPEN: u8, const CLOSE: u8>(before: u8, byte: u8) -> bool {
    (byte == OPEN) | (byte == CLOSE) | ((byte == b'\\') & (before == b'\\'))
}

/// Whether byte `at`, a backslash, escapes the next one: it is the last of an odd number.
#[cold]
fn escapes(before: &Block, block: &Block, at: usize) -> bool {
    let bytes = block.get(..=at).unwrap_or_default();
    let backslashes = bytes.iter().rev().take_while(|byte| **byte == b'\\').count();
    let goes_on = backslashes == bytes.len() && before[0] == b'\\';
    (backslashes % 2 == 1) ^ goes_on
}

/// Bit n says whether byte n of the block is such a byte.
#[inline(always)]
fn bits(before: &Block, block: &Block, is_such: impl Fn(u8, u8) -> bool) -> u64 {
    let mut flags = [0_u8; BLOCK];
    for ((before, byte), flag) in before.iter().zip(block).zip(&mut flags) {
        *flag = u8::from(is_such(*before, *byte));
    }
    let (words, _) = flags.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| {
        // Moves the lowest bits of the eight bytes into the highest byte, in order.
        let gathered = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        (bits << 8) | gathered
    })
}

const fn is_odd(bits: u64) -> bool {
    bits.count_ones() & 1 == 1
}

#[cfg(test)]
mod tests;
