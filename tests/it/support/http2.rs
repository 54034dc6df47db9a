//! An HTTP/2 client (RFC 9113): many requests on one connection, and windows as a test likes them.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::http::Exchanged;
use super::wait::within;

type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// A connection. Ends when dropped.
pub(crate) struct Http2 {
    sender: SendRequest<Outgoing>,
    connection: JoinHandle<Result<(), hyper::Error>>,
    authority: String,
}

impl Http2 {
    /// Connects by prior knowledge.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.unwrap();
        Self::over(socket, to, |_| {}).await
    }

    /// Speaks over a stream that is open; `tweak` sets windows.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        to: SocketAddr,
        tweak: impl FnOnce(&mut Builder<TokioExecutor>),
    ) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        tweak(&mut builder);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
        let connection = tokio::spawn(connection);
        Self { sender, connection, authority: to.to_string() }
    }

    /// Sends a request and waits for the response's head. A path becomes a URI of the proxy's.
    pub(crate) async fn send<B>(
        &mut self,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, hyper::Error>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        if request.uri().authority().is_none() {
            let uri = format!("http://{}{}", self.authority, request.uri());
            *request.uri_mut() = uri.parse().unwrap();
        }
        self.send_as_is(request).await
    }

    /// The same without a word added: what names no authority goes without one.
    pub(crate) async fn send_as_is<B>(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, hyper::Error>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        self.sender.ready().await?;
        within("response", self.start(request)).await
    }

    /// Sends a request; its response may be waited for later.
    pub(crate) fn start<B>(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, hyper::Error>> + use<B>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        self.sender.send_request(request.map(BodyExt::boxed_unsync))
    }

    /// Sends a request and reads the response to its end.
    pub(crate) async fn exchange<B>(&mut self, request: Request<B>) -> Exchanged
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let (parts, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(parts, within("body", body.collect()).await?.to_bytes()))
    }

    /// Waits until the connection is over.
    pub(crate) async fn ended(mut self) -> Result<(), hyper::Error> {
        within("end of the connection", &mut self.connection).await.unwrap()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
