//! How many connections to upstream there are, and who gets none (hostile.md: descriptors run out).

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, StatusCode};
use jmap_push_proxy::config::Config;
use jmap_push_proxy::http::Body;
use jmap_push_proxy::upstream::{self, Failure, Kept, Probe, Room, Subscription};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::rig::address_of;
use crate::support::upstream::{Fault, SESSION, Upstream};

/// Our side of an upstream that answers alice's requests when told to.
struct Held {
    upstream: Upstream,
    behind: Arc<upstream::Upstream>,
    gate: Arc<Semaphore>,
}

impl Held {
    async fn start(clients: &Arc<Semaphore>, requests: usize, probes: usize) -> Self {
        let upstream = Upstream::start().await;
        let gate = Arc::new(Semaphore::new(0));
        upstream.fail(&format!("alice {SESSION}"), Fault::Hold(Arc::clone(&gate)), 100);
        let mut settings = Config::default().upstream;
        settings.addresses = vec![address_of(upstream.address)];
        settings.connect_timeout = Duration::from_millis(200);
        let kept = Kept { requests, probes, subscriptions: 1 };
        let room = Room::new(Arc::clone(clients), kept);
        let behind = upstream::Upstream::new(settings, Arc::default(), &room).unwrap();
        Self { upstream, behind: Arc::new(behind), gate }
    }

    /// Alice's requests take as many connections.
    async fn take(&self, connections: usize) -> JoinSet<StatusCode> {
        let mut taken = JoinSet::new();
        for _ in 0..connections {
            let behind = Arc::clone(&self.behind);
            taken.spawn(async move {
                let (head, body) = behind.forward(request("alice")).await.into_parts();
                body.collect_limited(1 << 20).await.unwrap();
                head.status
            });
        }
        self.upstream.asked(SESSION, connections).await;
        taken
    }
}

fn request(user: &str) -> Request<Body> {
    let request = Request::get(SESSION).header(AUTHORIZATION, format!("Bearer {user}"));
    request.body(Body::Empty).unwrap()
}

fn nobody() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

#[tokio::test]
async fn a_request_without_a_descriptor_for_it_is_503_after_the_time_for_connecting() {
    let held = Held::start(&nobody(), 2, 1).await;
    let taken = held.take(2).await;
    let response = held.behind.forward(request("bob")).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key(RETRY_AFTER));
    assert_eq!(held.upstream.sessions_of("bob"), 0);
    held.gate.add_permits(2);
    assert_eq!(taken.join_all().await, [StatusCode::OK; 2]);
}

#[tokio::test]
async fn a_request_that_waits_is_sent_once_a_connection_is_free() {
    let held = Held::start(&nobody(), 2, 1).await;
    let taken = held.take(2).await;
    let waiting = held.behind.forward(request("bob"));
    let (response, ()) = tokio::join!(waiting, async { held.gate.add_permits(2) });
    assert_eq!(response.status(), 200);
    drop(taken);
}

#[tokio::test]
async fn a_probe_is_sent_while_requests_hold_all_other_connections() {
    let held = Held::start(&nobody(), 2, 1).await;
    let _taken = held.take(2).await;
    let mut probe = request("bob");
    probe.extensions_mut().insert(Probe);
    assert_eq!(held.behind.forward(probe).await.status(), 200);
}

#[tokio::test]
async fn connections_beyond_those_that_are_kept_take_the_places_of_clients() {
    let clients = Arc::new(Semaphore::new(3));
    let held = Held::start(&clients, 2, 1).await;
    let _taken = held.take(4).await;
    assert_eq!(clients.available_permits(), 1);
}

#[tokio::test]
async fn subscriptions_take_their_own_places_and_those_of_clients_and_no_others() {
    let clients = Arc::new(Semaphore::new(1));
    let held = Held::start(&clients, 2, 1).await;
    let subscribe = || held.behind.subscribe(request("bob"), Subscription(0));
    let (first, second) = (subscribe().await.unwrap(), subscribe().await.unwrap());
    assert_eq!((first.status(), clients.available_permits()), (StatusCode::OK, 0));
    assert!(matches!(subscribe().await, Err(Failure::Full(_))));
    assert_eq!(held.behind.forward(request("bob")).await.status(), 200);
    drop((first, second));
}
