//! One connection that is subscribed, and the heartbeat that proves it (architecture D11).
//!
//! Messages reach the listener from within the crate's reading task, so a slow listener slows the
//! reading of the socket and nothing queues in between.
//!
//! The heartbeat is a nonce published on a channel of its own over the same connection that is
//! subscribed to it: a connection that is up but deaf does not bring it back (hostile.md F6). With
//! it a short-lived key is written, which a replica or a server out of memory refuses: there,
//! publishers fail while every subscriber looks well.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use crate::clock::Moment;

use super::fault::{Fault, Step};
use super::link::{Arrival, Listener, Names};

/// Beats that may stay away before the subscription is suspected. It counts as dead after half a
/// beat more, counted from the suspicion: a process that was itself kept from running first reads
/// what arrived meanwhile (hostile.md F17).
const PATIENCE: u32 = 2;

/// How long the heartbeat key outlives its writer, in beats.
const KEY_LIFE: u32 = 10;

/// What the connection last showed of itself.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    /// When the newest beat that came back was sent.
    answered: Moment,
    /// Whether the connection is gone.
    lost: bool,
}

/// A live subscription. Dropping it closes the connection.
pub(super) struct Subscription {
    connection: MultiplexedConnection,
    pulse: watch::Receiver<Pulse>,
    names: Arc<Names>,
    /// Tells our beats from those of other replicas, and from those of an earlier connection.
    session: u64,
}

impl Subscription {
    /// Connects, subscribes, and waits until the first beat came back.
    pub(super) async fn open<F: Listener>(
        client: &Client,
        names: Arc<Names>,
        listener: Arc<F>,
    ) -> Result<Self, Fault> {
        let session: u64 = rand::random();
        let (heart, mut pulse) = watch::channel(Pulse { answered: Moment::now(), lost: false });
        let ear = Arc::clone(&names);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(names.timeout))
            .set_response_timeout(Some(names.timeout))
            .set_push_sender(move |push: PushInfo| {
                hear(&push, session, &ear, &heart, &*listener);
                Ok::<(), SendError>(())
            });
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| Fault::of(Step::Connect, &error, names.tls))?;
        let channels: Vec<&str> = [&*names.heartbeat, &*names.channel]
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        connection
            .subscribe(channels)
            .await
            .map_err(|error| Fault::of(Step::Subscribe, &error, names.tls))?;
        pulse.mark_unchanged();
        let mut this = Self { connection, pulse, names, session };
        // A server that only refuses writes is still worth listening to; `watch` reports it.
        match this.beat().await {
            Err(fault) if !fault.only_writes() => return Err(fault),
            _ => {}
        }
        match timeout(this.names.timeout, this.pulse.changed()).await {
            Ok(Ok(())) if !this.pulse.borrow().lost => Ok(this),
            Ok(_) => Err(Fault::Lost),
            Err(_) => Err(Fault::Silent),
        }
    }

    /// The connection, which takes commands besides.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Beats until something is wrong. `report` is told after each beat whether writes are refused.
    pub(super) async fn watch(self, mut report: impl FnMut(Result<(), Fault>)) -> Fault {
        let listening = Self::listen(self.pulse.clone(), self.names.beat);
        let beating = async {
            let mut ticks = interval(self.names.beat);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match self.beat().await {
                    Err(fault) if !fault.only_writes() => return fault,
                    outcome => report(outcome),
                }
            }
        };
        tokio::select! {
            biased;
            fault = listening => fault,
            fault = beating => fault,
        }
    }

    async fn listen(mut pulse: watch::Receiver<Pulse>, beat: Duration) -> Fault {
        loop {
            let Pulse { answered, lost } = *pulse.borrow_and_update();
            if lost {
                return Fault::Lost;
            }
            let suspicious = answered.after(beat * PATIENCE).instant();
            let heard = match timeout_at(suspicious, pulse.changed()).await {
                Err(_) => timeout(beat / 2, pulse.changed()).await,
                heard => heard,
            };
            match heard {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Fault::Lost,
                Err(_) => return Fault::Silent,
            }
        }
    }

    async fn beat(&self) -> Result<(), Fault> {
        let fault = |step| move |error| Fault::of(step, &error, self.names.tls);
        let nonce = nonce(self.session, Moment::now());
        let mut connection = self.connection.clone();
        redis::cmd("PUBLISH")
            .arg(&*self.names.heartbeat)
            .arg(&nonce)
            .exec_async(&mut connection)
            .await
            .map_err(fault(Step::Publish))?;
        let life = (self.names.beat * KEY_LIFE).as_millis().max(1);
        redis::cmd("SET")
            .arg(&*self.names.heartbeat)
            .arg(&nonce)
            .arg("PX")
            .arg(u64::try_from(life).unwrap_or(u64::MAX))
            .exec_async(&mut connection)
            .await
            .map_err(fault(Step::Write))
    }
}

/// What is published as a beat: whose it is, and when it was sent.
fn nonce(session: u64, sent: Moment) -> String {
    format!("{session:016x}:{}", sent.0)
}

/// When the beat was sent, if it is one of this session.
fn sent(nonce: &[u8], session: u64) -> Option<Moment> {
    let (whose, when) = std::str::from_utf8(nonce).ok()?.split_once(':')?;
    (whose == format!("{session:016x}")).then(|| when.parse().ok().map(Moment))?
}

/// Takes what the server pushes. Runs in the crate's reading task: never waits.
fn hear<F: Listener>(
    push: &PushInfo,
    session: u64,
    names: &Names,
    heart: &watch::Sender<Pulse>,
    listener: &F,
) {
    match push.kind {
        PushKind::Disconnection => heart.send_modify(|pulse| pulse.lost = true),
        PushKind::Message => {
            let [Value::BulkString(channel), Value::BulkString(payload)] = push.data.as_slice()
            else {
                return;
            };
            if channel == names.heartbeat.as_bytes() {
                if let Some(sent) = sent(payload, session) {
                    heart.send_modify(|pulse| pulse.answered = pulse.answered.max(sent));
                }
            } else if channel == names.channel.as_bytes() {
                listener(Arrival::Message { channel: &names.channel, payload });
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_beats_of_this_session_count() {
        let beat = nonce(7, Moment(42));
        assert_eq!(sent(beat.as_bytes(), 7), Some(Moment(42)));
        assert_eq!(sent(beat.as_bytes(), 8), None);
        for other in [&b""[..], b"x", b"0000000000000007:", b"0000000000000007:x", b"\xff:1"] {
            assert_eq!(sent(other, 7), None);
        }
    }
}
