//! Any sequence of messages, in any frames and any reads; and any bytes at all.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What a client sends: a message, how it is cut into frames, and pings between these.
#[derive(Debug, Clone)]
struct Sent {
    payload: Payload,
    compressed: bool,
    cuts: Vec<Index>,
    pings: bool,
}

#[derive(Debug, Clone)]
enum Payload {
    Text(String),
    Binary(Vec<u8>),
}

impl Sent {
    fn any() -> impl Strategy<Value = Self> {
        let payload = prop_oneof![
            "\\PC{0,300}".prop_map(Payload::Text),
            ("[a-z]{1,10}", 0..2000usize).prop_map(|(word, n)| Payload::Text(word.repeat(n))),
            vec(any::<u8>(), 0..300).prop_map(Payload::Binary),
        ];
        (payload, any::<bool>(), vec(any::<Index>(), 0..4), any::<bool>()).prop_map(
            |(payload, compressed, cuts, pings)| Self { payload, compressed, cuts, pings },
        )
    }

    fn expected(&self) -> Vec<Incoming> {
        let ping = Incoming::Ping(Bytes::from_static(b"ping"));
        let mut expected = vec![ping; if self.pings { self.cuts.len() } else { 0 }];
        expected.push(match &self.payload {
            Payload::Text(text) => said(text),
            Payload::Binary(bytes) => Incoming::Binary(bytes.clone().into()),
        });
        expected
    }

    fn frames(&self) -> Vec<u8> {
        let (opcode, payload) = match &self.payload {
            Payload::Text(text) => (TEXT, text.as_bytes()),
            Payload::Binary(bytes) => (BINARY, &bytes[..]),
        };
        let payload = if self.compressed { compress(payload) } else { payload.to_vec() };
        let mut first = opcode | if self.compressed { RSV1 } else { 0 };
        let mut frames = Vec::new();
        let parts = cut(&payload, &self.cuts);
        let last = parts.len() - 1;
        for (number, part) in parts.into_iter().enumerate() {
            frames.extend(frame(first | if number == last { FIN } else { 0 }, part));
            first = CONTINUE;
            if self.pings && number < last {
                frames.extend(frame(FIN | PING, b"ping"));
            }
        }
        frames
    }
}

/// One part more than there are cuts.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let starts = [0].into_iter().chain(ends.clone());
    starts.zip(&ends).map(|(start, end)| &bytes[start..*end]).collect()
}

proptest! {
    #[test]
    fn what_is_sent_comes_out_however_it_is_cut(
        sent in vec(Sent::any(), 0..5),
        reads in vec(any::<Index>(), 0..20),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(Sent::frames).collect();
        let expected: Vec<Incoming> = sent.iter().flat_map(Sent::expected).collect();
        let read = Read::from(Decoder::new(DEFLATE), &LIMITS, cut(&bytes, &reads));
        prop_assert_eq!(read, Read { incoming: expected, fault: None });
    }

    #[test]
    fn the_same_comes_of_any_bytes_however_they_are_cut(
        mut bytes in vec(Sent::any(), 0..3)
            .prop_map(|sent| sent.iter().flat_map(Sent::frames).collect::<Vec<u8>>()),
        wrong in vec((any::<Index>(), any::<u8>()), 0..4),
        reads in vec(any::<Index>(), 0..20),
    ) {
        for (at, byte) in wrong {
            match bytes.len() {
                0 => bytes.push(byte),
                len => bytes[at.index(len)] = byte,
            }
        }
        let limits = Limits { message: 1000, fragments: 3 };
        let whole = Read::from(Decoder::new(DEFLATE), &limits, [&bytes[..]]);
        prop_assert_eq!(&whole, &Read::from(Decoder::new(DEFLATE), &limits, cut(&bytes, &reads)));
        prop_assert_eq!(&whole, &Read::from(Decoder::new(DEFLATE), &limits, bytes.chunks(1)));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200), deflate: bool) {
        Read::whole(DEFLATE.filter(|_| deflate), &bytes);
    }

    #[test]
    fn what_is_compressed_inflates_to_the_same(
        words in vec("[ -~]{1,20}", 1..50),
        picks in vec(any::<Index>(), 0..3000),
        bits in 8u8..=15,
    ) {
        let message: String = picks.iter().map(|pick| pick.get(&words).as_str()).collect();
        let sent = text_deflated(message.as_bytes(), Some(Deflate { server_max_window_bits: bits }));
        let (first, size) = header(&sent);
        let received = if first & RSV1 == 0 {
            sent[size..].to_vec()
        } else {
            deflate::inflate(&sent[size..], message.len()).expect("inflated")
        };
        prop_assert_eq!(received, message.into_bytes());
    }

    #[test]
    fn any_offer_is_read_without_panic(offer in "[ -~]{0,60}|permessage-deflate[;= \",0-9a-z_]{0,40}") {
        let value = http::HeaderValue::from_str(&offer).expect("visible");
        negotiate([&value]);
    }
}
