//! `Location` of responses that lead to upstream itself (RFC 9110 §10.2.2): clients cannot go there, or
//! would go round us.
//!
//! Upstream names itself by the address it was connected at, or by the `Host` that was sent on, with the
//! scheme that it was asked by: a server behind our TLS knows nothing of it. Everything else is left as
//! it is: relative references, other hosts, and the other scheme, since a server that sends its clients
//! to https would be asked the same again for ever.

use http::HeaderValue;
use http::header::{HeaderMap, LOCATION};

use crate::config::UpstreamAddress;

/// Upstream as it is asked.
#[derive(Debug, Clone)]
pub struct Redirects(Vec<(&'static str, String)>);

impl Redirects {
    /// For `upstream.url`.
    #[must_use]
    pub fn new(addresses: &[UpstreamAddress]) -> Self {
        let origin = |address: &UpstreamAddress| {
            (if address.tls { "https" } else { "http" }, address.authority.clone())
        };
        Self(addresses.iter().map(origin).collect())
    }

    /// Leads a client back to `public_origin`. `host` is the authority the request named.
    pub fn rewrite(&self, response: &mut HeaderMap, host: &str, public_origin: &str) {
        let Some(location) = response.get(LOCATION).and_then(|value| value.to_str().ok()) else {
            return;
        };
        let Some(rest) = self.own(location, host) else { return };
        if let Ok(location) = HeaderValue::try_from(format!("{public_origin}{rest}")) {
            response.insert(LOCATION, location);
        }
    }

    /// What is behind upstream's own scheme and authority.
    fn own<'a>(&self, location: &'a str, host: &str) -> Option<&'a str> {
        let (scheme, behind) = location.split_once("//")?;
        let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        let is_own = self.0.iter().any(|(own_scheme, own)| {
            let same =
                |own| bare(authority, own_scheme).eq_ignore_ascii_case(bare(own, own_scheme));
            match scheme.strip_suffix(':') {
                Some(scheme) => {
                    scheme.eq_ignore_ascii_case(own_scheme) && (same(own) || same(host))
                }
                // `//host/path` keeps the client's scheme, so the host it asked is right as it is.
                None => scheme.is_empty() && same(own) && !same(host),
            }
        });
        is_own.then_some(rest)
    }
}

/// An authority without the port that its scheme implies.
fn bare<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}
