//! What every setting must be: from names and texts to the typed [`Config`].
//!
//! One function per section reads all of it before it gives up, so that one run finds every mistake.
//! Ranges stand here and, held to it by a test, in `proxy.toml`'s comments.

use std::time::Duration;

use super::address;
use super::auth::auth;
use super::doors;
use super::mistake::Fault;
use super::notify::notify;
use super::push::push;
use super::quantity::Range;
use super::raw::closest;
use super::reader::{Reader, is_off};
use super::redis_url;
use super::secret::Secret;
use super::streams;
use super::template;
use super::{
    AccountScope, Admin, Config, Cors, CorsMode, Downstream, Drain, Limits, Log, LogFormat, Probe,
    Redis, Requirement, TlsFiles, Upstream, UpstreamHttp, UpstreamPush,
};

pub(super) const KB: u64 = 1 << 10;
pub(super) const MB: u64 = 1 << 20;
pub(super) const GB: u64 = 1 << 30;
pub(super) const TB: u64 = 1 << 40;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Far beyond what one process can hold.
const MANY: u64 = 10_000_000;

/// Time for a network's answer, in the places where it may be as short as a tenth of a second.
const ANSWER: Range = Range::times(MILLISECOND.saturating_mul(100), MINUTE.saturating_mul(5));

/// Reads and checks everything. `None` when a mistake was noted.
pub(super) fn config(reader: &mut Reader<'_>) -> Option<Config> {
    let downstream = downstream(reader);
    let upstream = upstream(reader);
    let event_source = streams::event_source(reader);
    let websocket = streams::websocket(reader);
    streams::own_paths(reader, upstream.as_ref(), event_source.as_ref(), websocket.as_ref());
    let probe = probe(reader);
    let notify = notify(reader);
    let push = push(reader);
    let taken = [
        ("event_source.path", event_source.as_ref().map(|settings| &*settings.path)),
        ("websocket.path", websocket.as_ref().map(|settings| &*settings.path)),
        ("upstream.session_path", upstream.as_ref().map(|settings| &*settings.session_path)),
    ];
    let auth = auth(reader, &taken);
    let limits = limits(reader);
    let cors = cors(reader);
    let redis = redis(reader);
    let admin = admin(reader);
    let drain = drain(reader);
    let log = log(reader);
    let config = Config {
        downstream: downstream?,
        upstream: upstream?,
        event_source: event_source?,
        websocket: websocket?,
        probe: probe?,
        notify: notify?,
        push: push?,
        auth: auth?,
        limits: limits?,
        cors: cors?,
        redis: redis?,
        admin: admin?,
        drain: drain?,
        log: log?,
    };
    doors::check(reader, &config);
    Some(config)
}

fn downstream(reader: &mut Reader<'_>) -> Option<Downstream> {
    let listen = reader.list("downstream.listen", address::listen);
    if listen.as_ref().is_some_and(Vec::is_empty) {
        reader.wrong(
            "downstream.listen",
            Fault::Malformed { what: "an address to listen at", wanted: "at least one address" },
        );
    }
    let public_url = reader.optional("downstream.public_url", address::public_url);
    let trusted_proxies = reader.list("downstream.trusted_proxies", address::network);
    let header_timeout =
        time(reader, "downstream.header_timeout", Range::times(SECOND, MINUTE * 5));
    let header_size = size(reader, "downstream.header_size", Range::sizes(4 * KB, MB));
    let keep_alive = time(reader, "downstream.keep_alive", Range::times(SECOND, HOUR));
    let body_timeout = time(reader, "downstream.body_timeout", Range::times(SECOND, HOUR));
    let write_timeout = time(reader, "downstream.write_timeout", Range::times(SECOND, HOUR));
    let http2 = reader.boolean("downstream.http2");
    let tls = tls(reader);
    let via = reader.parsed("downstream.via", address::via);
    Some(Downstream {
        listen: listen?,
        public_url: public_url?,
        trusted_proxies: trusted_proxies?,
        header_timeout: header_timeout?,
        header_size: header_size?,
        keep_alive: keep_alive?,
        body_timeout: body_timeout?,
        write_timeout: write_timeout?,
        http2: http2?,
        tls: tls?,
        via: via?,
    })
}

