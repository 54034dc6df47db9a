//! The masking of client frames (RFC 6455 §5.3), undone.

/// Unmasks the next bytes of a payload. Afterwards `mask` is turned to where the rest of it starts.
pub(super) fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(payload.len() % 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_unmasked() {
        // RFC 6455 §5.7.
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, &mut [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn a_payload_in_two_parts_is_unmasked_as_it_would_be_whole() {
        let masked: Vec<u8> = (0..40).collect();
        let mask = [0x6d, 0xb6, 0xb2, 0x80];
        let expected: Vec<u8> =
            masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for cut in 0..=masked.len() {
            let (mut payload, mut turning) = (masked.clone(), mask);
            let (first, second) = payload.split_at_mut(cut);
            unmask(first, &mut turning);
            unmask(second, &mut turning);
            assert_eq!(payload, expected, "cut at {cut}");
        }
    }
}
