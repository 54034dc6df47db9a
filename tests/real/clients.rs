//! Clients that others wrote: libraries and a browser, each before a real Cyrus through the proxy
//! (docs/clients.md; T-SSE-1, T-SSE-4, T-SSE-13; hostile.md X16).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::client::event_source_target;
use crate::support::proxy::{Settings, free_address};
use crate::support::{Client, Clients, Cyrus, Instant, Listener, PATIENCE, Proxy, Redis, http};

/// A client hears of delivered mail, is not choked by the comments that fill silence, and comes back
/// by itself to a proxy that was killed, when it hears of what came meanwhile.
fn comes_through(scheme: &str, settings: Settings, listener: impl FnOnce(&Proxy) -> Listener) {
    let cyrus = Cyrus::shared();
    let mut proxy = settings
        .set("PROBE__INTERVAL", "1s")
        .set("EVENT_SOURCE__KEEP_ALIVE", "1s")
        .set("EVENT_SOURCE__RETRY_MIN", "100ms")
        .set("EVENT_SOURCE__RETRY_MAX", "200ms")
        .start();
    let caller = proxy.caller("alice");
    let target = "/jmap/eventsource/?types=*&closeafter=no&ping=0";
    let mut listener = listener(&proxy);
    let mut alice = Client::on_stream(&cyrus, &caller, target, || {
        let events = listener.events();
        proxy.wait_for_streams(1);
        events
    });
    wait_for_a_comment(&format!("{scheme}://{}{target}", proxy.address));
    hears_and_comes_back(&cyrus, &mut proxy, &mut alice);
    drop(listener);
    proxy.stop();
}

/// The same by WebSocket, where it first makes a call, and must answer pings. Gives what it says of the
/// call.
fn converses(settings: Settings, listener: impl FnOnce(&Proxy) -> Listener) -> String {
    let cyrus = Cyrus::shared();
    let mut proxy = settings
        .set("PROBE__INTERVAL", "1s")
        .set("WEBSOCKET__PING", "1s")
        .set("WEBSOCKET__PONG_TIMEOUT", "1s")
        .start();
    let caller = proxy.caller("alice");
    let mut listener = listener(&proxy);
    let mut said = String::new();
    let mut alice = Client::on_stream(&cyrus, &caller, "", || {
        let events = listener.events();
        let first = events.next(Instant::now() + PATIENCE).expect("an answer");
        assert_eq!(first.name, "response", "{first:?}");
        said = first.data;
        events
    });
    // One opened now has been pinged often enough to be given up if it did not answer.
    let mut bob = Client::connect(&cyrus, &proxy.address, "bob");
    bob.web_socket().wait_for_pings(3);
    bob.agrees_with_server();
    drop(bob);
    hears_and_comes_back(&cyrus, &mut proxy, &mut alice);
    drop(listener);
    proxy.stop();
    said
}

fn hears_and_comes_back(cyrus: &Cyrus, proxy: &mut Proxy, alice: &mut Client) {
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.killed(|| cyrus.deliver("alice"));
    alice.agrees_with_server();
    cyrus.deliver("alice");
    alice.agrees_with_server();
}

