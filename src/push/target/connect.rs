//! The way to a push service: names are resolved, addresses judged, and no other address dialled than
//! one that was judged (RFC 8620 §8.6; hostile.md X6, X7). So a name that resolves differently the next
//! time gains nothing.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::Policy;
use super::address::{self, Denied};
use super::outcome::Unreachable;
use crate::http::placed::Placed;
use crate::http::socket::Socket;

/// From the first question to DNS until TLS is agreed on (hostile.md X8).
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one address may take where another is left to try.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Names that are resolved at once. When full: the next waits, as long as its connection may take. Each
/// holds a thread until the system's resolver gives up, which may be long after we did.
const MOST_LOOKUPS: usize = 16;

/// Who says which addresses a name has.
#[derive(Clone)]
pub enum Resolver {
    /// The system.
    System,
    /// A function, asked anew for each connection.
    Table(Table),
}

/// The addresses of a name.
pub type Table = Arc<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// A connector for hyper's pool.
#[derive(Clone)]
pub(super) struct Connector(Arc<Shared>);

struct Shared {
    policy: Policy,
    resolver: Resolver,
    lookups: Arc<Semaphore>,
    tls: TlsConnector,
    /// Twice as many as there are requests at once: half of them for connections that may be idle.
    places: Arc<Semaphore>,
    most_kept: usize,
}

impl Connector {
    /// For `connections` requests at once, and as many connections kept for the next. When full: a
    /// connection waits for a place, as long as it may take.
    pub(super) fn new(
        policy: Policy,
        resolver: Resolver,
        roots: RootCertStore,
        connections: usize,
    ) -> Result<Self, rustls::Error> {
        let tls = crate::http::tls::client_config(roots, &["h2", "http/1.1"])?;
        let tls = TlsConnector::from(Arc::new(tls));
        let lookups = Arc::new(Semaphore::new(MOST_LOOKUPS));
        let most = connections.saturating_mul(2).clamp(2, Semaphore::MAX_PERMITS);
        let (places, most_kept) = (Arc::new(Semaphore::new(most)), connections);
        Ok(Self(Arc::new(Shared { policy, resolver, lookups, tls, places, most_kept })))
    }

    /// Whether one more connection may be kept for other requests.
    pub(super) fn has_room(&self) -> bool {
        self.0.places.available_permits() > self.0.most_kept
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Placed>;
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Placed>, Unreachable>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let connecting = tokio::time::timeout(PATIENCE, shared.connect(&uri));
            connecting.await.unwrap_or(Err(Unreachable::Timeout)).map(TokioIo::new)
        })
    }
}

impl Shared {
    async fn connect(&self, uri: &Uri) -> Result<Placed, Unreachable> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Unreachable::Dns)?;
        // Never closed.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Unreachable::Connect)?;
        let is_kept = self.places.available_permits() >= self.most_kept;
        let addresses = self.resolve(host, port).await?;
        for address in &addresses {
            self.judge(address.ip()).map_err(Unreachable::Denied)?;
        }
        let tcp = dial(&addresses).await?;
        let tls = self.tls.connect(name, tcp).await.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TLS with a push service");
            Unreachable::Tls
        })?;
        Ok(Placed { socket: Socket::Tls(Box::new(tls.into())), place, is_kept })
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreachable> {
        let at = |address| SocketAddr::new(address, port);
        if let Ok(address) = host.parse() {
            return Ok(vec![at(address)]);
        }
        let addresses: Vec<SocketAddr> = match &self.resolver {
            Resolver::Table(table) => table(host).into_iter().map(at).collect(),
            Resolver::System => {
                let place = Arc::clone(&self.lookups).acquire_owned().await;
                let place = place.map_err(|_| Unreachable::Dns)?;
                let host = host.to_owned();
                let lookup = tokio::task::spawn_blocking(move || {
                    let _place = place;
                    (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
                });
                lookup.await.map_err(|_| Unreachable::Dns)?.map_err(|_| Unreachable::Dns)?
            }
        };
        if addresses.is_empty() { Err(Unreachable::Dns) } else { Ok(addresses) }
    }

    fn judge(&self, address: IpAddr) -> Result<(), Denied> {
        address::is_allowed(address, &self.policy)?;
        let is_ours = || is_of_this_machine(address) && !address::is_opened(address, &self.policy);
        if is_ours() { Err(Denied::Own) } else { Ok(()) }
    }
}

/// Whether an address is one of this machine's, on whose every interface we may listen: the kernel
/// sends to those from themselves. Nothing is sent to find out.
fn is_of_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Any port will do. What cannot be routed cannot be reached either.
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 443))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

/// Connects to the first address that can be connected to.
async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, Unreachable> {
    for (left, address) in (0..addresses.len()).rev().zip(addresses) {
        let attempt = if left == 0 { PATIENCE } else { ATTEMPT };
        if let Ok(Ok(tcp)) = tokio::time::timeout(attempt, TcpStream::connect(address)).await {
            // Only delays what is small.
            let _ = tcp.set_nodelay(true);
            return Ok(tcp);
        }
    }
    Err(Unreachable::Connect)
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Table(_) => "Table(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_known_without_a_list() {
        for (address, expected) in
            [("127.0.0.1", true), ("192.0.2.1", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_of_this_machine(address.parse().unwrap()), expected, "{address}");
        }
    }
}
