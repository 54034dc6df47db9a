//! The side doors (architecture D13), each on a listener of its own, served by a thread of its own
//! so that a scrape cannot delay a request.
//!
//! | path | `probes` | `admin` | answers |
//! |---|---|---|---|
//! | `/livez` | yes | yes | 200 while the process makes progress |
//! | `/readyz` | yes | yes | 200 while requests are welcome; the body names what does not work |
//! | `/startupz` | yes | yes | 200 once the listeners are bound |
//! | `/metrics` | | yes | Prometheus text |
//!
//! Nothing here stops, changes or reveals anything of a user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::clock::Moment;
use crate::config::Requirement;
use crate::drain::{Drain, Phase};
use crate::http::listener::Listener;
use crate::http::{Body, reply, side_door};
use crate::jmap::problem::Problem;
use crate::telemetry::health::{Health, Part, Trouble};

/// The process counts as stuck when its main tasks have not run for so long.
const STUCK: Duration = Duration::from_secs(30);

/// How often the main tasks say that they run.
pub const PULSE: Duration = Duration::from_secs(1);

/// What the side doors show.
pub struct Admin {
    /// What works.
    pub health: Arc<Health>,
    /// How far the end has come.
    pub drain: Drain,
    /// What `/readyz` demands.
    pub ready_requires: Vec<Requirement>,
    /// What `/metrics` shows.
    pub registry: Registry,
    /// [`Moment`] at which the main tasks ran last.
    pub pulse: AtomicU64,
}

/// Which of the two doors a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Health only.
    Probes,
    /// Health and metrics.
    Admin,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    troubles: std::collections::BTreeMap<Part, Trouble>,
}

impl Admin {
    /// The main tasks run.
    pub fn beat(&self) {
        self.pulse.store(Moment::now().0, Ordering::Relaxed);
    }

    /// Serves a door until the process ends.
    pub async fn serve(self: Arc<Self>, listener: Listener, door: Door) {
        let drain = self.drain.clone();
        let answer = move |request: Request<Incoming>| {
            std::future::ready(self.answer(request.method(), request.uri().path(), door))
        };
        tokio::select! {
            () = side_door::serve(listener, Arc::new(answer)) => {}
            () = drain.reached(Phase::Ended) => {}
        }
    }

    fn answer(&self, method: &http::Method, path: &str, door: Door) -> Response<Body> {
        if *method != http::Method::GET && *method != http::Method::HEAD {
            return reply::method_not_allowed("GET, HEAD");
        }
        match (path, door) {
            ("/livez" | "/live" | "/healthz", _) => self.live(),
            ("/readyz" | "/ready", _) => self.ready(),
            ("/startupz", _) => self.status(StatusCode::OK, None),
            ("/metrics", Door::Admin) => self.metrics(),
            _ => reply::problem(&Problem::new(
                404,
                "there is /livez, /readyz, /startupz, and /metrics on the admin address",
            )),
        }
    }

    fn live(&self) -> Response<Body> {
        let last = Moment(self.pulse.load(Ordering::Relaxed));
        if Moment::now().since(last) > STUCK {
            return self.status(StatusCode::SERVICE_UNAVAILABLE, Some("the main tasks do not run"));
        }
        self.status(StatusCode::OK, None)
    }

    fn ready(&self) -> Response<Body> {
        let troubles = self.health.troubles();
        let unmet = |requirement: &&Requirement| match requirement {
            Requirement::Upstream => troubles.contains_key(&Part::Upstream),
            Requirement::Push => [Part::Redis, Part::Cyrus, Part::Probe, Part::Relay]
                .iter()
                .any(|part| troubles.contains_key(part)),
        };
        let reason = if self.drain.phase() > Phase::Running {
            Some("the process is stopping")
        } else if self.ready_requires.iter().any(|requirement| unmet(&requirement)) {
            Some("what admin.ready_requires names does not work")
        } else {
            None
        };
        let status =
            if reason.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        self.status(status, reason)
    }

    fn status(&self, status: StatusCode, reason: Option<&'static str>) -> Response<Body> {
        let troubles = self.health.troubles();
        let word = match (status, troubles.is_empty()) {
            (StatusCode::OK, true) => "ok",
            (StatusCode::OK, false) => "degraded",
            _ => "unavailable",
        };
        let body = serde_json::to_vec(&Status { status: word, reason, troubles });
        let mut body = body.unwrap_or_default();
        body.push(b'\n');
        reply::with_body(status, reply::JSON, body.into())
    }

    fn metrics(&self) -> Response<Body> {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return reply::problem(&Problem::new(500, "the metrics cannot be written"));
        }
        let kind =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        reply::with_body(StatusCode::OK, kind, Bytes::from(text))
    }
}
