//! Every metric, in one struct: a field's text is its Prometheus help text and its documentation.
//!
//! Names carry the prefix `jmap_push_` and their unit; labels come from closed sets, so that the
//! number of series is constant (hostile.md X19).

use std::ops::Deref;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// `$label in [values]` where each value has a series from the start.
macro_rules! metrics {
    ($(
        $field:ident: $kind:ty = $name:literal, $help:literal
        $(, $label:literal in [$($value:literal),*])?;
    )*) => {
        /// The metrics of the process. Cheap to clone: every field is shared.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Default for Metrics {
            fn default() -> Self {
                let metrics = Self { $($field: <$kind>::default(),)* };
                $($($(drop(metrics.$field.get_or_create(&[($label, $value)]));)*)?)*
                metrics
            }
        }

        impl Metrics {
            /// A registry that holds every field under its name.
            #[must_use]
            pub fn registry(&self) -> Registry {
                let mut registry = Registry::with_prefix("jmap_push");
                $(registry.register($name, $help, self.$field.clone());)*
                registry
            }
        }
    };
}

/// One label, whose values come from a closed set in the code.
type Label = [(&'static str, &'static str); 1];

/// A counter of events.
type Count = Counter<u64, AtomicU64>;

/// Counters of events by one label.
type CountBy = Family<Label, Count>;

/// Gauges by one label.
type GaugeBy = Family<Label, Gauge>;

/// Seconds, in buckets, by one label.
#[derive(Debug, Clone)]
pub struct TimesBy(Family<Label, Histogram, fn() -> Histogram>);

impl TimesBy {
    /// From a delivery that is pushed at once to a change that waited for a slow interval.
    const BUCKETS: [f64; 14] =
        [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

    /// Notes one.
    pub fn observe(&self, label: (&'static str, &'static str), time: Duration) {
        self.get_or_create(&[label]).observe(time.as_secs_f64());
    }
}

impl Deref for TimesBy {
    type Target = Family<Label, Histogram, fn() -> Histogram>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Default for TimesBy {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(Self::BUCKETS)))
    }
}

impl EncodeMetric for TimesBy {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

metrics! {
    requests: Count = "requests", "Requests received";
    streams: Gauge = "streams", "Live streams, EventSource and WebSocket";
    streams_opened: Count = "streams_opened", "Streams opened since the start";
    websockets: Gauge = "websockets", "Live WebSockets, of all streams";
    websocket_requests: Count = "websocket_requests", "API requests received over WebSockets";
    slow_closed: Count = "slow_closed", "Streams closed because the client accepted no byte for as long as the write timeout says";
    unanswered_closed: Count = "unanswered_closed", "WebSockets closed because the client answered no ping in time";
    probes: Count = "probes", "Requests the probe has sent to upstream";
    probe_reasons: CountBy = "probe_reasons", "Times an account was asked about, label reason: a baseline for a new subscriber or after a gap, a hint, or its interval", "reason" in ["interval", "baseline", "hint"];
    probe_finds: CountBy = "probe_finds", "Changes that a probe by interval found first, label by: told by a notification within ten seconds, or unannounced", "by" in ["told", "unannounced"];
    probes_spared: Count = "probes_spared", "Times the response to a client put off the probe of an account";
    probe_failures: Count = "probe_failures", "Probe requests that upstream did not answer with JMAP";
    probe_queue: Gauge = "probe_queue", "Accounts that are due for a probe and wait for probe.budget";
    probe_window: Gauge = "probe_window", "Accounts that may be asked about at the same time, less while upstream is slow or fails";
    probe_accounts: GaugeBy = "probe_accounts", "Accounts watched, label interval: min after a find that nobody told (or on the way from it), told while others tell of every change, else usual", "interval" in ["min", "usual", "told"];
    change_to_push: TimesBy = "change_to_push_seconds", "Most time from a change to its publication, label source: since the request of the client's response that told it, since the notification came, or since the last look before the probe that found it", "source" in ["response", "notice", "probe"];
    quarantined_types: Gauge = "quarantined_types", "Data types not asked for because upstream breaks on them";
    notices: CountBy = "notices", "Notifications understood, label source: who told";
    notices_bad: Count = "notices_bad", "Notifications dropped because they could not be understood";
    notices_overflowed: Count = "notices_overflowed", "Notifications dropped because the queue was full, made good by a resync";
    notify_gaps: Count = "notify_gaps", "Times a source said that notifications may have been missed, each followed by a resync";
    relays: Gauge = "relays", "Users for whom upstream's own push is listened to";
    relays_waiting: Gauge = "relays_waiting", "Users who wait for that because as many as are allowed are listened for already";
    relay_events: Count = "relay_events", "State changes that upstream's own push has told of";
    relay_events_bad: Count = "relay_events_bad", "Events of upstream's own push that could not be understood, each followed by a probe";
    relay_ends: CountBy = "relay_ends", "Ends of listening to upstream's own push, or of attempts at it, label why", "why" in ["not_served", "refused", "trouble", "unreachable", "no_room", "closed", "broken", "silent"];
    subscriptions: GaugeBy = "subscriptions", "PushSubscriptions, label state: unverified, verified, absent (verified, and no credential of their owner is at hand), or disabled because their push service refuses our messages", "state" in ["unverified", "verified", "absent", "disabled"];
    presumed_accounts: Gauge = "presumed_accounts", "Accounts about which nobody can be asked and of whose changes PushSubscriptions were told by made-up states";
    verifications: Count = "verifications", "Verifications of PushSubscriptions that a push service took";
    messages: CountBy = "messages", "Messages to push services, verifications included, label outcome", "outcome" in ["accepted", "gone", "too_large", "slow_down", "refused", "redirected", "failed", "denied", "unreachable"];
    subscriptions_ended: CountBy = "subscriptions_ended", "PushSubscriptions that ended other than by their client, label why", "why" in ["expired", "unverified", "verification_refused", "gone", "credential_refused"];
    hosts_resting: Gauge = "hosts_resting", "Push services left alone for a while because messages to them fail";
    subscriptions_rate_limited: Count = "subscriptions_rate_limited", "PushSubscriptions refused because their user, or all users for one push service, made too many";
    redis_up: Gauge = "redis_up", "1 while the Redis link carries notifications and its heartbeat comes back";
    redis_connects: Count = "redis_connects", "Times the Redis link was established";
    redis_faults: CountBy = "redis_faults", "Failures of the Redis link, label fault: what failed";
}
