//! The credential of the service itself, with which probes ask in place of a subscriber's
//! (`probe.headers`).
//!
//! Upstream refusing it says nothing about the subscribers: the probe then asks with the subscriber's
//! own, and the operator is told. Which types and states it shows must be what the user would see; that
//! is what "authorize as" means.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;

use crate::auth::Principal;
use crate::clock::{self, Moment};
use crate::config::HeaderTemplate;
use crate::telemetry::health::{Health, Part};

/// Refused, the credential is left alone for this long, lest each probe take two requests.
const REST: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Service {
    headers: Vec<HeaderTemplate>,
    health: Arc<Health>,
    /// When it may be tried again. A mutex held to look or to replace.
    refused_until: Mutex<Option<Moment>>,
}

impl Service {
    /// `None` where none is configured.
    pub(super) fn new(headers: &[HeaderTemplate], health: &Arc<Health>) -> Option<Self> {
        let (headers, health) = (headers.to_vec(), Arc::clone(health));
        let refused_until = Mutex::default();
        (!headers.is_empty()).then_some(Self { headers, health, refused_until })
    }

    /// The headers to ask with about an account of `user`; `None` when it cannot be asked so now.
    pub(super) fn headers(&self, user: &Principal, now: Moment) -> Option<HeaderMap> {
        let until = *self.refused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if user.username.is_empty() || until.is_some_and(|until| until > now) {
            return None;
        }
        self.headers
            .iter()
            .map(|header| Some((header.name.clone(), header.value(&user.username, clock::wall())?)))
            .collect()
    }

    /// Upstream answered to it.
    pub(super) fn accepted(&self) {
        let mut until = self.refused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.take().is_some() {
            self.health.recover(Part::Probe);
        }
    }

    /// Upstream refused it.
    pub(super) fn refused(&self, now: Moment) {
        *self.refused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.after(REST));
        self.health.degrade(
            Part::Probe,
            "upstream refuses probe.headers: users are asked for with their own credentials",
            "set probe.headers to what upstream takes for each user, or leave it empty",
        );
    }
}
