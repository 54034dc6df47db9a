//! What stands between the proxy and people: nginx, curl, and a client that believes the Session.

use std::io;
use std::process::{Child, Command, Stdio};

use crate::support::client::event_source_target;
use crate::support::event_source::EventSource;
use crate::support::jmap::Caller;
use crate::support::{Client, Cyrus, Nginx, Proxy, http};

#[test]
fn events_pass_nginx_at_once() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    let nginx = Nginx::before(&proxy.address);
    cyrus.deliver("alice");
    let mut phone = Client::listen(&cyrus, &nginx.address, "alice");
    let desk = Caller::new(&nginx.address, "alice");

    // An event is far smaller than nginx' buffers: held back, it would come only with many others.
    let state = desk.flag(&desk.newest_email(), "$seen", true);

    phone.learns("alice", "Email", &state);
    phone.agrees_with_server();
    proxy.stop();
}

#[test]
fn websockets_pass_nginx_both_ways() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("WEBSOCKET__PING", "1s").start();
    let nginx = Nginx::before(&proxy.address);
    cyrus.deliver("alice");
    let mut phone = Client::connect(&cyrus, &nginx.address, "alice");
    let mut desk = Client::connect(&cyrus, &nginx.address, "alice");

    let state = desk.flag("$seen", true);
    phone.learns("alice", "Email", &state);
    // Pings outlast its patience with silence.
    phone.web_socket().wait_for_pings(5);
    let state = phone.flag("$seen", false);
    phone.learns("alice", "Email", &state);
    desk.learns("alice", "Email", &state);

    phone.agrees_with_server();
    desk.agrees_with_server();
    proxy.stop();
}

#[test]
fn curl_shows_events_as_they_come() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    cyrus.deliver("alice");
    let desk = proxy.caller("alice");
    let target = event_source_target(&desk, "*");
    let mut curl = Curl::start(&format!("http://{}{target}", proxy.address), "alice");
    let open = || {
        let stream = EventSource::reading(curl.output());
        stream.wait_until_open();
        stream
    };
    let mut phone = Client::on_stream(&cyrus, &desk, &target, open);

    let state = desk.flag(&desk.newest_email(), "$seen", true);

    phone.learns("alice", "Email", &state);
    phone.agrees_with_server();
    proxy.stop();
}

#[test]
fn every_url_of_the_session_is_absolute_and_leads_to_the_proxy() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    let origin = format!("http://{}/", proxy.address);

    let session = proxy.caller("alice").session();

    for name in ["apiUrl", "downloadUrl", "uploadUrl", "eventSourceUrl"] {
        let url = session[name].as_str().unwrap_or_default();
        assert!(url.starts_with(&origin), "{name} is {url:?}");
    }
    proxy.stop();
}

#[test]
fn urls_name_the_origin_that_clients_see() {
    let cyrus = Cyrus::shared();
    let proxy =
        Proxy::before(&cyrus).set("DOWNSTREAM__PUBLIC_URL", "https://mail.example.org").start();

    let session = proxy.caller("alice").session();

    assert_eq!(session["apiUrl"], "https://mail.example.org/jmap/");
    proxy.stop();
}

#[test]
fn discovery_answers_without_a_redirect() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    let caller = proxy.caller("alice");
    let headers = [("Authorization", caller.authorization.as_str())];

    // Cyrus itself answers 301 to an absolute http URL.
    let response = http::send(&proxy.address, "GET", "/.well-known/jmap", &headers, "");

    let response = response.expect("an answer");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("alt-svc"), None, "it would lead round the proxy");
    assert_eq!(response.header("upgrade"), None, "hop-by-hop");
    let body = response.text().expect("a whole Session");
    let session: serde_json::Value = serde_json::from_str(&body).expect("a Session in JSON");
    assert_eq!(session["username"], "alice");
    proxy.stop();
}

#[test]
fn a_wrong_password_is_refused_as_the_server_refuses_it() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    let caller = proxy.caller("alice");
    let target = event_source_target(&caller, "*");
    let headers = [("Authorization", "Basic YWxpY2U6d3Jvbmc=")];

    for target in ["/.well-known/jmap", target.as_str()] {
        let response = http::send(&proxy.address, "GET", target, &headers, "").expect("an answer");
        assert_eq!(response.status, 401, "{target}");
        assert!(response.header("www-authenticate").is_some(), "{target}");
    }
    proxy.stop();
}

/// `curl -N URL`, killed when dropped.
struct Curl(Child);

impl Curl {
    fn start(url: &str, user: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--no-buffer", "--user", &format!("{user}:pw-{user}"), url]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl"))
    }

    fn output(&mut self) -> impl io::Read + Send + 'static {
        self.0.stdout.take().expect("curl's output")
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
