//! The listeners, and the thread behind the side doors (architecture D13).

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::admin::{Admin, Door};
use crate::cli::summary::Listeners;
use crate::config::Config;
use crate::downstream::listener::{self, Listener};

/// The bound listeners.
pub(super) struct Doors {
    pub(super) downstream: Vec<Listener>,
    pub(super) admin: Option<Listener>,
    pub(super) probes: Option<Listener>,
}

impl Doors {
    pub(super) fn bind(config: &Config) -> Result<Self, listener::Error> {
        let downstream = config.downstream.listen.iter().map(Listener::bind);
        Ok(Self {
            downstream: downstream.collect::<Result<_, _>>()?,
            admin: config.admin.listen.as_ref().map(Listener::bind).transpose()?,
            probes: config.admin.probes.as_ref().map(Listener::bind).transpose()?,
        })
    }

    pub(super) fn addresses(&self) -> Listeners {
        Listeners {
            downstream: self.downstream.iter().map(Listener::address).collect(),
            admin: self.admin.as_ref().map(Listener::address),
            probes: self.probes.as_ref().map(Listener::address),
        }
    }
}

/// Serves admin and probes on a thread with a runtime of its own.
pub(super) fn side_doors(
    admin: Arc<Admin>,
    door: Option<Listener>,
    probes: Option<Listener>,
) -> std::io::Result<Option<std::thread::JoinHandle<()>>> {
    let doors = [(door, Door::Admin), (probes, Door::Probes)];
    let doors: Vec<_> =
        doors.into_iter().filter_map(|(listener, door)| Some((listener?, door))).collect();
    if doors.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async {
            let mut serving = JoinSet::new();
            for (listener, door) in doors {
                serving.spawn(Arc::clone(&admin).serve(listener, door));
            }
            while serving.join_next().await.is_some() {}
        });
    })?;
    Ok(Some(thread))
}
