//! What most others are made of, and how they are joined.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::limits::Room;
use super::service::Service;
use super::{Error, notices, probing, pushing};
use crate::api::calls::{self, Calls};
use crate::auth::browser::Browsers;
use crate::auth::revalidate::{self, Finding};
use crate::auth::{Authority, CredentialKey, Tickets};
use crate::config::Config;
use crate::downstream::cors::Cors;
use crate::downstream::dispatch::Dispatch;
use crate::downstream::redirect::Redirects;
use crate::downstream::router::Router;
use crate::drain::Drain;
use crate::event_source::EventSources;
use crate::hub::{self, Hub};
use crate::notify::queue::queue;
use crate::notify::{self, ear::Ear};
use crate::probe::{Handle, Prober};
use crate::push::{self, Push, Restored};
use crate::redis::Commands;
use crate::relay::{self, Relay};
use crate::session::Sessions;
use crate::streams::Engine;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use crate::websocket::WebSockets;

/// See the module.
pub(super) struct Parts {
    pub(super) upstream: Arc<Upstream>,
    authority: Arc<Authority>,
    pub(super) hub: Arc<Hub>,
    pub(super) engine: Arc<Engine>,
    pub(super) push: Option<Arc<Push>>,
    drain: Drain,
}

impl Parts {
    pub(super) fn new(
        config: &Config,
        upstream: &Arc<Upstream>,
        room: &Room,
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
        let engine = Engine::new(event_source, room.streams, drain.clone(), metrics.clone());
        let (upstream, authority, drain) =
            (Arc::clone(upstream), Arc::new(authority), drain.clone());
        let wiring = push::Wiring {
            upstream: Arc::clone(&upstream),
            authority: Arc::clone(&authority),
            hub: Arc::clone(&hub),
            drain: drain.clone(),
        };
        let terms = push::Terms { policy: pushing::policy(config), connections: room.pushes };
        let opened = Push::open(config, wiring, metrics.clone(), terms)?;
        let (push, restored) = opened.unzip();
        Ok((Self { upstream, authority, hub, engine, push, drain }, restored))
    }

    /// Starts what runs all the while: prober, notifications, timers, revalidation.
    pub(super) fn start(
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

    pub(super) fn dispatch(
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

fn found(hub: &Hub, key: CredentialKey, finding: Finding) {
    match finding {
        Finding::Accepted(principal) => hub.revalidated(key, &principal),
        Finding::Refused => hub.revoke(key),
        Finding::Lost => hub.lose(key),
    }
}
