//! Processor time that one push costs before it is sent: encryption (RFC 8291) and the VAPID token
//! (RFC 8292), kept from the push before or signed anew.
//!
//! `push [TIMES]` prints a table of microseconds; the kernel counts them, so that a busy machine changes
//! little.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for measuring: it prints, and is to stop at anything unexpected"
)]

use std::hint::black_box;
use std::time::Duration;

use jmap_push_proxy::push::encrypt::{Keys, MAX_PLAINTEXT, seal};
use jmap_push_proxy::push::vapid::VapidKey;

/// Those of RFC 8291 §5.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

const SUBJECT: Option<&str> = Some("mailto:postmaster@example.org");

fn main() {
    let times = std::env::args().nth(1).map_or(5000, |times| times.parse().unwrap());
    let keys = Keys::parse(P256DH, AUTH).unwrap();
    let vapid = VapidKey::generate().unwrap();
    let (small, large) = ([b'x'; 200], [b'x'; MAX_PLAINTEXT]);
    let sign = |now| vapid.authorization("https://push.example", SUBJECT, now).unwrap();
    // Each is of a time at which the one before serves no longer.
    let anew = |n: u64| sign(Duration::from_secs(7 * 3600 * n));
    let kept = || sign(Duration::ZERO);
    table("encrypt-200", times, |_| drop(black_box(seal(&keys, &small).unwrap())));
    table("encrypt-3993", times, |_| drop(black_box(seal(&keys, &large).unwrap())));
    table("token-anew", times, |n| drop(black_box(anew(n))));
    table("token-kept", times, |_| drop(black_box(kept())));
    table("push-token-kept", times, |_| {
        drop(black_box((kept(), seal(&keys, &small).unwrap())));
    });
    table("push-token-anew", times, |n| {
        drop(black_box((anew(n), seal(&keys, &small).unwrap())));
    });
    table("keys-read", times, |_| drop(black_box(Keys::parse(P256DH, AUTH).unwrap())));
}

/// Prints what one of `times` costs.
fn table(name: &str, times: u64, mut work: impl FnMut(u64)) {
    (0..times / 10).for_each(&mut work);
    let before = nanoseconds();
    (times..2 * times).for_each(work);
    println!("{name:<16} {:>8.1} us", (nanoseconds() - before) as f64 / times as f64 / 1000.0);
}

/// Processor time of this process so far.
fn nanoseconds() -> u64 {
    let schedule = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    schedule.split(' ').next().unwrap().parse().unwrap()
}
