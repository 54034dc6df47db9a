//! The way to a push service: names are resolved, addresses judged, and no other address dialled than
//! one that was judged (RFC 8620 §8.6; hostile.md X6, X7). So a name that resolves differently the next
//! time gains nothing.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};
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
use super::neighbours::Neighbourhood;
use super::outcome::Unreachable;
use crate::clock::Moment;
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
    neighbourhood: Neighbourhood,
    /// Whether an address is this machine's.
    is_local: fn(IpAddr) -> bool,
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
        let places = Arc::new(Semaphore::new(most));
        Ok(Self(Arc::new(Shared {
            neighbourhood: Neighbourhood::new(policy),
            is_local: is_of_this_machine,
            resolver,
            lookups,
            tls,
            places,
            most_kept: connections,
        })))
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
        let addresses = self.addresses(host).await?;
        let tcp = dial(&addresses, port).await?;
        let tls = self.tls.connect(name, tcp).await.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TLS with a push service");
            Unreachable::Tls
        })?;
        Ok(Placed { socket: Socket::Tls(Box::new(tls.into())), place, is_kept })
    }

    /// Where a host may be dialled: at all of its addresses or at none.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unreachable> {
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.addresses(&self.lookups, host).await?,
        };
        let policy = self.neighbourhood.policy(&self.resolver, Moment::now()).await;
        for address in &addresses {
            self.judge(*address, &policy).map_err(Unreachable::Denied)?;
        }
        Ok(addresses)
    }

    fn judge(&self, address: IpAddr, policy: &Policy) -> Result<(), Denied> {
        address::is_allowed(address, policy)?;
        let is_ours = || (self.is_local)(address) && !address::is_opened(address, policy);
        if is_ours() { Err(Denied::Own) } else { Ok(()) }
    }
}

impl Resolver {
    /// The addresses of a name, one at least. The system is asked once there is a place among `lookups`.
    pub(super) async fn addresses(
        &self,
        lookups: &Arc<Semaphore>,
        host: &str,
    ) -> Result<Vec<IpAddr>, Unreachable> {
        let addresses = match self {
            Self::Table(table) => table(host),
            Self::System => {
                let place = Arc::clone(lookups).acquire_owned().await;
                let place = place.map_err(|_| Unreachable::Dns)?;
                let host = host.to_owned();
                let lookup = tokio::task::spawn_blocking(move || {
                    let _place = place;
                    // Of any port.
                    let found = (host.as_str(), 0).to_socket_addrs()?;
                    std::io::Result::Ok(found.map(|it| it.ip()).collect())
                });
                lookup.await.map_err(|_| Unreachable::Dns)?.map_err(|_| Unreachable::Dns)?
            }
        };
        if addresses.is_empty() { Err(Unreachable::Dns) } else { Ok(addresses) }
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
async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Unreachable> {
    for (left, address) in (0..addresses.len()).rev().zip(addresses) {
        let attempt = if left == 0 { PATIENCE } else { ATTEMPT };
        let connecting = TcpStream::connect((*address, port));
        if let Ok(Ok(tcp)) = tokio::time::timeout(attempt, connecting).await {
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

    /// A connector on a machine that has this address, and to which each name resolves.
    fn connector(is_local: fn(IpAddr) -> bool, policy: Policy, address: &'static str) -> Shared {
        let resolver = Resolver::Table(Arc::new(move |_| vec![address.parse().unwrap()]));
        let connector = Connector::new(policy, resolver, RootCertStore::empty(), 1).unwrap();
        Shared { is_local, ..Arc::into_inner(connector.0).unwrap() }
    }

    /// X6, P16: we listen on whatever addresses the machine has, which nobody lists.
    #[tokio::test]
    async fn what_is_this_machine_s_is_denied_unless_it_is_opened() {
        const ADDRESS: &str = "2a00::1";
        let here = |address: IpAddr| address.to_string() == ADDRESS;
        let own = Err(Unreachable::Denied(Denied::Own));
        let shut = connector(here, Policy::default(), ADDRESS);
        assert_eq!(shut.addresses("push.example").await, own);
        assert_eq!(shut.addresses(ADDRESS).await, own, "without a name, too");
        let allow_networks = vec!["2a00::1/128".parse().unwrap()];
        let opened = connector(here, Policy { allow_networks, ..Policy::default() }, ADDRESS);
        assert!(opened.addresses("push.example").await.is_ok());
        let elsewhere = connector(here, Policy::default(), "2a00::2");
        assert!(elsewhere.addresses("push.example").await.is_ok());
    }

    /// X6: given by name or by address, what is behind us is barred, and nothing opens it.
    #[tokio::test]
    async fn what_a_neighbour_s_name_resolves_to_is_denied_though_its_network_is_open() {
        let neighbours = vec!["jmap.example".to_owned()];
        let allow_networks = vec!["10.0.0.0/8".parse().unwrap()];
        let policy = Policy { neighbours, allow_networks, ..Policy::default() };
        let shared = connector(|_| false, policy, "10.0.0.1");
        let own = Err(Unreachable::Denied(Denied::Own));
        assert_eq!(shared.addresses("push.example").await, own);
        assert_eq!(shared.addresses("10.0.0.1").await, own);
        assert_eq!(shared.addresses("64:ff9b::a00:1").await, own);
        assert!(shared.addresses("10.0.0.2").await.is_ok());
    }

    #[test]
    fn an_address_of_this_machine_is_known_without_a_list() {
        for (address, expected) in
            [("127.0.0.1", true), ("192.0.2.1", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_of_this_machine(address.parse().unwrap()), expected, "{address}");
        }
    }
}
