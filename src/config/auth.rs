//! The settings of `[auth]`, and what they must be.

use std::time::Duration;

use super::address;
use super::check::{DAY, MINUTE, SECOND, bare, time};
use super::mistake::Fault;
use super::quantity::Range;
use super::reader::Reader;
use super::secret::Key;

/// `[auth]` (architecture D9).
#[derive(Debug, Clone)]
pub struct Auth {
    /// How long an accepted credential is believed without asking again.
    pub cache: Duration,
    /// How long a refused one is refused without asking again.
    pub negative_cache: Duration,
    /// Failed sign-ins of one address before strangers there must wait; zero for no limit.
    pub failures: u32,
    /// How often the credential behind a live stream is asked about again.
    pub revalidate: Duration,
    /// How long streams outlive an upstream that cannot be asked.
    pub grace: Duration,
    /// Whether `Cookie` authenticates on our own routes.
    pub cookies: bool,
    /// Whether a WebSocket may bring its token as a subprotocol.
    pub bearer_subprotocol: bool,
    /// What page scripts get to put into a URL; `None` when off.
    pub tickets: Option<Tickets>,
}

/// `auth.ticket_*`.
#[derive(Debug, Clone)]
pub struct Tickets {
    /// Where they are given out, accepted with and without trailing slash; each is revoked below.
    pub path: String,
    /// How long one waits for its only use.
    pub valid: Duration,
    /// How long after its first use an event source takes it again; zero never does.
    pub grant: Duration,
    /// Who may use one.
    pub bind: TicketBind,
    /// What they are sealed with; `None` takes a key of this process.
    pub key: Option<Key>,
}

/// `auth.ticket_bind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketBind {
    /// The client address that it was given to.
    Address,
    /// Whoever has it.
    None,
}

/// `taken`: the paths that are not to be had, each with its setting.
pub(super) fn auth(
    reader: &mut Reader<'_>,
    taken: &[(&'static str, Option<&str>)],
) -> Option<Auth> {
    let cache = time(reader, "auth.cache", Range::times(Duration::ZERO, MINUTE));
    let negative_cache =
        time(reader, "auth.negative_cache", Range::times(Duration::ZERO, SECOND * 2));
    let failures = reader.amount("auth.failures", Range::counts(0, 10_000).or_zero("for no limit"));
    let revalidate = time(reader, "auth.revalidate", Range::times(SECOND, DAY));
    let grace = time(reader, "auth.grace", Range::times(Duration::ZERO, DAY));
    let cookies = reader.boolean("auth.cookies");
    let bearer_subprotocol = reader.boolean("auth.bearer_subprotocol");
    let on = reader.boolean("auth.tickets");
    let tickets = tickets(reader, taken);
    Some(Auth {
        cache: cache?,
        negative_cache: negative_cache?,
        failures: u32::try_from(failures?).unwrap_or(u32::MAX),
        revalidate: revalidate?,
        grace: grace?,
        cookies: cookies?,
        bearer_subprotocol: bearer_subprotocol?,
        tickets: Some(tickets?).filter(|_| on == Some(true)),
    })
}

fn tickets(reader: &mut Reader<'_>, taken: &[(&'static str, Option<&str>)]) -> Option<Tickets> {
    let path = reader.parsed("auth.ticket_path", address::path);
    for (key, other) in taken {
        let (Some(path), Some(other)) = (&path, other) else { continue };
        // Below it each ticket has a path.
        let is_within = bare(other).strip_prefix(bare(path));
        if is_within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let why = "a path of its own, such as \"/jmap/ws/ticket\"";
            reader.conflict("auth.ticket_path", key, why);
        }
    }
    let valid = time(reader, "auth.ticket_valid", Range::times(SECOND, MINUTE * 10));
    let grant = time(reader, "auth.ticket_grant", Range::times(MINUTE, DAY).or_zero("for none"));
    let bind = reader.choice(
        "auth.ticket_bind",
        &[("address", TicketBind::Address), ("none", TicketBind::None)],
    );
    let key = reader.secret("auth.ticket_key", "auth.ticket_key_file", |text| match text {
        "" => Ok(None),
        text => Key::from_base64(text).map(Some).ok_or(Fault::Malformed {
            what: "a key",
            wanted: "32 random bytes as base64, such as \"openssl rand -base64 32\" gives",
        }),
    });
    Some(Tickets { path: path?, valid: valid?, grant: grant?, bind: bind?, key: key? })
}
