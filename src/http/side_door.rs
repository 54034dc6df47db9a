//! A small HTTP/1.1 server for doors that are not the clients': health, metrics, notifications.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::Body;
use super::listener::Listener;

/// From a connection's first byte, or the end of its last request, to the end of the next head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// A pause after accept(2) has failed, instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a door until it is dropped; connections it has accepted outlive it by their request.
pub async fn serve<A, F>(listener: Listener, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        #[expect(clippy::disallowed_methods, reason = "the end waits for no side door")]
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let http = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(socket), service);
            if let Err(error) = http.await {
                tracing::trace!(%error, "side door");
            }
        });
    }
}
