//! A small HTTP/1.1 server for doors that are not the clients': health, metrics, notifications.
//!
//! Whoever comes here need not have said yet who they are, so what they can hold is little: so many
//! connections, each with a head of so many bytes, and for so long.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::Body;
use super::listener::Listener;

/// From the begin of a connection, or the end of its last request, to the end of the next head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a head, and of an answer that the caller does not read; hyper takes no less than 8 KB.
const BUFFER: usize = 16 * 1024;

/// Connections of one door. When full: the next wait in the kernel, none longer than [`HEAD_WITHIN`] for an
/// idle one to go.
pub const CONNECTIONS: usize = 64;

/// A pause after accept(2) has failed, instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a door until it is dropped; connections it has accepted outlive it by their request.
pub async fn serve<A, F>(listener: Listener, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut starved = false;
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                if !std::mem::replace(&mut starved, true) {
                    tracing::error!(%error, door = %listener.address(), "cannot accept connections: raise the descriptor limit");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        starved = false;
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
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(socket), service);
            if let Err(error) = http.await {
                tracing::trace!(%error, "side door");
            }
            drop(place);
        });
    }
}
