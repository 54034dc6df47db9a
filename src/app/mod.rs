//! The composition root: builds every part in the order of the picture in the crate's
//! documentation, starts them, and ends them in the opposite order (architecture D12).
//!
//! Start-up waits for nobody: neither upstream nor Redis need be there.

mod demo;
mod doors;
mod error;
mod limits;
mod notices;
mod probing;
mod pushing;
mod service;

pub use demo::demo;
pub use error::Error;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use doors::{Aside, Doors, side_doors};
use service::Service;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::admin::{Admin, PULSE};
use crate::api::calls::{self, Calls};
use crate::auth::browser::Browsers;
use crate::auth::revalidate::{self, Finding};
use crate::auth::{Authority, CredentialKey, Tickets};
use crate::cli::summary::{Listeners, Offer, Seen, Summary};
use crate::clock::Moment;
use crate::config::Config;
use crate::downstream::connection::Connections;
use crate::downstream::cors::Cors;
use crate::downstream::dispatch::Dispatch;
use crate::downstream::listener;
use crate::downstream::redirect::Redirects;
use crate::downstream::router::Router;
use crate::downstream::tls::Certificate;
use crate::drain::{Drain, Phase};
use crate::event_source::EventSources;
use crate::hub::{self, Hub};
use crate::jmap::capability::WEBSOCKET;
use crate::jmap::session::Session;
use crate::notify::queue::{Outbox, queue};
use crate::notify::{self, ear::Ear};
use crate::probe::{Handle, Prober};
use crate::push::{self, Push, Restored};
use crate::redis::Commands;
use crate::relay::{self, Relay};
use crate::session::Sessions;
use crate::streams::Engine;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, Upstream};
use crate::websocket::WebSockets;

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
    let room = limits::room(&config.limits);
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
    let (parts, restored) = Parts::new(&config, &upstream, room.streams, &drain, &metrics)?;
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

/// What most others are made of.
struct Parts {
    upstream: Arc<Upstream>,
    authority: Arc<Authority>,
    hub: Arc<Hub>,
    engine: Arc<Engine>,
    push: Option<Arc<Push>>,
    drain: Drain,
}

impl Parts {
    fn new(
        config: &Config,
        upstream: &Arc<Upstream>,
        streams: usize,
        drain: &Drain,
        metrics: &Metrics,
    ) -> Result<(Self, Option<Restored>), push::Error> {
        let authority = Authority::new(
            Arc::clone(upstream),
            config.auth.clone(),
            config.limits.session_size,
            drain.clone(),
        );
        let hub = Hub::new(hub::Limits {
            per_user: config.limits.streams_per_user,
            accounts: config.limits.accounts,
            scope: config.upstream.account_scope,
            as_service: !config.probe.headers.is_empty(),
        });
        let event_source = config.event_source.clone();
        let engine = Engine::new(event_source, streams, drain.clone(), metrics.clone());
        let (upstream, authority, drain) =
            (Arc::clone(upstream), Arc::new(authority), drain.clone());
        let wiring = push::Wiring {
            upstream: Arc::clone(&upstream),
            authority: Arc::clone(&authority),
            hub: Arc::clone(&hub),
            drain: drain.clone(),
        };
        let opened = Push::open(config, wiring, metrics.clone(), pushing::policy(config))?;
        let (push, restored) = opened.unzip();
        Ok((Self { upstream, authority, hub, engine, push, drain }, restored))
    }

    /// Starts what runs all the while: prober, notifications, timers, revalidation.
    fn start(
        &self,
        background: &mut JoinSet<()>,
        config: &Config,
        health: &Arc<Health>,
        metrics: &Metrics,
    ) -> Result<(Ear, Handle, Option<Commands>), Error> {
        let Self { upstream, authority, hub, engine, drain, .. } = self;
        let (prober, asked) =
            Prober::new(&config.probe, drain.clone(), metrics.clone(), Arc::clone(health));
        background.spawn(probing::feed(Arc::clone(hub), asked.clone()));
        let (h, a, u) = (Arc::clone(hub), Arc::clone(authority), Arc::clone(upstream));
        let service = Service::new(&config.probe.headers, health);
        background.spawn(probing::run(prober, h, a, u, service));

        let (outbox, inbox) = queue(metrics.clone());
        background.spawn(notices::act(inbox, Arc::clone(hub), Arc::clone(authority)));
        let (ear, told) = (Ear::new(outbox, metrics.clone()), Arc::clone(health));
        let link = notify::redis::source(&config.redis, ear.clone(), told, metrics)?;
        let redis = link.map(|link| {
            let commands = link.commands();
            background.spawn(link.run(drain.clone()));
            commands
        });

        let wiring = relay::Wiring {
            upstream: Arc::clone(upstream),
            authority: Arc::clone(authority),
            hub: Arc::clone(hub),
            drain: drain.clone(),
        };
        if let Some(relay) = Relay::new(wiring, health, metrics) {
            background.spawn(relay.run());
        }

        let turning = Arc::clone(engine);
        background.spawn(async move { turning.run().await });
        let (live, told) = (Arc::clone(hub), Arc::clone(hub));
        let tell = move |key, finding| found(&told, key, finding);
        background.spawn(revalidate::run(Arc::clone(authority), move || live.live(), tell));
        Ok((ear, asked, redis))
    }

    fn dispatch(
        &self,
        config: &Config,
        metrics: &Metrics,
        prober: Handle,
        redis: Option<Commands>,
    ) -> Dispatch {
        let Self { upstream, authority, hub, engine, push, drain } = self;
        let wiring = calls::Wiring {
            upstream: Arc::clone(upstream),
            authority: Arc::clone(authority),
            hub: Arc::clone(hub),
            prober,
            push: push.clone(),
        };
        let calls = Arc::new(Calls::new(wiring, config));
        let (h, a, e) = (Arc::clone(hub), Arc::clone(authority), Arc::clone(engine));
        let known = (Arc::clone(authority), Arc::clone(&calls));
        let web_sockets =
            WebSockets::new(config, Arc::clone(hub), known, Arc::clone(engine), metrics);
        let tickets = config.tickets().cloned();
        let tickets =
            tickets.map(|settings| Arc::new(Tickets::new(settings, Arc::clone(authority), redis)));
        Dispatch {
            router: Router::new(config),
            cors: Cors::new(config.cors.clone()),
            redirects: Redirects::new(&config.upstream.addresses),
            sessions: Sessions::new(
                config,
                Arc::clone(upstream),
                Arc::clone(authority),
                push.clone(),
            ),
            calls,
            web_sockets,
            event_sources: EventSources::new(h, a, e, config.event_source.clone()),
            browsers: Browsers::new(&config.auth, tickets.clone()),
            tickets,
            upstream: Arc::clone(upstream),
            metrics: metrics.clone(),
            drain: drain.clone(),
            config: config.clone(),
        }
    }
}

/// Shows `/livez` that the main tasks run.
async fn pulse(admin: Arc<Admin>) {
    loop {
        admin.beat();
        tokio::time::sleep(PULSE).await;
    }
}

fn found(hub: &Hub, key: CredentialKey, finding: Finding) {
    match finding {
        Finding::Accepted(principal) => hub.revalidated(key, &principal),
        Finding::Refused => hub.revoke(key),
        Finding::Lost => hub.lose(key),
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
