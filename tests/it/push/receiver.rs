//! A push service that does as a test says: octets over TLS, or HTTP/2 by hyper.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;

use super::NAME;
use crate::support::certificate::Ca;

/// See the module. Ends when dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// One connection.
pub(crate) struct Accepted(TlsStream<TcpStream>);

/// Counts a connection while it is there.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with the receiver or its connections")]
impl Receiver {
    /// TCP at an address, each connection served by itself.
    pub(crate) async fn tcp<F>(at: &str, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, opened) = (Arc::clone(&accepted), Arc::clone(&open));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&opened));
                let served = serve(tcp);
                tokio::spawn(async move {
                    served.await;
                    drop(open);
                });
            }
        });
        Self { address, accepted, open, task }
    }

    /// HTTP/1.1 over TLS as [`NAME`], octet by octet.
    pub(crate) async fn tls<F>(
        ca: &Ca,
        serve: impl Fn(Accepted) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::tls_at("127.0.0.1:0", NAME, ca, serve).await
    }

    pub(crate) async fn tls_at<F>(
        at: &str,
        name: &str,
        ca: &Ca,
        serve: impl Fn(Accepted) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = ca.server_called(&[name, "*.push.example"], &["http/1.1"]);
        Self::tcp(at, move |tcp| {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            async move {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    serve(Accepted(stream)).await;
                }
            }
        })
        .await
    }

    /// A raw receiver that answers every request with these octets, and keeps the connection.
    pub(crate) async fn answering(ca: &Ca, answer: &'static str) -> Self {
        Self::tls(ca, move |mut accepted| async move {
            while accepted.request().await.is_some() && accepted.send(answer).await {}
        })
        .await
    }

    /// HTTP/2 over TLS as [`NAME`]; the first argument is which connection it is, from 0.
    pub(crate) async fn http2<F>(
        ca: &Ca,
        answer: impl Fn(usize, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = StatusCode> + Send + 'static,
    {
        let acceptor = ca.server_called(&[NAME], &["h2", "http/1.1"]);
        let connections = AtomicUsize::new(0);
        Self::tcp("127.0.0.1:0", move |tcp| {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            let connection = connections.fetch_add(1, Ordering::SeqCst);
            async move {
                let stream = acceptor.accept(tcp).await.unwrap();
                let service = service_fn(move |request| {
                    let answered = answer(connection, request);
                    async move {
                        let mut response = Response::new(Full::new(Bytes::new()));
                        *response.status_mut() = answered.await;
                        Ok::<_, Infallible>(response)
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // However it ends.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Accepted {
    /// The next request, head and body; `None` when the sender has gone.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if let (Some(head), Some(length)) = (text.find("\r\n\r\n"), length)
                && request.len() >= head + 4 + length.parse::<usize>().unwrap()
            {
                return Some(text);
            }
            self.0.read_buf(&mut request).await.ok().filter(|count| *count > 0)?;
        }
    }

    /// Whether the sender took these octets.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) -> bool {
        let sent = self.0.write_all(octets.as_ref()).await.is_ok();
        sent && self.0.flush().await.is_ok()
    }

    /// Waits until the sender has gone.
    pub(crate) async fn gone(&mut self) {
        while self.0.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    }
}