/// Returns when a stream opened now has been kept alive once: those that were open before it have
/// been, too.
fn wait_for_a_comment(url: &str) {
    let mut curl = Command::new("curl")
        .args(["--silent", "--insecure", "--no-buffer", "--user", "bob:pw-bob", url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let lines = BufReader::new(curl.stdout.take().expect("curl's output")).lines();
    // The first opens the stream.
    let comments = lines.map_while(Result::ok).filter(|line| line.starts_with(':')).take(2);
    assert_eq!(comments.count(), 2, "the stream ended");
    curl.kill().expect("a child");
    curl.wait().expect("its end");
}

#[test]
fn jmap_client_of_rust() {
    let clients = Clients::shared();
    comes_through("http", Proxy::before(&Cyrus::shared()), |proxy| {
        Listener::jmap_client("event-source", &clients, &proxy.address, "alice")
    });
}

#[test]
fn jmap_client_of_rust_by_websocket() {
    let clients = Clients::shared();
    let said = converses(Proxy::before(&Cyrus::shared()), |proxy| {
        Listener::jmap_client("websocket", &clients, &proxy.address, "alice")
    });
    let mailboxes = Cyrus::shared().caller("alice").call(&[("Mailbox/get", json!({}))]);
    let count = mailboxes[0]["list"].as_array().map_or(0, Vec::len);
    assert_eq!(said, format!("{count} mailboxes"));
}

#[test]
fn websockets_of_python() {
    let clients = Clients::shared();
    let said = converses(Proxy::before(&Cyrus::shared()), |proxy| {
        Listener::websockets(&clients, &proxy.address, "alice")
    });
    assert_eq!(said, "jmap by permessage-deflate");
}

#[test]
fn jmapc_of_python_over_tls() {
    let clients = Clients::shared();
    let settings = Proxy::before(&Cyrus::shared()).tls(&clients.home);
    comes_through("https", settings, |proxy| Listener::jmapc(&clients, &proxy.address, "alice"));
}

#[test]
fn event_source_of_a_browser() {
    comes_through("http", Proxy::before(&Cyrus::shared()), |proxy| {
        Listener::browser("event-source", &proxy.address, "alice", None)
    });
}

#[test]
fn fetch_of_a_browser() {
    comes_through("http", Proxy::before(&Cyrus::shared()), |proxy| {
        Listener::browser("fetch", &proxy.address, "alice", None)
    });
}

#[test]
fn event_source_of_a_browser_in_a_page_of_a_listed_origin() {
    let page = free_address();
    let settings = Proxy::before(&Cyrus::shared()).set("CORS__ORIGINS", &format!("http://{page}"));
    comes_through("http", settings, |proxy| {
        Listener::browser("event-source", &proxy.address, "alice", Some(&page))
    });
}

#[test]
fn fetch_of_a_browser_in_a_page_of_a_listed_origin() {
    let page = free_address();
    let settings = Proxy::before(&Cyrus::shared()).set("CORS__ORIGINS", &format!("http://{page}"));
    comes_through("http", settings, |proxy| {
        Listener::browser("fetch", &proxy.address, "alice", Some(&page))
    });
}

/// A proxy whose tickets outlive it, for pages of this origin.
fn for_pages_of(page: &str, redis: &Redis) -> Settings {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/ticket_key");
    Proxy::before(&Cyrus::shared())
        .redis(redis)
        .set("CORS__ORIGINS", &format!("http://{page}"))
        .set("AUTH__TICKET_KEY_FILE", key)
}

/// The browser itself comes back, to the same URL with the ticket that was used.
#[test]
fn event_source_of_a_browser_by_ticket() {
    let page = free_address();
    comes_through("http", for_pages_of(&page, &Redis::shared()), |proxy| {
        Listener::browser("event-source-ticket", &proxy.address, "alice", Some(&page))
    });
}

/// The page comes back, with a new ticket and its `pushState`.
#[test]
fn websocket_of_a_browser_by_ticket() {
    let page = free_address();
    let said = converses(for_pages_of(&page, &Redis::shared()), |proxy| {
        Listener::browser("websocket-ticket", &proxy.address, "alice", Some(&page))
    });
    assert!(said.starts_with("2000 by jmap and permessage-deflate"), "{said}");
}

/// What a browser remembers it sends of itself, which is why `Origin` is judged.
#[test]
fn websocket_of_a_browser_that_knows_the_password() {
    let page = free_address();
    let said = converses(for_pages_of(&page, &Redis::shared()), |proxy| {
        Listener::browser("websocket", &proxy.address, "alice", Some(&page))
    });
    assert!(said.starts_with("2000 by jmap and permessage-deflate"), "{said}");
}

#[test]
fn a_page_of_an_unlisted_origin_gets_nothing() {
    let (page, listed) = (free_address(), free_address());
    let proxy = for_pages_of(&listed, &Redis::shared()).start();
    for how in [
        "event-source",
        "event-source-stolen",
        "event-source-ticket",
        "fetch",
        "websocket",
        "websocket-stolen",
        "websocket-ticket",
    ] {
        let mut listener = Listener::browser(how, &proxy.address, "alice", Some(&page));
        let first = listener.events().next(Instant::now() + PATIENCE).expect("an event");
        assert_eq!(first.name, "refused", "{how}: {first:?}");
    }
    proxy.stop();
}

#[test]
fn a_challenge_names_its_realm_whoever_used_the_connection_before() {
    let proxy = Proxy::before(&Cyrus::shared()).start();
    let target = event_source_target(&proxy.caller("alice"), "*");

    // On a connection that has carried a password Cyrus challenges the next without one by a bare
    // `Basic`, which no browser answers with the password that it knows.
    for path in ["/.well-known/jmap", "/jmap/", &target] {
        proxy.caller("alice").session();
        let response = http::send(&proxy.address, "GET", path, &[], "").expect("an answer");
        assert_eq!(response.status, 401, "{path}");
        let challenge = response.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("realm="), "{path}: {challenge:?}");
    }
    proxy.stop();
}
