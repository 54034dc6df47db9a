//! A small JMAP server without push (RFC 8620, RFC 8621): what the proxy is shown in front of.
//!
//! In memory, with two people and an account they share. Real enough for real clients: all of
//! RFC 8620 except push, `Blob/copy` and `/queryChanges`; of RFC 8621 the methods listed in
//! `methods`. It does not persist anything, and speaks HTTP/1.1 without TLS.
//!
//! | | |
//! |---|---|
//! | `store` | what there is and what a change does: pure |
//! | `methods`, `api` | from a request's body to its response's: pure |
//! | `message`, `date` | e-mail as bytes and as properties: pure |
//! | `session`, `files`, `new_mail`, `http` | resources and their wire form |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::push_service::PushService;
use crate::drain::{Drain, Phase};
use date::UtcDate;
use http::Resources;
use store::Store;

pub use store::Delivery;

mod api;
mod date;
mod files;
mod http;
mod message;
mod methods;
mod new_mail;
mod session;
mod store;

/// Deliveries waiting to be told. When full: new ones are dropped, and found by the probe.
const UNTOLD: usize = 1024;

/// A running server. It stops when its [`Drain`] is draining.
#[derive(Debug)]
pub struct Server {
    /// Where it listens: 127.0.0.1 and a free port.
    pub address: SocketAddr,
    /// Mail as it comes in: what a mail server tells its notification bus. Changes made by API
    /// requests are not here, except mail that a submission delivers.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Where the page has pushes sent to; `None` where there can be none.
    pub push_service: Option<PushService>,
}

impl Server {
    /// Starts a server with fresh content.
    ///
    /// # Errors
    /// When no port of 127.0.0.1 can be bound.
    pub async fn start(drain: &Drain) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, deliveries) = mpsc::channel(UNTOLD);
        let epoch = format!("{:08x}", rand::random::<u32>());
        let push_service = PushService::start(drain).await.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "no push service in this demo");
        });
        let push_service = push_service.ok();
        let store = Store::new(&epoch, UtcDate::now());
        let resources = Resources::new(store, sender, push_service.clone());
        drain.spawn(accept(listener, Arc::new(resources), drain.clone()));
        Ok(Self { address, deliveries, push_service })
    }
}

async fn accept(listener: TcpListener, resources: Arc<Resources>, drain: Drain) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.reached(Phase::Draining) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                drain.spawn(serve(stream, Arc::clone(&resources), drain.clone()));
            }
            // Out of descriptors, or the peer is gone already: others may fare better.
            Err(error) => {
                tracing::warn!(%error, "demo server could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, resources: Arc<Resources>, drain: Drain) {
    let service = service_fn(move |request| {
        let resources = Arc::clone(&resources);
        async move { Ok::<_, Infallible>(resources.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "demo server lost a connection");
    }
}

#[cfg(test)]
mod tests;
