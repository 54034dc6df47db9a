//! Gets over one nested JSON value, whatever its depth, in constant memory.
//!
//! It finds the bracket that closes the value and checks nothing else: what lies between is
//! upstream's word to the client. Most of a response is skipped here, so this is where its cost is:
//! 64 bytes at a time are only asked whether they hold any byte of interest, and how many quotes.
//! Only brackets of the kind that opened the value are counted: in valid JSON the two kinds nest, so
//! the other kind need not be looked at.

/// Bytes looked at together.
const BLOCK: usize = 64;

/// The state between two chunks, inside a value whose opening bracket has been read.
#[derive(Debug, Clone)]
pub struct Skip {
    open: u8,
    close: u8,
    /// Brackets of this kind still open, the outermost included.
    depth: u64,
    in_string: bool,
    /// The last byte was a backslash that escapes the next one.
    escaped: bool,
}

impl Skip {
    /// Inside an array: `[` has been read.
    #[must_use]
    pub const fn array() -> Self {
        Self { open: b'[', close: b']', depth: 1, in_string: false, escaped: false }
    }

    /// Inside an object: `{` has been read.
    #[must_use]
    pub const fn object() -> Self {
        Self { open: b'{', close: b'}', depth: 1, in_string: false, escaped: false }
    }

    /// Whether `byte` is the kind of bracket that ends the value.
    #[must_use]
    pub const fn is_closed_by(&self, byte: u8) -> bool {
        byte == self.close
    }

    /// Reads on. The number of bytes up to and including the closing bracket, once it has come; what
    /// is fed after that has no meaning.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            if let Some(end) = self.block(block, BLOCK) {
                return Some(index * BLOCK + end);
            }
        }
        let mut last = [b' '; BLOCK];
        last.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(blocks.len() * BLOCK + self.block(&last, rest.len())?)
    }

    /// Reads a block of which the first `len` bytes are input and the others spaces.
    #[inline]
    fn block(&mut self, block: &[u8; BLOCK], len: usize) -> Option<usize> {
        let glance = glance(block, self.open);
        if glance.plain && !self.escaped {
            self.in_string ^= glance.odd_quotes;
            return None;
        }
        self.block_with_brackets(block, len)
    }

    /// The same for a block that holds backslashes or brackets, in strings or not.
    #[inline(never)]
    fn block_with_brackets(&mut self, block: &[u8; BLOCK], len: usize) -> Option<usize> {
        let (mut quotes, mut special) = masks(block, self.open);
        if self.escaped && len > 0 {
            quotes &= !1;
            special &= !1;
            self.escaped = false;
        }
        while special != 0 {
            let at = special.trailing_zeros() as usize;
            special &= special - 1;
            let in_string = self.in_string ^ is_odd(quotes & ((1 << at) - 1));
            match block.get(at) {
                Some(b'\\') if in_string => {
                    let next = 2_u64.checked_shl(at as u32).unwrap_or(0);
                    quotes &= !next;
                    special &= !next;
                    self.escaped = at + 1 == len;
                }
                Some(byte) if *byte == self.open && !in_string => self.depth += 1,
                Some(byte) if *byte == self.close && !in_string => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        self.in_string ^= is_odd(quotes);
        None
    }
}

/// What there is in a block, in as few instructions as can be.
struct Glance {
    /// No backslash, and no bracket of the kind counted.
    plain: bool,
    odd_quotes: bool,
}

// Both loops are written so that LLVM turns them into vector instructions of the baseline target
// (16 bytes each); `bench/instructions` shows when it no longer does.
#[inline(always)]
fn glance(block: &[u8; BLOCK], open: u8) -> Glance {
    let mask = fold(open);
    let mut special = false;
    let mut quotes = 0;
    for byte in block {
        special |= is_special(*byte, mask);
        quotes ^= u8::from(*byte == b'"');
    }
    Glance { plain: !special, odd_quotes: quotes & 1 == 1 }
}

/// Bit n says that byte n is a quote, and that it is special.
fn masks(block: &[u8; BLOCK], open: u8) -> (u64, u64) {
    let mask = fold(open);
    (bits(&block.map(|byte| byte == b'"')), bits(&block.map(|byte| is_special(byte, mask))))
}

/// The flags as bits, the first one lowest. The product moves the lowest bits of eight bytes into the
/// highest byte, in order.
fn bits(flags: &[bool; BLOCK]) -> u64 {
    let (words, _) = flags.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| {
        let word = u64::from_le_bytes(word.map(u8::from));
        (bits << 8) | (word.wrapping_mul(0x0102_0408_1020_4080) >> 56)
    })
}

/// `[`, `\`, `]` follow each other in ASCII; so do `{`, `|`, `}`, 32 higher. With the mask for objects
/// both triples are special, with that for arrays only the first.
const fn is_special(byte: u8, mask: u8) -> bool {
    (byte & mask).wrapping_sub(b'[') < 3
}

const fn fold(open: u8) -> u8 {
    if open == b'{' { !0x20 } else { !0 }
}

const fn is_odd(bits: u64) -> bool {
    bits.count_ones() & 1 == 1
}

#[cfg(test)]
mod tests;
