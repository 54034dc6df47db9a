//! `[push]`: the settings of `PushSubscription`, and what they must be.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::address;
use super::check::{DAY, HOUR, MILLISECOND, MINUTE, SECOND, size, time};
use super::mistake::Fault;
use super::quantity::Range;
use super::reader::Reader;
use super::secret::Key;

/// `[push]` (RFC 8620 §7.2; RFC 8291, RFC 8292, RFC 9749).
#[derive(Debug, Clone)]
pub struct Push {
    /// Whose `PushSubscription` it is.
    pub mode: PushMode,
    /// What a subscription lives and dies with (P5).
    pub bind: PushBind,
    /// Whether the credential of a subscriber that went away is kept in memory, to ask upstream with.
    pub keep_credentials: bool,
    /// Where subscriptions are kept; `None` keeps them in memory only.
    pub store: Option<PathBuf>,
    /// What secrets in the store are sealed with; `None` takes the key beside the store.
    pub key: Option<Key>,
    /// The VAPID key (PEM); `None` makes one and keeps it in the store.
    pub vapid_key_file: Option<PathBuf>,
    /// `sub` of VAPID tokens (RFC 8292 §2.1); `None` takes `downstream.public_url`, if there is one.
    pub vapid_subject: Option<String>,
    /// Subscriptions of one user.
    pub subscriptions_per_user: usize,
    /// Subscriptions that one user may create within an hour.
    pub creations_per_hour: u32,
    /// How long a subscription lives at most, unless it is renewed.
    pub expires_max: Duration,
    /// A subscription that was not verified by then is destroyed.
    pub verify_timeout: Duration,
    /// Least time between two messages to one subscription.
    pub throttle: Duration,
    /// How often one message is tried before its subscription rests.
    pub attempts: u32,
    /// Pause after a push service has refused a message for now; doubles.
    pub attempt_interval: Duration,
    /// Pause after a push service could not be reached; doubles.
    pub retry_interval: Duration,
    /// Time for one message, all in all.
    pub timeout: Duration,
    /// How long a push service keeps a message for a device that is away.
    pub ttl: Duration,
    /// What encrypted messages are labelled as.
    pub content_type: PushContentType,
    /// Messages under way to one host.
    pub connections_per_host: usize,
    /// Messages under way in all.
    pub connections: usize,
    /// Ports that push URLs may name.
    pub ports: Vec<u16>,
    /// Networks that push URLs may lead to although they are not public.
    pub allow_networks: Vec<IpNet>,
    /// CA certificates (PEM) besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// `push.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushMode {
    /// Ours, unless upstream turns out to have its own.
    Auto,
    /// Ours, whatever upstream has.
    Own,
    /// Upstream's, if it has any.
    Upstream,
    /// Nobody's: such calls are upstream's to refuse, and its VAPID is not offered.
    Off,
}

impl PushMode {
    /// Whether subscriptions may be ours.
    #[must_use]
    pub fn may_be_ours(self) -> bool {
        matches!(self, Self::Auto | Self::Own)
    }
}

/// `push.bind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushBind {
    /// The credential it was made with, as §7.2 has it.
    Credential,
    /// The user, whatever they sign in with.
    User,
}

/// `push.content_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushContentType {
    /// `application/json`, as §7.2 has it.
    Json,
    /// `application/octet-stream`, as Web Push libraries do.
    OctetStream,
}

pub(super) fn push(reader: &mut Reader<'_>) -> Option<Push> {
    let mode = reader.choice(
        "push.mode",
        &[
            ("auto", PushMode::Auto),
            ("own", PushMode::Own),
            ("upstream", PushMode::Upstream),
            ("off", PushMode::Off),
        ],
    );
    let bind = reader
        .choice("push.bind", &[("credential", PushBind::Credential), ("user", PushBind::User)]);
    let keep_credentials = reader.boolean("push.keep_credentials");
    let store = reader.parsed("push.store", store);
    let key = reader.secret("push.key", "push.key_file", |text| match text {
        "" => Ok(None),
        text => Key::from_base64(text).map(Some).ok_or(Fault::Malformed {
            what: "a key",
            wanted: "32 random bytes as base64, such as \"openssl rand -base64 32\" gives",
        }),
    });
    let vapid_key_file = reader.file("push.vapid_key_file");
    let vapid_subject = reader.optional("push.vapid_subject", subject);
    let amounts = amounts(reader);
    let pace = pace(reader);
    let ttl = time(reader, "push.ttl", Range::times(MINUTE, DAY * 28));
    let content_type = reader.choice(
        "push.content_type",
        &[("json", PushContentType::Json), ("octet-stream", PushContentType::OctetStream)],
    );
    let ports = reader.list("push.ports", port);
    let allow_networks = reader.list("push.allow_networks", address::network);
    let ca_file = reader.file("push.ca_file");
    let (amounts, pace) = (amounts?, pace?);
    Some(Push {
        mode: mode?,
        bind: bind?,
        keep_credentials: keep_credentials?,
        store: store?,
        key: key?,
        vapid_key_file: vapid_key_file?,
        vapid_subject: vapid_subject?,
        subscriptions_per_user: amounts.subscriptions_per_user,
        creations_per_hour: amounts.creations_per_hour,
        expires_max: pace.expires_max,
        verify_timeout: pace.verify_timeout,
        throttle: pace.throttle,
        attempts: amounts.attempts,
        attempt_interval: pace.attempt_interval,
        retry_interval: pace.retry_interval,
        timeout: pace.timeout,
        ttl: ttl?,
        content_type: content_type?,
        connections_per_host: amounts.connections_per_host,
        connections: amounts.connections,
        ports: ports?,
        allow_networks: allow_networks?,
        ca_file: ca_file?,
    })
}

