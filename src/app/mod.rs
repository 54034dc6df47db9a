//! The composition root: builds every part in the order of the picture in the crate's
//! documentation, starts them, and ends them in the opposite order (architecture D12).
//!
//! Start-up waits for nobody: neither upstream nor Redis need be there.

mod demo;
mod doors;
mod error;
mod limits;
mod notices;
mod parts;
mod probing;
mod pushing;
mod service;

pub use demo::demo;
pub use error::Error;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use doors::{Aside, Doors, side_doors};
use parts::Parts;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::admin::{Admin, PULSE};
use crate::cli::summary::{Listeners, Offer, Seen, Summary};
use crate::clock::Moment;
use crate::config::Config;
use crate::downstream::connection::Connections;
use crate::downstream::listener;
use crate::downstream::tls::Certificate;
use crate::drain::{Drain, Phase};
use crate::hub::Hub;
use crate::jmap::capability::WEBSOCKET;
use crate::jmap::session::Session;
use crate::notify::queue::Outbox;
use crate::push::Push;
use crate::streams::Engine;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, Upstream};

/// A proxy that serves.
pub struct Running {
    /// What the listeners are bound to, ports resolved.
    pub addresses: Listeners,
    /// The parts that others may want to look at.
    pub health: Arc<Health>,
    /// Counts.
    pub metrics: Metrics,
    /// What the process may hold.
    pub streams: usize,
    /// The limit of open descriptors in force.
    pub descriptors: u64,
    outbox: Outbox,
    upstream: Arc<Upstream>,
    hub: Arc<Hub>,
    engine: Arc<Engine>,
    push: Option<Arc<Push>>,
    drain: Drain,
    config: Config,
    background: JoinSet<()>,
    asides: [Aside; 3],
}

/// Starts a proxy on the present runtime. It serves when this returns.
///
/// # Errors
/// See [`Error`].
pub fn start(config: Config) -> Result<Running, Error> {
    let room = limits::room(&config.limits, &config.push);
    let (drain, metrics, health) = (Drain::default(), Metrics::default(), Arc::<Health>::default());
    let doors = Doors::bind(&config)?;
    let addresses = doors.addresses();
    let certificate = config.downstream.tls.clone();
    let certificate = certificate
        .map(|files| Certificate::load(files, config.downstream.http2).map(Arc::new))
        .transpose()?;
    let permits = Arc::new(Semaphore::new(room.connections));
    let outward = upstream::Room::new(Arc::clone(&permits), room.kept);
    let upstream = Arc::new(Upstream::new(config.upstream.clone(), Arc::clone(&health), &outward)?);
    let (parts, restored) = Parts::new(&config, &upstream, &room, &drain, &metrics)?;
    let mut background = JoinSet::new();
    if let (Some(push), Some(restored)) = (&parts.push, restored) {
        background.spawn(Arc::clone(push).run(restored));
    }
    let (ear, prober, redis) = parts.start(&mut background, &config, &health, &metrics)?;
    let admin = Arc::new(Admin {
        health: Arc::clone(&health),
        drain: drain.clone(),
        ready_requires: config.admin.ready_requires.clone(),
        registry: metrics.registry(),
        pulse: AtomicU64::new(Moment::now().0),
    });
    background.spawn(pulse(Arc::clone(&admin)));
    if let Some(certificate) = certificate.clone() {
        let health = Arc::clone(&health);
        background.spawn(async move { certificate.watch(&health).await });
    }
    let connections = Arc::new(Connections {
        dispatch: Arc::new(parts.dispatch(&config, &metrics, prober, redis)),
        engine: Arc::clone(&parts.engine),
        drain: drain.clone(),
    });
    for listener in doors.downstream {
        let (connections, permits) = (Arc::clone(&connections), Arc::clone(&permits));
        background.spawn(listener::serve(listener, connections, certificate.clone(), permits));
    }
    let [by_http, by_cyrus] = doors::sources(&config.notify, doors.notify, &ear, &health, &drain)?;
    let asides = [side_doors(&admin, doors.admin, doors.probes)?, by_http, by_cyrus];
    let Parts { hub, engine, push, .. } = parts;
    let (streams, descriptors) = (room.streams, room.descriptors);
    Ok(Running {
        addresses,
        health,
        metrics,
        streams,
        descriptors,
        outbox: ear.outbox,
        upstream,
        hub,
        engine,
        push,
        drain,
        config,
        background,
        asides,
    })
}

