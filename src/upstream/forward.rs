//! Everything that is not ours to understand: streamed through in both directions.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::Upstream;
use crate::drain::{Drain, Phase};
use crate::http::Body;
use crate::http::headers::clean_response;

impl Upstream {
    /// Sends a request on and its response back. Headers of the request are the caller's work.
    pub async fn forward(&self, request: Request<Body>) -> Response<Body> {
        match self.send(request).await {
            Ok(mut response) => {
                clean_response(response.headers_mut());
                response
            }
            Err(failure) => failure.response(),
        }
    }

    /// Leads a WebSocket handshake through (`upstream.push = "passthrough"`, architecture D14). Only
    /// once upstream has said 101 are the two connections joined; `open` is asked right before, and
    /// may still refuse. What it gives is held until the tunnel ends.
    pub async fn tunnel<T: Send + 'static>(
        &self,
        mut request: Request<Body>,
        drain: &Drain,
        open: impl FnOnce() -> Result<T, Box<Response<Body>>>,
    ) -> Response<Body> {
        let downstream = hyper::upgrade::on(&mut request);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        let mut response = match self.send_upgrade(request).await {
            Ok(response) => response,
            Err(failure) => return failure.response(),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let silence = self.settings().body_timeout;
            let mut response = response.map(|incoming| Body::relay(incoming, silence));
            clean_response(response.headers_mut());
            return response;
        }
        let held = match open() {
            Ok(held) => held,
            Err(refused) => return *refused,
        };
        let upstream = hyper::upgrade::on(&mut response);
        let ended = drain.clone();
        drain.spawn(async move {
            let _held = held;
            let Ok((downstream, upstream)) = tokio::try_join!(downstream, upstream) else { return };
            let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut downstream, &mut upstream) => {}
                () = ended.reached(Phase::Ended) => {}
            }
        });
        clean_response(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.map(|_| Body::Empty)
    }
}
