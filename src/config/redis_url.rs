//! `redis.url`, as far as it can be judged without a client of Redis, so that `check` names what is
//! wrong. Pure; the text is secret, and no fault repeats it.
//!
//! The client reads the text again ([`crate::redis::address`]); `tests/it/redis/url.rs` holds the two
//! together.

use super::Redis;
use super::mistake::Fault;
use super::secret::Secret;

const FORMS: &str = "\"redis://host:6379\", \"rediss://host\", \"redis+unix:///path\", \
                     \"redis+sentinel://host:26379/service\" or \"off\"";
const HOST: &str = "a host behind \"://\"; in a password \"/\" is \"%2F\" and \"@\" is \"%40\"";
const PORT: &str = "a port is a number from 1 to 65535";
const DATABASE: &str = "a database is a number, as in \"redis://host:6379/0\"";
const SERVICE: &str = "the service behind the hosts, as in \"redis+sentinel://host:26379/service\"";
const FRAGMENT: &str = "nothing behind \"#\": TLS without a look at the certificate is not offered, \
                        and in a password it is \"%23\"";

fn malformed<T>(wanted: &'static str) -> Result<T, Fault> {
    Err(Fault::Malformed { what: "an address of Redis", wanted })
}

/// An address of Redis in one of the forms of `proxy.toml`.
pub(super) fn redis_url(text: &str) -> Result<Secret, Fault> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if rest.contains('#') {
        return malformed(FRAGMENT);
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let number = match scheme {
        "redis" | "rediss" => host(hosts).map(|_| path)?,
        "redis+sentinel" | "rediss+sentinel" => behind_service(hosts, path)?,
        "redis+unix" if authority.is_empty() && !path.is_empty() => {
            query.split('&').find_map(|pair| pair.strip_prefix("db=")).unwrap_or("")
        }
        _ => return malformed(FORMS),
    };
    database(number)?;
    Ok(Secret::new(text.to_owned()))
}

/// Looks at the hosts and the service of Sentinels; what is behind is the database.
fn behind_service<'t>(hosts: &str, path: &'t str) -> Result<&'t str, Fault> {
    hosts.split(',').try_for_each(|text| host(text).map(drop))?;
    let (service, number) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() { malformed(SERVICE) } else { Ok(number) }
}

impl Redis {
    /// The hosts that `url` names, be they Sentinels: names, or addresses without brackets.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let url = self.url.as_ref().map_or("", |url| url.expose());
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        hosts.split(',').filter_map(|text| host(text).ok())
    }
}

/// The host of `host`, `host:port`, `[::1]:port`.
fn host(text: &str) -> Result<&str, Fault> {
    let (name, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or(""))),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    match port {
        _ if name.is_empty() => malformed(HOST),
        Some(port) if !port.parse::<u16>().is_ok_and(|port| port > 0) => malformed(PORT),
        _ => Ok(name),
    }
}

fn database(number: &str) -> Result<(), Fault> {
    let number = number.trim_end_matches('/');
    if number.is_empty() || number.parse::<u32>().is_ok() { Ok(()) } else { malformed(DATABASE) }
}