/// Shows `/livez` that the main tasks run.
async fn pulse(admin: Arc<Admin>) {
    loop {
        admin.beat();
        tokio::time::sleep(PULSE).await;
    }
}

impl Running {
    /// Ends it all: not ready for `drain.pre_stop`, then requests finish and streams close over
    /// `drain.window`. `hurry` ends it now. Gives how many tasks, connections and streams did not end:
    /// none, unless something is wrong.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> usize {
        let orderly = async {
            self.drain.enter(Phase::NotReady);
            tokio::time::sleep(self.config.drain.pre_stop).await;
            self.engine.begin_drain(self.config.drain.window);
            self.drain.enter(Phase::Draining);
            self.hub.wake_all();
            tracing::info!(streams = self.engine.live(), "draining");
            if tokio::time::timeout(self.config.drain.window, self.drain.idle()).await.is_err() {
                tracing::warn!(
                    left = self.drain.tracked(),
                    "drain.window is over: what is left is cut"
                );
            }
        };
        tokio::select! {
            () = orderly => {}
            () = hurry => {}
        }
        self.drain.enter(Phase::Ended);
        self.hub.wake_all();
        // What is left needs only to be polled once more.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.drain.idle()).await;
        self.background.shutdown().await;
        if let Some(push) = &self.push {
            push.close().await;
        }
        for thread in self.asides.into_iter().flatten() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.drain.tracked()
    }

    /// Waits for one of the main tasks to panic.
    ///
    /// Cancel safety: nothing is lost when the future is dropped.
    pub async fn panicked(&mut self) -> JoinError {
        loop {
            match self.background.join_next().await {
                Some(Err(error)) => return error,
                Some(Ok(())) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Where a source of notifications of the caller's own tells what it hears.
    #[must_use]
    pub fn notify(&self) -> Outbox {
        self.outbox.clone()
    }

    /// What runs and what it leads to. Asks upstream what it offers, for at most a second: the proxy
    /// serves all the while.
    pub async fn summary(&self) -> Summary {
        let asked = tokio::time::timeout(Duration::from_secs(1), self.offer()).await;
        let seen = Seen {
            listeners: self.addresses.clone(),
            session: asked.unwrap_or(Offer::Unknown),
            descriptors: self.descriptors,
            streams: self.streams,
            troubles: self.health.troubles().into_iter().collect(),
        };
        Summary::new(&self.config, &seen)
    }

    async fn offer(&self) -> Offer {
        let mut headers = http::HeaderMap::new();
        let host = http::HeaderValue::from_str(self.upstream.default_authority());
        headers.extend(host.ok().map(|host| (http::header::HOST, host)));
        let path = &self.config.upstream.session_path;
        let limit = self.config.limits.session_size;
        let fetched = self.upstream.fetch_session(path, &headers, limit).await;
        match fetched {
            Ok(fetched) if fetched.status == http::StatusCode::OK => Session::parse(&fetched.body)
                .map_or(Offer::Unknown, |session| Offer::Session {
                    capabilities: session.capabilities.len(),
                    event_source: session.event_source_url.is_some(),
                    web_socket: session.capabilities.contains_key(WEBSOCKET),
                }),
            Ok(fetched) if matches!(fetched.status.as_u16(), 401 | 403) => Offer::Private,
            _ => Offer::Unknown,
        }
    }

    /// Tasks, connections and streams that live.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.drain.tracked()
    }
}

/// Runs a proxy until SIGTERM or SIGINT, then ends it in order; a second signal ends it now.
/// `started` is told what runs, once it serves.
///
/// # Errors
/// See [`Error`].
pub fn run(config: Config, started: impl FnOnce(&Summary)) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut running = start(config)?;
        started(&running.summary().await);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = running.panicked() => return Err(Error::Panicked(error)),
        }
        let hurry = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        running.stop(hurry).await;
        Ok(())
    })
}