/// How many.
struct Amounts {
    subscriptions_per_user: usize,
    creations_per_hour: u32,
    attempts: u32,
    connections_per_host: usize,
    connections: usize,
}

fn amounts(reader: &mut Reader<'_>) -> Option<Amounts> {
    let subscriptions_per_user =
        size(reader, "push.subscriptions_per_user", Range::counts(1, 10_000));
    let creations_per_hour = reader.amount("push.creations_per_hour", Range::counts(1, 100_000));
    let attempts = reader.amount("push.attempts", Range::counts(1, 100));
    let per_host = size(reader, "push.connections_per_host", Range::counts(1, 10_000));
    let all = size(reader, "push.connections", Range::counts(1, 10_000));
    if let (Some(one), Some(all)) = (per_host, all)
        && one > all
    {
        let why = "one host's must be among all";
        reader.conflict("push.connections_per_host", "push.connections", why);
    }
    Some(Amounts {
        subscriptions_per_user: subscriptions_per_user?,
        creations_per_hour: u32::try_from(creations_per_hour?).unwrap_or(u32::MAX),
        attempts: u32::try_from(attempts?).unwrap_or(u32::MAX),
        connections_per_host: per_host?,
        connections: all?,
    })
}

/// How long, how soon.
struct Pace {
    expires_max: Duration,
    verify_timeout: Duration,
    throttle: Duration,
    attempt_interval: Duration,
    retry_interval: Duration,
    timeout: Duration,
}

fn pace(reader: &mut Reader<'_>) -> Option<Pace> {
    // §7.2.2: "the server … MUST NOT set it to … less than 48 hours in the future".
    let expires_max = time(reader, "push.expires_max", Range::times(HOUR * 48, DAY * 90));
    let verify_timeout = time(reader, "push.verify_timeout", Range::times(SECOND * 10, HOUR));
    let throttle = time(
        reader,
        "push.throttle",
        Range::times(MILLISECOND * 100, HOUR).or_zero("for each at once"),
    );
    let attempt_interval = time(reader, "push.attempt_interval", Range::times(SECOND, HOUR));
    let retry_interval = time(reader, "push.retry_interval", Range::times(MILLISECOND * 100, HOUR));
    let timeout = time(reader, "push.timeout", Range::times(SECOND, MINUTE));
    Some(Pace {
        expires_max: expires_max?,
        verify_timeout: verify_timeout?,
        throttle: throttle?,
        attempt_interval: attempt_interval?,
        retry_interval: retry_interval?,
        timeout: timeout?,
    })
}

fn store(text: &str) -> Result<Option<PathBuf>, Fault> {
    match text {
        "memory" => Ok(None),
        "" => Err(Fault::Malformed {
            what: "a place for subscriptions",
            wanted: "a file, such as \"/var/lib/jmap-push-proxy/push.sqlite\", or \"memory\"",
        }),
        path => Ok(Some(PathBuf::from(path))),
    }
}

/// RFC 8292 §2.1.
fn subject(text: &str) -> Result<String, Fault> {
    let address = text.strip_prefix("mailto:").or_else(|| text.strip_prefix("https://"));
    let is_contact = address.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    });
    is_contact.then(|| text.to_owned()).ok_or(Fault::Malformed {
        what: "a contact",
        wanted: "\"mailto:postmaster@example.org\" or an https URL",
    })
}

fn port(text: &str) -> Result<u16, Fault> {
    text.parse().ok().filter(|port| *port > 0).ok_or(Fault::Malformed {
        what: "a port",
        wanted: "a number from 1 to 65535 in quotes, such as \"443\"",
    })
}
