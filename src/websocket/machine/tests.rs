//! What comes of each kind of message, and what comes after the last.

use super::*;

const LIMITS: Limits = Limits { message: 1000, fragments: 10 };

type Out = Output<Bytes>;

/// A frame of a client, masked by zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length <= 125);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A subprotocol that asks whatever text it hears, and understands nothing else.
fn hear(message: Heard, _: Option<Deflate>) -> Out {
    match message {
        Heard::Text(text) => Output::Call(text),
        Heard::Binary(_) => Output::Close(wire::close(CloseCode::Unsupported, "")),
    }
}

fn all(machine: &mut Machine, bytes: &[u8]) -> Vec<Out> {
    let mut bytes = bytes;
    let outputs: Vec<Out> =
        std::iter::from_fn(|| machine.receive(&mut bytes, &LIMITS, hear)).collect();
    assert!(bytes.is_empty());
    outputs
}

fn code(output: &Out) -> u16 {
    let Output::Close(frame) = output else { panic!("{output:?}") };
    assert_eq!(frame[0], 0x88);
    u16::from_be_bytes([frame[2], frame[3]])
}

#[test]
fn messages_are_heard_in_order_and_pings_are_answered_between() {
    let mut machine = Machine::new(None);
    let bytes = [text("a"), frame(0x89, b"p"), text("b"), frame(0x8a, b"unasked")].concat();
    assert_eq!(
        all(&mut machine, &bytes),
        [
            Output::Call(Bytes::from("a")),
            Output::Frame(wire::pong(b"p")),
            Output::Call(Bytes::from("b")),
        ]
    );
    assert!(machine.is_open() && machine.held() == 0);
}

#[test]
fn a_close_is_answered_with_its_code_and_nothing_is_heard_after_it() {
    for (payload, expected) in [(&b""[..], 1000), (&4321_u16.to_be_bytes(), 4321)] {
        let mut machine = Machine::new(None);
        let outputs = all(&mut machine, &[frame(0x88, payload), text("late")].concat());
        assert_eq!(outputs.len(), 1);
        assert_eq!(code(&outputs[0]), expected);
        assert!(machine.is_closed());
    }
}

#[test]
fn after_our_close_only_the_clients_is_waited_for() {
    let mut machine = Machine::new(None);
    machine.close();
    assert!(!machine.is_open() && !machine.is_closed());
    assert_eq!(all(&mut machine, &[text("late"), frame(0x89, b"p")].concat()), []);
    assert_eq!(all(&mut machine, &frame(0x88, b"")), []);
    assert!(machine.is_closed());
}

/// Who takes no close frame would have us hold what nobody counts, for as long as that may take.
#[test]
fn after_our_close_nothing_large_is_held() {
    let limits = Limits { message: 1 << 20, fragments: 10 };
    let announced = [0x81, 0xff, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0];
    for close_first in [true, false] {
        let mut machine = Machine::new(None);
        if close_first {
            machine.close();
        }
        let begun = [&announced[..], &[b' '; 100_000]].concat();
        assert_eq!(machine.receive(&mut &*begun, &limits, hear), None);
        machine.close();
        assert_eq!(machine.receive(&mut &[b' '; 100_000][..], &limits, hear), None);
        assert_eq!(machine.held(), 0);
        assert!(machine.is_closed());
    }
}

#[test]
fn what_the_subprotocol_refuses_closes_and_waits() {
    let mut machine = Machine::new(None);
    let outputs = all(&mut machine, &[frame(0x82, b"x"), text("late")].concat());
    assert_eq!(outputs.len(), 1);
    assert_eq!(code(&outputs[0]), 1003);
    assert!(!machine.is_open() && !machine.is_closed());
}

#[test]
fn a_fault_closes_for_good_and_is_not_said_twice() {
    let mut machine = Machine::new(None);
    let outputs = all(&mut machine, &[frame(0x83, b""), text("late")].concat());
    assert_eq!(outputs.len(), 1);
    assert_eq!(code(&outputs[0]), 1002);
    assert!(machine.is_closed());
    let mut machine = Machine::new(None);
    machine.close();
    assert_eq!(all(&mut machine, &frame(0x83, b"")), []);
    assert!(machine.is_closed());
}

/// An idle connection costs what this says, and nothing on the heap.
#[test]
fn an_idle_machine_is_small() {
    assert!(size_of::<Machine>() <= 32, "{}", size_of::<Machine>());
}