fn tls(reader: &mut Reader<'_>) -> Option<Option<TlsFiles>> {
    let (cert, key) = ("downstream.tls.cert_file", "downstream.tls.key_file");
    match (reader.file(cert), reader.file(key)) {
        (Some(Some(cert_file)), Some(Some(key_file))) => {
            Some(Some(TlsFiles { cert_file, key_file }))
        }
        (Some(Some(_)), Some(None)) => {
            reader.wrong(cert, Fault::Alone { other: key });
            None
        }
        (Some(None), Some(Some(_))) => {
            reader.wrong(key, Fault::Alone { other: cert });
            None
        }
        (Some(None), Some(None)) => Some(None),
        _ => None,
    }
}

fn upstream(reader: &mut Reader<'_>) -> Option<Upstream> {
    let addresses = reader.list("upstream.url", address::upstream);
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        reader.wrong(
            "upstream.url",
            Fault::Malformed {
                what: "an address of a JMAP server",
                wanted: "at least one address",
            },
        );
    }
    let session_path = reader.parsed("upstream.session_path", address::path);
    let http = reader.choice(
        "upstream.http",
        &[
            ("auto", UpstreamHttp::Auto),
            ("http1", UpstreamHttp::Http1),
            ("http2", UpstreamHttp::Http2),
        ],
    );
    let ca_file = reader.file("upstream.ca_file");
    let connect_timeout = time(reader, "upstream.connect_timeout", ANSWER);
    let response_timeout = time(reader, "upstream.response_timeout", Range::times(SECOND, HOUR));
    let body_timeout = time(reader, "upstream.body_timeout", Range::times(SECOND, HOUR));
    let keep_alive = time(reader, "upstream.keep_alive", Range::times(SECOND, HOUR));
    let headers = reader.list("upstream.headers", address::header);
    let push = reader.choice(
        "upstream.push",
        &[
            ("auto", UpstreamPush::Auto),
            ("relay", UpstreamPush::Relay),
            ("ignore", UpstreamPush::Ignore),
            ("passthrough", UpstreamPush::Passthrough),
        ],
    );
    let relay_connections = size(reader, "upstream.relay_connections", Range::counts(1, 100_000));
    let account_scope = reader.choice(
        "upstream.account_scope",
        &[("global", AccountScope::Global), ("per_user", AccountScope::PerUser)],
    );
    Some(Upstream {
        addresses: addresses?,
        session_path: session_path?,
        http: http?,
        ca_file: ca_file?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        body_timeout: body_timeout?,
        keep_alive: keep_alive?,
        headers: headers?,
        push: push?,
        relay_connections: relay_connections?,
        account_scope: account_scope?,
    })
}

fn probe(reader: &mut Reader<'_>) -> Option<Probe> {
    let interval = time(reader, "probe.interval", Range::times(SECOND, HOUR).or_zero("for off"));
    let interval_min = time(reader, "probe.interval_min", Range::times(SECOND, HOUR));
    let interval_told = time(reader, "probe.interval_told", Range::times(SECOND, DAY));
    let budget = reader.amount("probe.budget", Range::counts(1, 10_000));
    let timeout = time(reader, "probe.timeout", ANSWER);
    let quarantine = time(reader, "probe.quarantine", Range::times(SECOND, HOUR));
    let headers = reader.secrets("probe.headers", "probe.headers_file", template::header);
    Some(Probe {
        interval: interval?,
        interval_min: interval_min?,
        interval_told: interval_told?,
        budget: u32::try_from(budget?).unwrap_or(u32::MAX),
        timeout: timeout?,
        quarantine: quarantine?,
        headers: headers?,
    })
}

fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let allowed_by_system = Range::counts(0, MANY).or_zero("for what the descriptor limit allows");
    let streams = size(reader, "limits.streams", allowed_by_system);
    let streams_per_user =
        size(reader, "limits.streams_per_user", Range::counts(0, MANY).or_zero("for none"));
    let connections = size(reader, "limits.connections", allowed_by_system);
    let request_size = size(reader, "limits.request_size", Range::sizes(KB, GB));
    let request_memory = size(reader, "limits.request_memory", Range::sizes(MB, TB));
    if let (Some(one), Some(all)) = (request_size, request_memory)
        && one > all
    {
        let why = "one request must fit into the memory for all";
        reader.conflict("limits.request_size", "limits.request_memory", why);
    }
    let session_size = size(reader, "limits.session_size", Range::sizes(16 * KB, 256 * MB));
    let accounts = size(reader, "limits.accounts", Range::counts(1, MANY));
    Some(Limits {
        streams: streams?,
        streams_per_user: streams_per_user?,
        connections: connections?,
        request_size: request_size?,
        request_memory: request_memory?,
        session_size: session_size?,
        accounts: accounts?,
    })
}

