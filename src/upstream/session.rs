//! Asks upstream for the Session resource with a client's credentials (RFC 8620 §2, §2.2; S8).
//!
//! Redirects are followed by path on the configured upstream, at most three: Cyrus answers
//! `/.well-known/jmap` by an absolute `http:` URL built from `Host` even behind TLS. A foreign
//! authority is refused by name (architecture D6).

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};

use super::{Failure, Upstream};
use crate::http::{Body, decode};
use crate::jmap::session::Session;

/// Redirects followed.
const MOST_REDIRECTS: usize = 3;

/// What came of asking for a Session.
#[derive(Debug)]
pub struct Fetched {
    /// 200 with a Session, or whatever upstream said instead.
    pub status: StatusCode,
    /// As upstream sent them, without those of a content coding.
    pub headers: HeaderMap,
    /// Whole, and decoded if it was compressed all the same.
    pub body: Bytes,
    /// Where it was found: path and query after redirects, against which relative URLs resolve.
    pub path: String,
}

impl Upstream {
    /// Fetches the resource at `path`, which may have a query, with `headers` (credentials, `Host`, forwarding headers),
    /// following redirects. `limit` bounds the body in bytes.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn fetch_session(
        &self,
        path: &str,
        headers: &HeaderMap,
        limit: usize,
    ) -> Result<Fetched, Failure> {
        let (mut path, mut redirected) = (path.to_owned(), false);
        for _ in 0..=MOST_REDIRECTS {
            let mut request = Request::new(Body::Empty);
            *request.method_mut() = Method::GET;
            *request.uri_mut() =
                Uri::try_from(&path).map_err(|_| Failure::Unusable("its path is not a URI"))?;
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let response = self.send(request).await?;
            if response.status().is_redirection() {
                path = self.redirect_path(&path, response.headers(), headers)?;
                redirected = true;
                continue;
            }
            let (mut parts, body) = response.into_parts();
            let body = body.collect_limited(limit).await.map_err(Failure::Body)?;
            let body = decode::decode(&parts.headers, body, limit).map_err(|_| {
                Failure::Unusable("its Session is in an unknown or broken encoding")
            })?;
            parts.headers.remove(CONTENT_ENCODING);
            // Clients may be set to where the redirect leads, too. Before anybody has shown a
            // credential, all that is known of the place is that it asks for one.
            let is_session = match parts.status {
                StatusCode::OK => Session::parse(&body).is_ok(),
                status => status == StatusCode::UNAUTHORIZED,
            };
            if redirected && is_session {
                self.paths().learn_session(&path);
            }
            return Ok(Fetched { status: parts.status, headers: parts.headers, body, path });
        }
        Err(Failure::Unusable("it redirects more than three times"))
    }

    /// The path a redirect leads to, provided that it stays on upstream: relative, or naming the
    /// host we asked with, or one of upstream's own addresses.
    fn redirect_path(
        &self,
        from: &str,
        response: &HeaderMap,
        asked: &HeaderMap,
    ) -> Result<String, Failure> {
        let unusable = Failure::Unusable("its redirect has no usable Location");
        let Some(location) = response.get(LOCATION).and_then(|value| value.to_str().ok()) else {
            return Err(unusable);
        };
        let Ok(uri) = Uri::try_from(location) else { return Err(unusable) };
        if let Some(authority) = uri.authority() {
            let host = |value: &str| value.split(':').next().unwrap_or("").to_ascii_lowercase();
            let asked = asked.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
            let ours =
                host(authority.as_str()) == host(asked) || self.is_called(authority.as_str());
            if !ours {
                return Err(Failure::ForeignRedirect(authority.to_string()));
            }
        }
        let to = uri.path_and_query().map_or("/", |path| path.as_str());
        if uri.authority().is_some() || to.starts_with('/') {
            return Ok(to.to_owned());
        }
        // Relative to the directory of the path we asked for (RFC 3986 §5.2.3).
        let from = from.split('?').next().unwrap_or(from);
        let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
        Ok(format!("{directory}/{to}"))
    }
}
