//! The socket, with a sender as Cyrus is one.

use std::os::unix::net::UnixDatagram as Sender;

use super::*;
use crate::notify::queue::{Inbox, queue};
use crate::telemetry::metrics::Metrics;

const EVENT: &[u8] =
    b"\0EVENT\0\0\0\x000\0{\"event\":\"FlagsSet\",\"uri\":\"imap://h/user/alice\"}\0";

/// A source at a path of its own, that runs until dropped.
struct Rig {
    path: PathBuf,
    inbox: Inbox,
    health: Arc<Health>,
    metrics: Metrics,
    running: tokio::task::JoinHandle<()>,
}

impl Rig {
    /// `before` is done to the path first.
    fn start(name: &str, before: impl FnOnce(&Path)) -> Self {
        let path = std::env::temp_dir().join(format!("cyrus-{}-{name}", std::process::id()));
        before(&path);
        let (metrics, health) = (Metrics::default(), Arc::<Health>::default());
        let (outbox, inbox) = queue(metrics.clone());
        let ear = Ear::new(outbox, metrics.clone());
        #[expect(clippy::disallowed_methods, reason = "aborted when the rig is dropped")]
        let running = tokio::spawn(run(path.clone(), ear, Arc::clone(&health)));
        Self { path, inbox, health, metrics, running }
    }

    fn send(&self, datagram: &[u8]) {
        Sender::unbound().unwrap().send_to(datagram, &self.path).unwrap();
    }

    async fn hears_a_gap(&mut self) {
        assert_eq!(self.inbox.next().await, Some(Event::Gap));
    }

    async fn hears_of_alice(&mut self) {
        let event = self.inbox.next().await;
        let Some(Event::Notice(notice, Source::Cyrus)) = event else { panic!("{event:?}") };
        assert!(matches!(notice.who, Who::Accounts(accounts) if accounts[0].as_str() == "alice"));
    }

    async fn trouble(&self, reason: &str) {
        while !self.health.troubles().get(&Part::Cyrus).is_some_and(|t| t.reason.contains(reason)) {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn events_are_heard_after_a_gap_for_all_that_was_missed() {
    let mut rig = Rig::start("heard", |_| {});
    rig.hears_a_gap().await;
    rig.send(EVENT);
    rig.hears_of_alice().await;
}

#[tokio::test]
async fn whoever_cyrus_runs_as_may_send() {
    let mut rig = Rig::start("mode", |_| {});
    rig.hears_a_gap().await;
    assert_eq!(rig.path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
}

#[tokio::test]
async fn a_socket_left_over_by_a_killed_process_is_taken_over() {
    let mut rig = Rig::start("stale", |path| drop(Sender::bind(path).unwrap()));
    rig.hears_a_gap().await;
    rig.send(EVENT);
    rig.hears_of_alice().await;
}

#[tokio::test]
async fn a_socket_that_vanishes_is_bound_anew_and_counts_as_a_gap() {
    let mut rig = Rig::start("gone", |_| {});
    rig.hears_a_gap().await;
    std::fs::remove_file(&rig.path).unwrap();
    rig.hears_a_gap().await;
    rig.send(EVENT);
    rig.hears_of_alice().await;
}

#[tokio::test]
async fn a_socket_that_somebody_listens_at_is_left_to_them_until_they_go() {
    let mut other = None;
    let mut rig = Rig::start("taken", |path| other = Some(Sender::bind(path).unwrap()));
    rig.trouble("another program listens there").await;
    drop(other);
    rig.hears_a_gap().await;
    assert!(rig.health.troubles().is_empty());
}

#[tokio::test]
async fn a_file_in_the_way_is_not_touched() {
    let rig = Rig::start("file", |path| std::fs::write(path, "precious").unwrap());
    rig.trouble("something else than a socket").await;
    assert_eq!(std::fs::read_to_string(&rig.path).unwrap(), "precious");
}

#[tokio::test]
async fn what_cannot_be_understood_is_counted_and_the_next_is_heard() {
    let mut rig = Rig::start("bad", |_| {});
    rig.hears_a_gap().await;
    rig.send(b"nonsense");
    rig.send(EVENT);
    rig.hears_of_alice().await;
    assert_eq!(rig.metrics.notices_bad.get(), 1);
}

#[tokio::test]
async fn the_end_takes_the_socket_with_it() {
    let mut rig = Rig::start("end", |_| {});
    rig.hears_a_gap().await;
    rig.running.abort();
    let _ = (&mut rig.running).await;
    assert!(!rig.path.exists(), "Cyrus would send into nothing, and log it each time");
}

/// More than fits into the queue while nobody reads it: the sender never waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_holds_nobody_up_and_becomes_a_gap() {
    let mut rig = Rig::start("flood", |_| {});
    rig.hears_a_gap().await;
    let path = rig.path.clone();
    let flood = tokio::task::spawn_blocking(move || {
        let sender = Sender::unbound().unwrap();
        for _ in 0..5_000 {
            sender.send_to(EVENT, &path).unwrap();
        }
    });
    flood.await.unwrap();
    while rig.metrics.notices_overflowed.get() == 0 {
        tokio::task::yield_now().await;
    }
    rig.hears_a_gap().await;
}
