//! The loop that keeps a subscription and a stream reader alive, for ever (architecture D11).
//!
//! Pub/sub loses what is published while nobody listens, so each time the link is established it
//! says [`Arrival::Gap`] after it listens: whatever was missed lies before that. Both connections
//! stand and fall together, so that there is one state to understand: up, or not.
//!
//! **Invariant:** health is good only while a beat sent over the subscribed connection comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::config;
use crate::drain::{Drain, Phase};
use crate::telemetry::health::{Health, Part};
use crate::telemetry::metrics::Metrics;

use super::address::{Address, Error};
use super::commands::Commands;
use super::fault::Fault;
use super::stream::{Place, Reader};
use super::subscription::Subscription;

/// First upper bound of the pause before a new try; doubles each time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Last upper bound. Pauses are spread evenly below it (full jitter), so this also bounds how long
/// a Redis that is back waits for us (hostile.md F5: 2 s).
const PAUSE_MOST: Duration = Duration::from_secs(2);

/// What the link hears.
#[derive(Debug, Clone, Copy)]
pub enum Arrival<'a> {
    /// A message was published on the channel.
    Message {
        /// The channel's name.
        channel: &'a str,
        /// The message.
        payload: &'a [u8],
    },
    /// An entry was added to the stream.
    Entry {
        /// The stream's key.
        stream: &'a str,
        /// The entry's id.
        id: &'a str,
        /// Its field `change`.
        change: Option<&'a [u8]>,
    },
    /// Messages or entries may have been missed before now.
    Gap,
}

