//! The names by which clients know upstream: what goes into `:authority` (RFC 9113 §8.3.1). Pure.
//!
//! Towards HTTP/2 the client's `Host` is `:authority`, which is also the key of the connection pool:
//! each name has connections of its own. So names are counted, or a client that makes them up could
//! have us open a connection for each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;

use crate::clock::Moment;

/// Names in use at one time. When full: a new name goes out as the address' own, until one of the
/// others has not been used for as long as connections are kept.
const MOST: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Names {
    /// With their last use.
    known: Mutex<Vec<(Authority, Moment)>>,
    kept: Duration,
}

impl Names {
    /// `kept` is how long an idle connection is kept.
    pub(super) fn new(kept: Duration) -> Self {
        Self { known: Mutex::default(), kept }
    }

    /// The name in a `Host` header, if it may be used.
    pub(super) fn admit(&self, host: &[u8], now: Moment) -> Option<Authority> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, used)) =
            known.iter_mut().find(|(name, _)| name.as_str().as_bytes() == host)
        {
            *used = now;
            return Some(name.clone());
        }
        let name = Authority::try_from(host).ok().filter(|name| !name.as_str().contains('@'))?;
        if known.len() >= MOST {
            known.retain(|(_, used)| now.since(*used) < self.kept);
        }
        (known.len() < MOST).then(|| {
            known.push((name.clone(), now));
            name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(10);

    #[test]
    fn names_that_are_made_up_do_not_push_out_those_in_use() {
        let names = Names::new(KEPT);
        let start = Moment(0);
        assert_eq!(names.admit(b"mail.example", start).unwrap(), "mail.example");
        for made_up in 0..100 {
            let name = format!("{made_up}.example");
            assert_eq!(names.admit(name.as_bytes(), start).is_some(), made_up < MOST - 1);
        }
        let later = start.after(KEPT / 2);
        assert!(names.admit(b"mail.example", later).is_some(), "in use");
        assert!(names.admit(b"new.example", later).is_none(), "full");
        let later = start.after(KEPT);
        assert!(names.admit(b"new.example", later).is_some(), "the others are used no more");
        assert!(names.admit(b"mail.example", later).is_some());
    }

    #[test]
    fn what_is_no_authority_is_no_name() {
        let names = Names::new(KEPT);
        for host in ["", "a b", "user@mail.example", "a/b"] {
            assert_eq!(names.admit(host.as_bytes(), Moment(0)), None, "{host}");
        }
    }
}
