//! Who guesses (hostile.md X5): failed sign-ins to our own paths, by the address they come from. Pure.
//!
//! Only strangers are held up: a credential that upstream has taken before opens streams whatever its
//! neighbours do. Addresses that are no one's in particular (private, loopback) are not counted: behind
//! one of them may stand a proxy that the operator has not named, and with it everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// One failure is forgotten after this long.
const FORGIVEN: Duration = Duration::from_secs(10);

/// Addresses remembered at most. When full: those whose failures are all forgiven go; then a new one is
/// not counted.
const MOST_REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Attempts {
    /// `auth.failures`; zero counts nothing.
    most: u32,
    /// When all failures of a network will be forgiven. Held for map operations only.
    forgiven: Mutex<HashMap<u64, Moment>>,
}

impl Attempts {
    /// Allows `most` failures at once, and one more each ten seconds.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, forgiven: Mutex::default() }
    }

    /// How long a stranger at this address has to wait; `None` when they may try.
    #[must_use]
    pub fn wait(&self, client: Option<IpAddr>, now: Moment) -> Option<Duration> {
        let network = network(client?).filter(|_| self.most > 0)?;
        let forgiven = *self.lock().get(&network)?;
        // One more must fit.
        let most = FORGIVEN.saturating_mul(self.most.saturating_sub(1));
        forgiven.since(now).checked_sub(most).filter(|wait| !wait.is_zero())
    }

    /// A stranger at this address has failed.
    pub fn failed(&self, client: Option<IpAddr>, now: Moment) {
        let Some(network) = client.and_then(network).filter(|_| self.most > 0) else { return };
        let mut all = self.lock();
        if all.len() >= MOST_REMEMBERED && !all.contains_key(&network) {
            all.retain(|_, forgiven| *forgiven > now);
            if all.len() >= MOST_REMEMBERED {
                return;
            }
        }
        let forgiven = all.entry(network).or_insert(now);
        *forgiven = (*forgiven).max(now).after(FORGIVEN);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Moment>> {
        self.forgiven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one client can be taken to own: an IPv4 address, or the /64 of an IPv6 one.
fn network(client: IpAddr) -> Option<u64> {
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 6598.
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            let is_someones =
                !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared);
            // No IPv6 network begins with zeros.
            is_someones.then(|| u64::from(v4.to_bits()))
        }
        IpAddr::V6(v6) => {
            let is_someones =
                !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local());
            is_someones.then(|| u64::try_from(v6.to_bits() >> 64).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn who_fails_too_often_waits_for_the_first_to_be_forgiven() {
        let attempts = Attempts::new(3);
        let now = Moment(1_000_000);
        for _ in 0..3 {
            assert_eq!(attempts.wait(at("203.0.113.7"), now), None);
            attempts.failed(at("203.0.113.7"), now);
        }
        assert_eq!(attempts.wait(at("203.0.113.7"), now), Some(10 * SECOND));
        assert_eq!(
            attempts.wait(at("::ffff:203.0.113.7"), now.after(4 * SECOND)),
            Some(6 * SECOND)
        );
        assert_eq!(attempts.wait(at("203.0.113.7"), now.after(10 * SECOND)), None);
        assert_eq!(attempts.wait(at("203.0.113.8"), now), None);
        assert_eq!(attempts.wait(None, now), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let attempts = Attempts::new(1);
        attempts.failed(at("2001:db8:1:2:3::4"), Moment(0));
        assert!(attempts.wait(at("2001:db8:1:2:ffff::1"), Moment(0)).is_some());
        assert!(attempts.wait(at("2001:db8:1:3:3::4"), Moment(0)).is_none());
    }

    #[test]
    fn who_may_be_a_proxy_is_not_counted() {
        let attempts = Attempts::new(1);
        for address in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "::1", "fd00::1"] {
            attempts.failed(at(address), Moment(0));
            assert_eq!(attempts.wait(at(address), Moment(0)), None, "{address}");
        }
        let off = Attempts::new(0);
        off.failed(at("203.0.113.7"), Moment(0));
        assert_eq!(off.wait(at("203.0.113.7"), Moment(0)), None);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let attempts = Attempts::new(1);
        let address = |n: u32| Some(IpAddr::from((0xcb00_0000_u32 + n).to_be_bytes()));
        for n in 0..20_000 {
            attempts.failed(address(n), Moment(0));
        }
        assert_eq!(attempts.lock().len(), MOST_REMEMBERED);
        let later = Moment(0).after(11 * SECOND);
        attempts.failed(address(20_001), later);
        assert_eq!(attempts.lock().len(), 1);
    }
}
