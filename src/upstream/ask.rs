//! API requests of our own (§3), read whole.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};

use super::client::Upstream;
use super::failure::Failure;
use super::room::Probe;
use crate::http::body::BodyError;
use crate::http::decode::{DecodeError, decode};
use crate::http::{Body, reply};

/// What upstream answered.
#[derive(Debug)]
pub struct Asked {
    /// The status, whichever.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, decoded.
    pub body: Bytes,
}

impl Upstream {
    /// Posts an API request to `path`, with what `authenticate` puts on it, in the room that is kept for
    /// probes; reads at most `limit` bytes.
    ///
    /// # Errors
    /// See [`Failure`]; a status is none.
    pub async fn ask(
        &self,
        path: &str,
        body: Bytes,
        limit: usize,
        authenticate: impl FnOnce(&mut HeaderMap),
    ) -> Result<Asked, Failure> {
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = Method::POST;
        request.extensions_mut().insert(Probe);
        *request.uri_mut() =
            Uri::try_from(path).map_err(|_| Failure::Unusable("its apiUrl has no path"))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, reply::JSON);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(ACCEPT, reply::JSON);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &self.settings().headers {
            headers.insert(name, value.clone());
        }
        authenticate(headers);
        if !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(self.default_authority())
        {
            headers.insert(HOST, host);
        }
        *request.body_mut() = body.into();
        let (parts, body) = self.send(request).await?.into_parts();
        let body = body.collect_limited(limit).await.map_err(Failure::Body)?;
        let body = decode(&parts.headers, body, limit).map_err(|error| match error {
            DecodeError::TooLarge(limit) => Failure::Body(BodyError::TooLarge(limit)),
            DecodeError::Unknown | DecodeError::Invalid(_) => {
                Failure::Unusable("its encoding is unknown or broken")
            }
        })?;
        Ok(Asked { status: parts.status, headers: parts.headers, body })
    }
}
