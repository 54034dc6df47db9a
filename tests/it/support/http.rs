//! One HTTP exchange on a connection of its own.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::wait::within;

/// A whole response, or why there is none.
pub(crate) type Exchanged = Result<Response<Bytes>, hyper::Error>;

/// Sends a request and reads the response to its end.
pub(crate) async fn exchange<B>(to: SocketAddr, request: Request<B>) -> Exchanged
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    exchange_by(to, request, whole).await
}

/// The same over a stream that is open already.
pub(crate) async fn exchange_over<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    to: SocketAddr,
    request: Request<B>,
) -> Exchanged
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    exchange_over_by(stream, to, request, whole).await
}

/// Sends a request; `read` makes of the response what it likes.
pub(crate) async fn exchange_by<B, T>(
    to: SocketAddr,
    request: Request<B>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, hyper::Error>,
) -> Result<T, hyper::Error>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    exchange_over_by(TcpStream::connect(to).await.unwrap(), to, request, read).await
}

async fn whole(response: Response<Incoming>) -> Exchanged {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

async fn exchange_over_by<B, T>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    to: SocketAddr,
    mut request: Request<B>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, hyper::Error>,
) -> Result<T, hyper::Error>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    if !request.headers().contains_key(header::HOST) {
        let host = to.to_string().parse().unwrap();
        request.headers_mut().insert(header::HOST, host);
    }
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let asking = async { read(sender.send_request(request).await?).await };
    let mut asking = pin!(asking);
    within("response", async {
        tokio::select! {
            biased;
            answer = &mut asking => answer,
            _ = connection => asking.await,
        }
    })
    .await
}

/// A request of a user, without a body.
pub(crate) fn asking(method: &str, path: &str, user: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    request.header(header::AUTHORIZATION, format!("Bearer {user}")).body(Full::default()).unwrap()
}
