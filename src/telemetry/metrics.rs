//! Every metric, in one struct: a field's text is its Prometheus help text and its documentation.
//!
//! Names carry the prefix `jmap_push_` and their unit; labels come from closed sets, so that the
//! number of series is constant (hostile.md X19).

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

macro_rules! metrics {
    ($($field:ident: $kind:ty = $name:literal, $help:literal;)*) => {
        /// The metrics of the process. Cheap to clone: every field is shared.
        #[derive(Debug, Clone, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
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

/// A counter of events.
type Count = Counter<u64, AtomicU64>;

/// Counters of events by one label, whose values come from a closed set in the code.
type CountBy = Family<[(&'static str, &'static str); 1], Count>;

metrics! {
    requests: Count = "requests", "Requests received";
    streams: Gauge = "streams", "Live streams, EventSource and WebSocket";
    streams_opened: Count = "streams_opened", "Streams opened since the start";
    websockets: Gauge = "websockets", "Live WebSockets, of all streams";
    websocket_requests: Count = "websocket_requests", "API requests received over WebSockets";
    slow_closed: Count = "slow_closed", "Streams closed because the client accepted no byte for as long as the write timeout says";
    unanswered_closed: Count = "unanswered_closed", "WebSockets closed because the client answered no ping in time";
    probes: Count = "probes", "Requests the probe has sent to upstream";
    probe_failures: Count = "probe_failures", "Probe requests that upstream did not answer with JMAP";
    probe_queue: Gauge = "probe_queue", "Accounts that are due for a probe and wait for probe.budget";
    quarantined_types: Gauge = "quarantined_types", "Data types not asked for because upstream breaks on them";
    notices: CountBy = "notices", "Notifications understood, label source: who told";
    notices_bad: Count = "notices_bad", "Notifications dropped because they could not be understood";
    notices_overflowed: Count = "notices_overflowed", "Notifications dropped because the queue was full, made good by a resync";
    notify_gaps: Count = "notify_gaps", "Times a source said that notifications may have been missed, each followed by a resync";
    redis_up: Gauge = "redis_up", "1 while the Redis link carries notifications and its heartbeat comes back";
    redis_connects: Count = "redis_connects", "Times the Redis link was established";
    redis_faults: CountBy = "redis_faults", "Failures of the Redis link, label fault: what failed";
}
