//! The listeners, and the threads behind the side doors (architecture D13) and the sources of
//! notifications: nothing that clients cause holds these up.

use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::admin::{Admin, Door};
use crate::cli::summary::Listeners;
use crate::config::{Config, Notify};
use crate::drain::{Drain, Phase};
use crate::http::listener::{self, Listener};
use crate::notify::{self, ear::Ear};
use crate::telemetry::health::Health;

/// The bound listeners.
pub(super) struct Doors {
    pub(super) downstream: Vec<Listener>,
    pub(super) admin: Option<Listener>,
    pub(super) probes: Option<Listener>,
    pub(super) notify: Option<Listener>,
}

impl Doors {
    pub(super) fn bind(config: &Config) -> Result<Self, listener::Error> {
        let downstream = config.downstream.listen.iter().map(Listener::bind);
        Ok(Self {
            downstream: downstream.collect::<Result<_, _>>()?,
            admin: config.admin.listen.as_ref().map(Listener::bind).transpose()?,
            probes: config.admin.probes.as_ref().map(Listener::bind).transpose()?,
            notify: config.notify.http.listen.as_ref().map(Listener::bind).transpose()?,
        })
    }

    pub(super) fn addresses(&self) -> Listeners {
        Listeners {
            downstream: self.downstream.iter().map(Listener::address).collect(),
            admin: self.admin.as_ref().map(Listener::address),
            probes: self.probes.as_ref().map(Listener::address),
            notify: self.notify.as_ref().map(Listener::address),
        }
    }
}

/// What runs aside, on a thread of its own.
pub(super) type Aside = Option<std::thread::JoinHandle<()>>;

/// Serves admin and probes.
pub(super) fn side_doors(
    admin: &Arc<Admin>,
    door: Option<Listener>,
    probes: Option<Listener>,
) -> std::io::Result<Aside> {
    let doors = [(door, Door::Admin), (probes, Door::Probes)].into_iter();
    let serve = |(listener, door)| Some(Arc::clone(admin).serve(listener?, door));
    aside("admin", doors.filter_map(serve))
}

/// Hears Cyrus, and whoever tells by HTTP, until the process drains: another may take over then. Each on a
/// thread of its own: Cyrus waits for a reader.
pub(super) fn sources(
    settings: &Notify,
    door: Option<Listener>,
    ear: &Ear,
    health: &Arc<Health>,
    drain: &Drain,
) -> std::io::Result<[Aside; 2]> {
    let until_drain = |source: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let drain = drain.clone();
        async move {
            tokio::select! {
                () = source => {}
                () = drain.reached(Phase::Draining) => {}
            }
        }
    };
    let by_http = door.map(|listener| {
        let token = settings.http.token.clone();
        until_drain(Box::pin(notify::http::run(listener, token, ear.clone())))
    });
    let by_cyrus = settings.cyrus.as_ref().map(|path| {
        until_drain(Box::pin(notify::cyrus::run(path.clone(), ear.clone(), Arc::clone(health))))
    });
    Ok([aside("notify", by_http.into_iter())?, aside("cyrus", by_cyrus.into_iter())?])
}

/// Runs tasks on a thread with a runtime of its own, if there are any.
fn aside(
    name: &str,
    tasks: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
) -> std::io::Result<Aside> {
    let tasks: Vec<_> = tasks.collect();
    if tasks.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        runtime.block_on(async {
            let mut running: JoinSet<()> = tasks.into_iter().collect();
            while let Some(ended) = running.join_next().await {
                if ended.is_err() {
                    // A source that is dead would leave clients stale without a word; whoever started
                    // the process starts it again.
                    tracing::error!("a task has panicked: the process ends");
                    std::process::abort();
                }
            }
        });
    })?;
    Ok(Some(thread))
}