/// Who is told. Called from the reading tasks: must not wait.
pub(super) trait Listener: Fn(Arrival<'_>) + Send + Sync + 'static {}
impl<F: Fn(Arrival<'_>) + Send + Sync + 'static> Listener for F {}

/// What is read, and how patiently.
#[derive(Debug)]
pub(super) struct Names {
    /// Empty for none.
    pub(super) channel: String,
    /// Empty for none.
    pub(super) stream: String,
    /// What all other names begin with: that of what is read, so that one ACL pattern covers all.
    pub(super) base: String,
    /// Channel and key of the heartbeat.
    pub(super) heartbeat: String,
    /// Time to connect and to wait for an answer.
    pub(super) timeout: Duration,
    /// Time between two beats.
    pub(super) beat: Duration,
    /// Whether TLS is spoken.
    pub(super) tls: bool,
}

/// The link to one Redis.
pub struct Link<F> {
    address: Address,
    names: Arc<Names>,
    place: Place,
    listener: Arc<F>,
    health: Arc<Health>,
    metrics: Metrics,
    commands: Commands,
}

impl<F: Fn(Arrival<'_>) + Send + Sync + 'static> Link<F> {
    /// A link that will tell `listener`, from within the reading tasks; it must not wait. `None`
    /// when no Redis is configured.
    ///
    /// # Errors
    /// When `redis.url` is nothing that can be connected to.
    pub fn new(
        settings: &config::Redis,
        listener: F,
        health: Arc<Health>,
        metrics: &Metrics,
    ) -> Result<Option<Self>, Error> {
        if settings.url.is_none() {
            return Ok(None);
        }
        for label in Fault::LABELS {
            drop(metrics.redis_faults.get_or_create(&[("fault", label)]));
        }
        let address = Address::try_from(settings)?;
        let base = if settings.channel.is_empty() { &settings.stream } else { &settings.channel };
        let names = Names {
            channel: settings.channel.clone(),
            stream: settings.stream.clone(),
            base: base.clone(),
            heartbeat: format!("{base}:heartbeat"),
            timeout: settings.timeout,
            beat: settings.heartbeat,
            tls: address.tls(),
        };
        Ok(Some(Self {
            address,
            names: Arc::new(names),
            place: Place::default(),
            listener: Arc::new(listener),
            health,
            metrics: metrics.clone(),
            commands: Commands::default(),
        }))
    }

    /// Commands over the connection of the subscription, while there is one.
    #[must_use]
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// Where it connects to, without secrets.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Runs until the process has ended its streams ([`Phase::Ended`]).
    pub async fn run(mut self, drain: Drain) {
        let mut failures = 0;
        loop {
            let began = Moment::now();
            let fault = tokio::select! {
                biased;
                () = drain.reached(Phase::Ended) => None,
                fault = Box::pin(self.session()) => Some(fault),
            };
            self.commands.disconnect();
            let Some(fault) = fault else { break };
            self.tell(&fault);
            self.metrics.redis_up.set(0);
            // A server that takes us in only to send us away again counts as failing.
            let lasted = Moment::now().since(began) > PAUSE_MOST;
            failures = if lasted { 0 } else { failures + 1 };
            tokio::select! {
                biased;
                () = drain.reached(Phase::Ended) => break,
                () = tokio::time::sleep(pause(failures, rand::random())) => {}
            }
        }
        self.metrics.redis_up.set(0);
    }

    /// One try: connects, and returns why it no longer works.
    async fn session(&mut self) -> Fault {
        self.attempt().await.unwrap_or_else(|fault| fault)
    }

    async fn attempt(&mut self) -> Result<Fault, Fault> {
        let client = self.address.client(self.names.timeout).await?;
        let listener = Arc::clone(&self.listener);
        let subscription = Subscription::open(&client, Arc::clone(&self.names), listener).await?;
        let reader = if self.names.stream.is_empty() {
            None
        } else {
            Some(Reader::open(&client, &self.names, &mut self.place).await?)
        };
        self.metrics.redis_connects.inc();
        self.commands.connect(subscription.connection(), self.names.base.clone());
        (self.listener)(Arrival::Gap);

        let standing = Standing {
            listener: &*self.listener,
            health: &self.health,
            metrics: &self.metrics,
            address: &self.address,
        };
        let mut refused = false;
        let watching = subscription.watch(|outcome| standing.report(outcome, &mut refused));
        let reading = async {
            match reader {
                Some(reader) => reader.read(&*self.listener).await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            fault = watching => fault,
            fault = reading => fault,
        })
    }

    fn tell(&self, fault: &Fault) {
        self.metrics.redis_faults.get_or_create(&[("fault", fault.label())]).inc();
        degrade(&self.health, &self.address, fault);
    }
}

impl<F> fmt::Debug for Link<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What a beat says about the link while it stands.
struct Standing<'a, F> {
    listener: &'a F,
    health: &'a Health,
    metrics: &'a Metrics,
    address: &'a Address,
}

impl<F: Fn(Arrival<'_>)> Standing<'_, F> {
    /// Publishers whose writes are refused lose their changes: degraded, and a gap once it is over.
    fn report(&self, outcome: Result<(), Fault>, refused: &mut bool) {
        match outcome {
            Ok(()) => {
                if std::mem::take(refused) {
                    (self.listener)(Arrival::Gap);
                }
                self.metrics.redis_up.set(1);
                self.health.recover(Part::Redis);
            }
            Err(fault) => {
                if !std::mem::replace(refused, true) {
                    self.metrics.redis_faults.get_or_create(&[("fault", fault.label())]).inc();
                }
                self.metrics.redis_up.set(0);
                degrade(self.health, self.address, &fault);
            }
        }
    }
}

fn degrade(health: &Health, address: &Address, fault: &Fault) {
    health.degrade(Part::Redis, format!("{address}: {fault}"), fault.remedy());
}

/// The pause before the next try, with `share` (0..1) of its upper bound.
fn pause(failures: u32, share: f64) -> Duration {
    let most = PAUSE_FIRST.saturating_mul(1 << failures.min(16)).min(PAUSE_MOST);
    most.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread_over_all_of_it() {
        assert_eq!(pause(0, 0.0), Duration::ZERO);
        assert_eq!(pause(0, 1.0), PAUSE_FIRST);
        assert_eq!(pause(3, 1.0), PAUSE_FIRST * 8);
        assert_eq!(pause(3, 0.5), PAUSE_FIRST * 4);
        assert_eq!(pause(u32::MAX, 1.0), PAUSE_MOST);
    }
}
