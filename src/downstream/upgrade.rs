//! The way of a WebSocket's socket out of hyper: by HTTP/1.1 the whole connection (RFC 9110 §7.8), by
//! HTTP/2 one stream of it (RFC 8441).

use std::sync::{Arc, Mutex, PoisonError};

use http::Response;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;

use super::guard::GuardedIo;
use crate::http::Body;
use crate::http::prefixed::Prefixed;
use crate::http::socket::Socket;
use crate::streams::{Conversation as _, Engine, Limits, Place};
use crate::websocket::Opened;
use crate::websocket::connection::Connection;
use crate::websocket::jmap::Jmap;

/// What goes from the handler to the connection's driver, beside the response that opens a WebSocket.
#[derive(Clone)]
pub(super) struct Upgrade(Arc<Mutex<Option<(OnUpgrade, Waiting)>>>);

/// A WebSocket without a socket.
pub(super) struct Waiting {
    connection: Connection<Jmap>,
    limits: Arc<Limits>,
}

impl Upgrade {
    /// The response to a request that `on` was taken from.
    pub(super) fn response(on: OnUpgrade, opened: Opened) -> Response<Body> {
        let Opened { connection, limits, mut response } = opened;
        let waiting = Waiting { connection, limits };
        response.extensions_mut().insert(Self(Arc::new(Mutex::new(Some((on, waiting))))));
        response
    }

    /// Waits until hyper has sent the response, and hands the socket over.
    pub(super) async fn complete(self, engine: Arc<Engine>, place: Place) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((on, Waiting { mut connection, limits })) = waiting else { return };
        // The client is gone before it was answered.
        let Ok(upgraded) = on.await else { return };
        let (socket, early) = socket_of(upgraded);
        connection.receive(&early);
        engine.adopt(socket, connection, limits, place);
    }
}

/// The socket, and what was read from it already.
fn socket_of(upgraded: Upgraded) -> (Socket, Vec<u8>) {
    match upgraded.downcast::<GuardedIo<Prefixed<Socket>>>() {
        Ok(Parts { io, read_buf, .. }) => {
            let (socket, held) = io.into_inner();
            (socket.into_inner(), [&*read_buf, &*held].concat())
        }
        Err(stream) => (Socket::Http2(Box::new(TokioIo::new(stream))), Vec::new()),
    }
}
