//! A link to a real Redis, and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use jmap_push_proxy::config;
use jmap_push_proxy::config::secret::Secret;
use jmap_push_proxy::drain::{Drain, Phase};
use jmap_push_proxy::notify::ear::Ear;
use jmap_push_proxy::notify::message::{Notice, Who};
use jmap_push_proxy::notify::queue::{Inbox, queue};
use jmap_push_proxy::notify::{self, Event};
use jmap_push_proxy::telemetry::health::{Health, Part, Trouble};
use jmap_push_proxy::telemetry::metrics::Metrics;
use tokio::process::Command;

use crate::support::redis::Redis;
use crate::support::wait::{until, within};

pub(crate) const CHANNEL: &str = "jmap-push:changes";
pub(crate) const STREAM: &str = "jmap-push:stream";

/// A link, and what comes out of it.
pub(crate) struct Rig {
    inbox: Inbox,
    health: Arc<Health>,
    pub(crate) metrics: Metrics,
    drain: Drain,
}

impl Rig {
    /// A link that is established.
    pub(crate) async fn up(url: &str) -> Self {
        let mut rig = Self::start(&settings(url));
        assert_eq!(rig.next().await, Event::Gap, "the first thing said");
        until("working link", || match rig.metrics.redis_up.get() {
            1 => Ok(()),
            other => Err((other, rig.health.troubles())),
        })
        .await;
        rig
    }

    /// A link that may never be established.
    pub(crate) fn start(settings: &config::Redis) -> Self {
        let (health, metrics, drain) = (Arc::default(), Metrics::default(), Drain::default());
        let (outbox, inbox) = queue(metrics.clone());
        let link = notify::redis::source(
            settings,
            Ear::new(outbox, metrics.clone()),
            Arc::clone(&health),
            &metrics,
        );
        drain.spawn(link.unwrap().unwrap().run(drain.clone()));
        Self { inbox, health, metrics, drain }
    }

    pub(crate) async fn next(&mut self) -> Event {
        within("event", self.inbox.next()).await.unwrap()
    }

    pub(crate) async fn gap(&mut self) {
        while self.next().await != Event::Gap {}
    }

    pub(crate) async fn notice_of(&mut self, user: &str) {
        while !is_of(&self.next().await, user) {}
    }

    pub(crate) async fn gap_or_notice_of(&mut self, user: &str) {
        let event = self.next().await;
        assert!(event == Event::Gap || is_of(&event, user), "{event:?}");
    }

    /// Waits until Redis is in trouble of this kind.
    pub(crate) async fn trouble(&self, reason: &str) -> Trouble {
        until(reason, || match self.health.troubles().remove(&Part::Redis) {
            Some(trouble) if trouble.reason.contains(reason) => Ok(trouble),
            other => Err(other),
        })
        .await
    }

    pub(crate) async fn well(&self) {
        until("good health", || match self.health.troubles() {
            troubles if troubles.is_empty() && self.metrics.redis_up.get() == 1 => Ok(()),
            troubles => Err(troubles),
        })
        .await;
    }

    pub(crate) fn faults(&self, label: &'static str) -> u64 {
        self.metrics.redis_faults.get_or_create(&[("fault", label)]).get()
    }

    pub(crate) async fn end(self) {
        self.drain.enter(Phase::Ended);
        within("end of every task", self.drain.idle()).await;
        assert_eq!(self.metrics.redis_up.get(), 0);
    }
}

pub(crate) fn is_of(event: &Event, user: &str) -> bool {
    matches!(event, Event::Notice(Notice { who: Who::User(name), .. }, _) if name == user)
}

pub(crate) fn settings(url: &str) -> config::Redis {
    config::Redis {
        url: Some(Secret::new(url.into())),
        password: None,
        ca_file: None,
        channel: CHANNEL.into(),
        stream: STREAM.into(),
        timeout: Duration::from_secs(2),
        heartbeat: Duration::from_secs(1),
    }
}

pub(crate) fn parse(text: &str) -> Notice {
    Notice::parse(text.as_bytes()).unwrap()
}

pub(crate) fn publish(redis: &Redis, user: &str) {
    redis.cli(&["PUBLISH", CHANNEL, &format!(r#"{{"user":"{user}"}}"#)]);
}

pub(crate) fn add(redis: &Redis, user: &str) {
    redis.cli(&["XADD", STREAM, "*", "change", &format!(r#"{{"user":"{user}"}}"#)]);
}

/// The test's own tasks run on meanwhile: a link that is kept from reading for some seconds takes its
/// connection for dead, and rightly.
pub(crate) async fn shell(redis: &Redis, script: &str) {
    let output = Command::new("sh")
        .args(["-c", script])
        .env("REDIS_URL", redis.url())
        .current_dir(redis.dir())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("ERR"), "{script}: {said}");
}
