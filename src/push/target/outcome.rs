//! What came of one push (RFC 8030 §5, §7.3, §8.4; RFC 8620 §7.2, P4; protocol.md §1.7; hostile.md X11). Pure.

use std::time::{Duration, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::address::Denied;

/// The longest that a push service can ask us to wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What came of one push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Any 2xx. It says that the message was taken, and nothing about the client.
    Accepted(StatusCode),
    /// 404 or 410: the subscription is no more.
    Gone(StatusCode),
    /// 413: the message is too long for this push service.
    TooLarge,
    /// 429, or a 503 that says how long: to be sent no earlier. At most [`LONGEST_WAIT`]; `None` when a
    /// 429 does not say.
    Slow {
        /// From now on.
        retry_after: Option<Duration>,
    },
    /// Any other 4xx: another attempt would end the same. With 400, 401 and 403 it is what we send
    /// that is wrong (RFC 8292 §4.2, RFC 9749 §4).
    Refused(StatusCode),
    /// 3xx. Nothing was asked of where it leads.
    Redirected(StatusCode),
    /// Anything else: the push service is at fault.
    Failed(StatusCode),
    /// There was no response.
    Unreachable(Unreachable),
}

/// Why there was no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The name has no address.
    #[error("its name cannot be resolved")]
    Dns,
    /// One of its addresses is not allowed: none was dialled.
    #[error("it has {0}")]
    Denied(Denied),
    /// No address could be connected to.
    #[error("it cannot be connected to")]
    Connect,
    /// No TLS, or a certificate that is not believed.
    #[error("no TLS could be agreed on with it")]
    Tls,
    /// Time ran out.
    #[error("it did not answer in time")]
    Timeout,
    /// The connection ended, or what came over it was not HTTP or too much of it.
    #[error("it broke the connection or spoke no HTTP")]
    Broken,
}

impl Outcome {
    /// Reads a response's head; `now` is the wall clock, since the epoch.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: Duration) -> Self {
        let wait = || retry_after(headers, now);
        match status.as_u16() {
            200..300 => Self::Accepted(status),
            300..400 => Self::Redirected(status),
            404 | 410 => Self::Gone(status),
            413 => Self::TooLarge,
            429 => Self::Slow { retry_after: wait() },
            // What stands between has had trouble of its own.
            408 | 421 | 425 => Self::Failed(status),
            400..500 => Self::Refused(status),
            503 => match wait() {
                None => Self::Failed(status),
                retry_after => Self::Slow { retry_after },
            },
            _ => Self::Failed(status),
        }
    }
}

/// `Retry-After` in either form (RFC 9110 §10.2.3); a date that is over means now.
fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
    let wait = if is_number {
        value.parse().map_or(LONGEST_WAIT, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH);
        date.unwrap_or_default().saturating_sub(now)
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const DATE: Duration = Duration::from_secs(784_111_777);

    fn outcome(status: u16, retry_after: Option<&str>) -> Outcome {
        let value = retry_after.map(|value| (RETRY_AFTER, HeaderValue::from_str(value).unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::of(status, &value.into_iter().collect(), DATE - Duration::from_secs(60))
    }

    fn slow(seconds: u64) -> Outcome {
        Outcome::Slow { retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn a_status_says_what_to_do() {
        use Outcome::*;
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (code, expected) in [
            (200, Accepted as fn(_) -> _),
            (201, Accepted),
            (202, Accepted),
            (299, Accepted),
            (301, Redirected),
            (302, Redirected),
            (304, Redirected),
            (308, Redirected),
            (400, Refused),
            (401, Refused),
            (403, Refused),
            (405, Refused),
            (499, Refused),
            (404, Gone),
            (410, Gone),
            (500, Failed),
            (502, Failed),
            (503, Failed),
            (101, Failed),
            (600, Failed),
            (999, Failed),
        ] {
            assert_eq!(outcome(code, None), expected(status(code)));
        }
        assert_eq!(outcome(413, Some("1")), TooLarge);
        assert_eq!(outcome(429, None), Slow { retry_after: None });
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (value, expected) in [
            ("120", slow(120)),
            (" 7 ", slow(7)),
            ("0", slow(0)),
            ("86401", slow(86_400)),
            ("99999999999999999999999", slow(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", slow(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", slow(60)),
            ("Sun Nov  6 08:49:37 1994", slow(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", slow(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", slow(86_400)),
        ] {
            assert_eq!(
                (outcome(429, Some(value)), outcome(503, Some(value))),
                (expected, expected)
            );
        }
        for value in ["", "-1", "1.5", "soon", "+3", "Sun, 06 Nov"] {
            assert_eq!(outcome(429, Some(value)), Outcome::Slow { retry_after: None }, "{value}");
            assert!(matches!(outcome(503, Some(value)), Outcome::Failed(_)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_a_day(value in "[ -~]{0,40}") {
            if let Outcome::Slow { retry_after: Some(wait) } = outcome(429, Some(&value)) {
                prop_assert!(wait <= LONGEST_WAIT);
            }
        }
    }
}
