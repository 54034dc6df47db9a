//! Against the client of tungstenite: what either writes, the other reads.

use std::io::{self, Cursor, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::*;

/// A connection that is read to its end, and keeps what is written.
struct Memory {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl io::Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(input: Vec<u8>) -> WebSocket<Memory> {
    let memory = Memory { input: Cursor::new(input), output: Vec::new() };
    WebSocket::from_raw_socket(memory, Role::Client, Some(WebSocketConfig::default()))
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,200}".prop_map(Message::text),
        (0..100_000usize).prop_map(|length| Message::text("x".repeat(length))),
        vec(any::<u8>(), 0..200).prop_map(Message::binary),
        vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Ping(payload.into())),
        vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

proptest! {
    #[test]
    fn what_it_writes_is_read(messages in vec(message(), 0..8), chunk in 1..5000usize) {
        let mut client = client(Vec::new());
        for message in &messages {
            client.write(message.clone()).expect("written");
        }
        client.close(None).expect("closed");
        client.flush().expect("flushed");

        let expected: Vec<Incoming> = messages
            .into_iter()
            .map(|message| match message {
                Message::Text(text) => said(text.as_str()),
                Message::Binary(bytes) => Incoming::Binary(bytes),
                Message::Ping(payload) => Incoming::Ping(payload),
                _ => Incoming::Pong,
            })
            .chain([Incoming::Close(None)])
            .collect();
        let chunks = client.get_ref().output.chunks(chunk);
        let read = Read::from(Decoder::new(None), &LIMITS, chunks);
        prop_assert_eq!(read, Read { incoming: expected, fault: None });
    }

    #[test]
    fn it_reads_what_is_written(messages in vec(message(), 0..8)) {
        let mut written = Vec::new();
        for message in &messages {
            written.extend(match message {
                Message::Text(payload) => text(payload.as_bytes()),
                Message::Binary(payload) => binary(payload),
                Message::Ping(payload) => ping(payload),
                message => pong(&message.clone().into_data()),
            });
        }
        written.extend(close(CloseCode::Away, "bye"));

        let mut client = client(written);
        for message in messages {
            prop_assert_eq!(client.read().expect("a message"), message);
        }
        let Ok(Message::Close(Some(closed))) = client.read() else { panic!("no close") };
        prop_assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::Away, "bye"));
    }

    #[test]
    fn its_fragments_are_put_together(parts in vec("\\PC{0,50}", 1..6)) {
        let mut client = client(Vec::new());
        let last = parts.len() - 1;
        for (number, part) in parts.iter().enumerate() {
            let data = if number == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(part.clone(), OpCode::Data(data), number == last);
            client.write(Message::Frame(frame)).expect("written");
        }
        client.flush().expect("flushed");

        let read = Read::whole(None, &client.get_ref().output);
        prop_assert_eq!(read, Read { incoming: vec![said(&parts.concat())], fault: None });
    }
}
