//! Opens what upstream answers without end: its own push (RFC 8620 §7.3). How long it may be silent
//! is the caller's affair.

use http::{Request, Response};
use hyper::body::Incoming;

use super::room::Subscription;
use super::{Failure, Upstream};
use crate::http::Body;

impl Upstream {
    /// Sends a request and waits for the response's head, for `upstream.response_timeout` at most. Its
    /// connection is none that requests or probes could want.
    ///
    /// # Errors
    /// See [`Failure`]; health is told of those that say something about upstream.
    pub async fn subscribe(
        &self,
        mut request: Request<Body>,
        place: Subscription,
    ) -> Result<Response<Incoming>, Failure> {
        request.extensions_mut().insert(place);
        self.send_upgrade(request).await
    }
}
