//! URLs that pushes may be sent to (RFC 8620 §7.2, §8.6; hostile.md X9). Pure: what a name resolves to
//! is judged when it is dialled.
//!
//! The WHATWG parser makes an address of whatever a browser would take for one (`127.1`, `0x7f.1`,
//! `2130706433`), so that it is judged here. Whatever parsers disagree on is refused beforehand.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::Policy;
use super::address::{self, Denied};

#[cfg(test)]
mod tests;

/// Letters of a URL. Push services make them of some hundred.
pub const MOST_LETTERS: usize = 2048;

/// Letters of a domain name (RFC 1035 §2.3.4), the root's dot not counted.
const MOST_HOST_LETTERS: usize = 253;

/// Why a URL is refused, as the client may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// More than [`MOST_LETTERS`].
    #[error("the URL is longer than {MOST_LETTERS} characters")]
    TooLong,
    /// No URL, or one that not every parser reads alike.
    #[error("not a well-formed absolute URL (RFC 3986)")]
    Malformed,
    /// Anything but `https`.
    #[error("the URL's scheme must be https")]
    Scheme,
    /// A user name or password.
    #[error("the URL must not hold a user name or password")]
    Userinfo,
    /// A fragment, be it empty.
    #[error("the URL must not have a fragment")]
    Fragment,
    /// Not among [`Policy::ports`].
    #[error("pushes are not sent to this port")]
    Port,
    /// The name of a host in a form that is not accepted, or one of [`Policy::own_hosts`]
    /// or [`Policy::neighbours`].
    #[error("pushes are not sent to this host")]
    Host,
    /// An address that is not allowed.
    #[error("pushes are not sent to this address")]
    Address(#[source] Denied),
}

/// A URL that pushes may be sent to. It is a secret, as it lets anyone push (RFC 8030 §8.3, RFC 8620
/// §7.2): `Debug` shows scheme and host; memory is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Zeroizing<String>,
    /// Letters of `url` up to the path.
    origin: usize,
    host: Box<str>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target(https://{})", self.host)
    }
}

impl Target {
    /// Reads and judges `url` of a PushSubscription.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn parse(url: &str, policy: &Policy) -> Result<Self, Reason> {
        if url.len() > MOST_LETTERS {
            return Err(Reason::TooLong);
        }
        plain(url)?;
        let parsed = Url::parse(url).map_err(|_| Reason::Malformed)?;
        let host = host(&parsed, policy)?;
        if !policy.ports.contains(&parsed.port().unwrap_or(443)) {
            return Err(Reason::Port);
        }
        let origin = parsed[..url::Position::BeforePath].len();
        let url = Zeroizing::new(String::from(parsed));
        let target = Self { url, origin, host };
        target.uri().map(|_| target).ok_or(Reason::Malformed)
    }

    /// The URL itself, for where it is kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// Scheme, host and a port that is not 443 (RFC 6454 §6.2): `aud` of RFC 8292 §2.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.url.get(..self.origin).unwrap_or_default()
    }

    /// The host, for limits: a name in lower case, in ASCII, or an address.
    #[must_use]
    pub fn host_key(&self) -> &str {
        &self.host
    }

    /// The URL for a request; never `None` for one that was parsed.
    pub(super) fn uri(&self) -> Option<Uri> {
        Uri::try_from(self.url.as_str()).ok()
    }
}

/// Refuses what is taken differently by different parsers, or dropped by some: anything but visible
/// ASCII (an internationalised name has its ASCII form, RFC 5891 §4.4), backslashes, NUL; and what no
/// URL of a push service has.
fn plain(url: &str) -> Result<(), Reason> {
    let is_plain = |octet: u8| octet.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&octet);
    if !url.bytes().all(is_plain) || url.contains("%00") {
        return Err(Reason::Malformed);
    }
    let (scheme, rest) = url.split_once(':').ok_or(Reason::Malformed)?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(Reason::Scheme);
    }
    let rest = rest.strip_prefix("//").ok_or(Reason::Malformed)?;
    if rest.contains('#') {
        return Err(Reason::Fragment);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority {
        "" => Err(Reason::Malformed),
        _ if authority.contains('@') => Err(Reason::Userinfo),
        _ if authority.contains('%') || authority.ends_with(':') => Err(Reason::Malformed),
        _ => Ok(()),
    }
}

/// The host, if pushes may be sent to it as far as the URL tells.
fn host(url: &Url, policy: &Policy) -> Result<Box<str>, Reason> {
    let literal = |address: IpAddr| {
        let judged = address::is_allowed(address, policy);
        judged.map(|()| address.to_string().into()).map_err(Reason::Address)
    };
    match url.host().ok_or(Reason::Malformed)? {
        Host::Ipv4(address) => literal(address.into()),
        Host::Ipv6(address) => literal(address.into()),
        Host::Domain(name) => {
            let mut barred = policy.own_hosts.iter().chain(&policy.neighbours);
            let is_barred = barred.any(|own| own.eq_ignore_ascii_case(name));
            if is_barred || !is_name(name) { Err(Reason::Host) } else { Ok(name.into()) }
        }
    }
}

/// Whether it is a name as hosts have them (RFC 1123 §2.1, with the underscore that DNS allows), and
/// not fully qualified by a dot at its end: certificates are not, and two spellings of one host would
/// be two.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
        (1..=63).contains(&label.len())
            && label.bytes().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MOST_HOST_LETTERS && name.split('.').all(is_label)
}
