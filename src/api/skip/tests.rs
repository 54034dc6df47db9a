//! Blocks against single bytes.

use super::*;

/// What `feed` says, computed byte by byte.
fn end_of(value: &[u8], open: u8) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (1, false, false);
    for (at, byte) in value.iter().enumerate() {
        in_string ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        match in_string {
            false if *byte == open => depth += 1,
            false if *byte == open + 2 => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn fed(mut skip: Skip, chunks: &[&[u8]]) -> Option<usize> {
    let mut before = 0;
    for chunk in chunks {
        if let Some(end) = skip.feed(chunk) {
            return Some(before + end);
        }
        before += chunk.len();
    }
    None
}

#[test]
fn the_closing_bracket_is_found_at_any_place_in_a_block() {
    for length in 0..200 {
        let value = [&vec![b' '; length], &b"]]"[..]].concat();
        assert_eq!(Skip::array().feed(&value), Some(length + 1));
        assert_eq!(Skip::object().feed(&value), None);
    }
}

#[test]
fn brackets_of_the_other_kind_are_not_counted() {
    assert_eq!(Skip::array().feed(b"{}}}[}]]"), Some(8));
    assert_eq!(Skip::object().feed(b"[]]]{]}}"), Some(8));
}

#[test]
fn a_backslash_at_the_end_of_a_chunk_escapes_the_next_byte() {
    let value = br#""\\\"]\\" ] "#;
    for cut in 0..value.len() {
        let (a, b) = value.split_at(cut);
        assert_eq!(fed(Skip::array(), &[a, b"", b]), Some(11), "cut at {cut}");
    }
}

proptest::proptest! {
    #[test]
    fn blocks_are_read_as_bytes_are(
        value in "[a-z\\[\\]{}|\"\\\\ \\\\\"]{0,300}", plain in "[a-z0-9\", ]{0,200}", cut in 0..500_usize,
    ) {
        let value = [plain.as_bytes(), value.as_bytes()].concat();
        let (a, b) = value.split_at(cut.min(value.len()));
        proptest::prop_assert_eq!(fed(Skip::array(), &[a, b]), end_of(&value, b'['));
        proptest::prop_assert_eq!(fed(Skip::object(), &[a, b]), end_of(&value, b'{'));
    }
}
