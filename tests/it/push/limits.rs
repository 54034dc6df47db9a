//! How much is sent at once, and what stays open (RFC 8620 §8.6; architecture's bounds).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::StatusCode;
use tokio::sync::Notify;

use super::*;
use crate::support::wait::until;

const CREATED: Outcome = Outcome::Accepted(StatusCode::CREATED);
const ANSWER: &str = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// In which a connection is made and a request arrives, many times over.
const ROOM_FOR_ONE_MORE: Duration = Duration::from_millis(300);

/// Answers a request once `together` are waiting, or all of the rest; tells the most that ever waited.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<usize>, AtomicUsize, Notify)>);

impl Gate {
    async fn pass(&self, together: usize) {
        let (waiting, most, notify) = &*self.0;
        let notified = notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        let count = {
            let mut waiting = waiting.lock().unwrap();
            *waiting += 1;
            *waiting
        };
        most.fetch_max(count, Ordering::SeqCst);
        if count == together {
            // One more would be here before this, if it was let through. It needs a connection first.
            tokio::time::sleep(ROOM_FOR_ONE_MORE).await;
            *waiting.lock().unwrap() = 0;
            notify.notify_waiters();
        } else {
            notified.await;
        }
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

async fn gated(ca: &Ca, gate: &Gate, together: usize) -> Receiver {
    let gate = gate.clone();
    Receiver::tls(ca, move |mut accepted| {
        let gate = gate.clone();
        async move {
            while accepted.request().await.is_some() {
                gate.pass(together).await;
                accepted.send(ANSWER).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn no_more_pushes_go_to_one_host_at_once_than_may() {
    let (ca, gate) = (Ca::new(), Gate::default());
    let receiver = gated(&ca, &gate, 3).await;
    let limits = Limits { connections: 8, connections_per_host: 3, ..LIMITS };
    let pusher = Pusher::with(receiver.address.port(), &ca, limits);
    let outcomes = join_all((0..12).map(|_| pusher.push(NAME))).await;
    assert_eq!((outcomes, gate.most()), (vec![CREATED; 12], 3));
    assert!(receiver.accepted() <= 6, "{}", receiver.accepted());
}

/// X11, architecture's bounds: 8 would be let through to four hosts.
#[tokio::test]
async fn no_more_pushes_are_under_way_at_once_than_may() {
    let (ca, gate) = (Ca::new(), Gate::default());
    let receiver = gated(&ca, &gate, 4).await;
    let limits = Limits { connections: 4, connections_per_host: 2, ..LIMITS };
    let pusher = Pusher::with(receiver.address.port(), &ca, limits);
    let hosts = hosts(&pusher, 4);
    let outcomes = join_all((0..16).map(|push| pusher.push(&hosts[push % 4]))).await;
    assert_eq!((outcomes, gate.most()), (vec![CREATED; 16], 4));
}

#[tokio::test]
async fn however_many_hosts_there_are_few_connections_stay_open() {
    let ca = Ca::new();
    let receiver = Receiver::answering(&ca, ANSWER).await;
    let limits = Limits { connections: 2, connections_per_host: 2, ..LIMITS };
    let pusher = Pusher::with(receiver.address.port(), &ca, limits);
    for host in hosts(&pusher, 12) {
        assert_eq!(pusher.push(&host).await, CREATED);
        assert!(receiver.open() <= 4, "{}", receiver.open());
    }
    let few = || if receiver.open() <= 2 { Ok(()) } else { Err(receiver.open()) };
    until("connections that are not kept are closed", few).await;
    // The first two are those that are kept.
    assert_eq!(pusher.push("host-0.push.example").await, CREATED);
    assert_eq!(receiver.accepted(), 13);
}

/// So many names of a receiver.
fn hosts(pusher: &Pusher, count: usize) -> Vec<String> {
    let hosts: Vec<String> = (0..count).map(|host| format!("host-{host}.push.example")).collect();
    hosts.iter().for_each(|host| pusher.resolve(host, &[&["127.0.0.1"]]));
    hosts
}

#[tokio::test]
async fn a_push_that_is_given_up_makes_room_for_the_next() {
    let ca = Ca::new();
    let receiver = Receiver::answering(&ca, ANSWER).await;
    let limits = Limits { connections: 1, connections_per_host: 1, ..LIMITS };
    let pusher = Pusher::with(receiver.address.port(), &ca, limits);
    let (mut first, mut second) = (Box::pin(pusher.push(NAME)), Box::pin(pusher.push(NAME)));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    drop((first, second));
    assert_eq!(pusher.push(NAME).await, CREATED);
}
