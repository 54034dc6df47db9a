//! Encryption held against the RFCs' vectors and a receiver of its own (protocol.md §1.7, hostile.md X12).

use base64::Engine as _;
use proptest::prelude::*;
use receiver::UserAgent;

use super::*;

mod receiver;

/// RFC 8291 §5, appendix A.
const PLAINTEXT: &[u8] = b"When I grow up, I want to be a watermelon";
const AUTH_SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const RECEIVER_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
const RECEIVER_PUBLIC: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const SENDER_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

fn decoded(text: &str) -> Vec<u8> {
    BASE64URL.decode(text).unwrap()
}

fn agent() -> UserAgent {
    let (private, auth) = (decoded(RECEIVER_PRIVATE), decoded(AUTH_SECRET));
    UserAgent::with(private.as_slice().try_into().unwrap(), auth.try_into().unwrap()).unwrap()
}

fn keys() -> Keys {
    Keys::parse(RECEIVER_PUBLIC, AUTH_SECRET).unwrap()
}

#[test]
fn the_example_of_rfc_8291_comes_out_octet_for_octet() {
    let sender = PrivateKey::from_private_key(&ECDH_P256, &decoded(SENDER_PRIVATE)).unwrap();
    let salt = *decoded(BODY).first_chunk().unwrap();
    assert_eq!(encrypt(&keys(), PLAINTEXT, salt, &sender).unwrap(), decoded(BODY));
}

#[test]
fn the_receiver_of_these_tests_reads_the_example_of_rfc_8291() {
    assert_eq!(agent().open(&decoded(BODY)).unwrap(), PLAINTEXT);
}

/// RFC 8188 §3.1, whose key is given instead of agreed upon.
#[test]
fn a_record_is_keyed_as_the_example_of_rfc_8188_has_it() {
    let material = decoded("yqdlZ-tYemfogSmv7Ws5PQ");
    let body = decoded("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
    let (salt, record) = body.split_at(16);
    let prk = Salt::new(HKDF_SHA256, salt).extract(&material);
    let key = expand::<16>(&prk, &[b"Content-Encoding: aes128gcm\0"]).unwrap();
    let nonce = expand::<12>(&prk, &[b"Content-Encoding: nonce\0"]).unwrap();
    assert_eq!(*key, decoded("_wniytB-ofscZDh4tbSjHw").as_slice());
    assert_eq!(*nonce, decoded("Bcs8gkIRKLI8GeI8").as_slice());
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &*key).unwrap());
    let mut record = record[5..].to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key.open_in_place(nonce, Aad::empty(), &mut record).unwrap();
    assert_eq!(opened, b"I am the walrus\x02");
}

#[test]
fn the_longest_message_makes_4096_octets_and_a_longer_one_is_refused() {
    let body = seal(&keys(), &[b'x'; MAX_PLAINTEXT]).unwrap();
    assert_eq!((body.len(), agent().open(&body)), (4096, Some(vec![b'x'; MAX_PLAINTEXT])));
    assert_eq!(seal(&keys(), &[b'x'; MAX_PLAINTEXT + 1]), Err(Unencryptable::TooLong));
}

#[test]
fn no_two_messages_share_salt_or_sender() {
    let [one, other] = [(); 2].map(|()| seal(&keys(), b"same").unwrap());
    assert_ne!(one[..16], other[..16]);
    assert_ne!(one[21..86], other[21..86]);
}

#[test]
fn keys_are_read_with_and_without_padding() {
    let padded = Keys::parse(&format!("{RECEIVER_PUBLIC}="), &format!("{AUTH_SECRET}=="));
    assert_eq!(padded.unwrap(), keys());
}

#[test]
fn a_key_that_is_no_uncompressed_point_of_the_curve_is_refused() {
    let point = decoded(RECEIVER_PUBLIC);
    let mut off_the_curve = point.clone();
    off_the_curve[64] ^= 1;
    let mut hybrid = point.clone();
    hybrid[0] = 6 | (point[64] & 1);
    let compressed = [&[2 | (point[64] & 1)], &point[1..33]].concat();
    let beyond_the_field = [&[4][..], &[0xff; 64]].concat();
    let origin = [&[4][..], &[0; 64]].concat();
    let infinity = vec![0];
    let long = [&point[..], &[0]].concat();
    let bad = [off_the_curve, hybrid, compressed, beyond_the_field, origin, infinity, long];
    for octets in bad {
        let text = BASE64URL.encode(&octets);
        assert_eq!(Keys::parse(&text, AUTH_SECRET), Err(InvalidKeys::P256dh), "{octets:02x?}");
    }
    for text in ["", "=", "BCVx\n", "BCVx sr7N", &RECEIVER_PUBLIC.replace('-', "+")] {
        assert_eq!(Keys::parse(text, AUTH_SECRET), Err(InvalidKeys::P256dh), "{text:?}");
    }
}

#[test]
fn a_secret_of_any_other_length_is_refused() {
    for octets in [0, 15, 17, 32] {
        let text = BASE64URL.encode(vec![7; octets]);
        assert_eq!(Keys::parse(RECEIVER_PUBLIC, &text), Err(InvalidKeys::Auth), "{octets}");
    }
}

#[test]
fn debug_shows_nothing_of_the_keys() {
    assert_eq!(format!("{:?}", keys()), "Keys(…)");
}

proptest! {
    #[test]
    fn what_is_sealed_its_agent_alone_can_open(
        plaintext in proptest::collection::vec(any::<u8>(), 0..=MAX_PLAINTEXT),
        bit in 0_usize..128,
    ) {
        let (agent, mut other) = (agent(), agent());
        other.auth[bit / 8] ^= 1 << (bit % 8);
        let body = seal(&keys(), &plaintext).unwrap();
        prop_assert_eq!(body.len(), plaintext.len() + 103);
        prop_assert_eq!(agent.open(&body), Some(plaintext));
        prop_assert_eq!(other.open(&body), None);
    }

    #[test]
    fn no_text_makes_the_keys_panic(p256dh in ".{0,100}", auth in ".{0,30}") {
        let _ = Keys::parse(&p256dh, &auth);
    }
}