fn cors(reader: &mut Reader<'_>) -> Option<Cors> {
    let mode =
        reader.choice("cors.mode", &[("own", CorsMode::Own), ("upstream", CorsMode::Upstream)]);
    let origins = reader.list("cors.origins", address::origin);
    Some(Cors { mode: mode?, origins: origins? })
}

fn redis(reader: &mut Reader<'_>) -> Option<Redis> {
    let url = reader.secret("redis.url", "redis.url_file", |text| {
        if is_off(text) { Ok(None) } else { redis_url::redis_url(text).map(Some) }
    });
    let password = reader.secret("redis.password", "redis.password_file", |text| {
        Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
    });
    let ca_file = reader.file("redis.ca_file");
    let channel = reader.text("redis.channel");
    let stream = reader.text("redis.stream");
    let is_empty = |name: &Option<String>| name.as_ref().is_some_and(String::is_empty);
    if url.as_ref().is_some_and(Option::is_some) && is_empty(&channel) && is_empty(&stream) {
        reader.conflict("redis.channel", "redis.stream", "name at least one, or nothing is read");
    }
    let timeout = time(reader, "redis.timeout", Range::times(MILLISECOND * 100, MINUTE));
    let heartbeat = time(reader, "redis.heartbeat", Range::times(MILLISECOND * 100, MINUTE));
    Some(Redis {
        url: url?,
        password: password?,
        ca_file: ca_file?,
        channel: channel?,
        stream: stream?,
        timeout: timeout?,
        heartbeat: heartbeat?,
    })
}

fn admin(reader: &mut Reader<'_>) -> Option<Admin> {
    let listen = reader.switched("admin.listen", address::listen);
    let probes = reader.switched("admin.probes", address::listen);
    let ready_requires = reader.choices(
        "admin.ready_requires",
        &[("upstream", Requirement::Upstream), ("push", Requirement::Push)],
    );
    Some(Admin { listen: listen?, probes: probes?, ready_requires: ready_requires? })
}

fn drain(reader: &mut Reader<'_>) -> Option<Drain> {
    let pre_stop = time(reader, "drain.pre_stop", Range::times(Duration::ZERO, MINUTE * 10));
    let window = time(reader, "drain.window", Range::times(Duration::ZERO, HOUR));
    Some(Drain { pre_stop: pre_stop?, window: window? })
}

fn log(reader: &mut Reader<'_>) -> Option<Log> {
    let level = reader.parsed("log.level", log_filter);
    let format = reader.choice(
        "log.format",
        &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)],
    );
    Some(Log { level: level?, format: format? })
}

/// The filter syntax takes any bare word for the name of a module, so that `inf` would log nothing
/// at all; here a word without `=` must be a level.
fn log_filter(text: &str) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = |directive: &&str| !directive.contains(['=', '[']) && !LEVELS.contains(directive);
    if let Some(word) = text.split(',').map(str::trim).find(bare) {
        let likely = closest(word, LEVELS.into_iter());
        let meant = LEVELS.into_iter().find(|level| Some(*level) == likely);
        let allowed = "one of off, error, warn, info, debug, trace, or module=level".to_owned();
        return Err(Fault::Choice { allowed, meant });
    }
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Fault::Malformed {
            what: "a log filter",
            wanted: "a level, or directives such as \"info,jmap_push_proxy::probe=debug\"",
        }),
    }
}

pub(super) fn time(reader: &mut Reader<'_>, key: &'static str, range: Range) -> Option<Duration> {
    reader.amount(key, range).map(Duration::from_millis)
}

/// A size or a count.
pub(super) fn size(reader: &mut Reader<'_>, key: &'static str, range: Range) -> Option<usize> {
    reader.amount(key, range).map(|amount| usize::try_from(amount).unwrap_or(usize::MAX))
}

/// A path that is accepted with and without a slash at its end.
pub(super) fn bare(path: &str) -> &str {
    path.trim_end_matches('/')
}
