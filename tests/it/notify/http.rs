//! `POST /notify` and what Dovecot sends (docs/notify.md).

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use jmap_push_proxy::config::Listen;
use jmap_push_proxy::config::secret::Secret;
use serde_json::json;
use tokio::process::Command;

use crate::support::http::exchange;
use crate::support::ledger::{View, settle};
use crate::support::rig::Rig;
use crate::support::upstream::account_of;

const MAIL: &str = "types=Email,Mailbox,Thread&closeafter=no&ping=0";
const TYPES: &[&str] = &["Email", "Mailbox", "Thread"];
const TOKEN: &str = "a-token";

async fn rig() -> (Rig, SocketAddr) {
    let rig = Rig::start(|config| {
        config.notify.http.listen = Some(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
        config.notify.http.token = Some(Secret::new(TOKEN.to_owned()));
    })
    .await;
    let Some(Listen::Tcp(door)) = rig.listeners().notify else { panic!("no listener") };
    (rig, door)
}

async fn send(door: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    exchange(door, request).await.unwrap()
}

fn request(method: Method, path: &str, authorization: &str, body: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("Host", "proxy");
    let request = request.header("Authorization", authorization);
    request.body(Full::from(body.to_owned())).unwrap()
}

fn post(body: &str) -> Request<Full<Bytes>> {
    request(Method::POST, "/notify", "Bearer a-token", body)
}

#[tokio::test]
async fn a_hook_that_posts_makes_a_delivery_known_at_once() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    let since = rig.upstream.mail(|mail| mail.ledger.len());
    rig.upstream.deliver("alice");
    let body = json!({ "accountId": account_of("alice"), "types": TYPES, "delivery": true });
    assert_eq!(send(door, post(&body.to_string())).await.status(), StatusCode::NO_CONTENT);
    let view = View { accounts: &[account_of("alice")], types: TYPES, since };
    settle(&rig.upstream, &mut stream, &view).await;
    rig.end().await;
}

/// The command of docs/notify.md, as it stands there.
#[tokio::test]
async fn the_command_of_the_documentation_works() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    let since = rig.upstream.mail(|mail| mail.ledger.len());
    rig.upstream.deliver("alice");
    let page = include_str!("../../../docs/notify.md");
    let command = page.split("<!-- run: post -->\n```sh\n").nth(1).unwrap();
    let command = command.split("```").next().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", &command.replace("alice@example.org", "alice")]);
    shell.env("TOKEN", TOKEN).env("NOTIFY_URL", format!("http://{door}/notify"));
    let output = shell.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let view = View { accounts: &[account_of("alice")], types: TYPES, since };
    settle(&rig.upstream, &mut stream, &view).await;
    rig.end().await;
}

#[tokio::test]
async fn dovecot_makes_a_delivery_known_by_the_name_of_its_user() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    let since = rig.upstream.mail(|mail| mail.ledger.len());
    rig.upstream.deliver("alice");
    // With the password of `ox:url=http://dovecot:a-token@…`.
    let body = r#"{"user":"alice","event":"messageNew","folder":"INBOX","imap-uidvalidity":1795348436,"imap-uid":6,"from":"A <a@b>","subject":"s","snippet":"x","unseen":4}"#;
    let basic = "Basic ZG92ZWNvdDphLXRva2Vu";
    let response = send(door, request(Method::PUT, "/notify/dovecot", basic, body)).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let view = View { accounts: &[account_of("alice")], types: TYPES, since };
    settle(&rig.upstream, &mut stream, &view).await;
    rig.end().await;
}

#[tokio::test]
async fn who_does_not_bring_the_token_is_refused_and_tells_nothing() {
    let (rig, door) = rig().await;
    let body = r#"{"user":"alice"}"#;
    for wrong in
        ["", "Bearer", "Bearer a-toke", "Bearer a-token2", "Basic !", "Basic YTpi", "a-token"]
    {
        let response = send(door, request(Method::POST, "/notify", wrong, body)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(response.headers()["WWW-Authenticate"], "Bearer");
    }
    let told = rig.metrics.notices.get_or_create(&[("source", "http")]).get();
    assert_eq!(told, 0);
    rig.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_notification_is_said_in_the_answer() {
    let (rig, door) = rig().await;
    for (body, why) in [
        ("", "ends too early"),
        ("{}", "`accountId`, `accountIds`, `user` is missing"),
        (r#"{"user":"alice","types":["E mail"]}"#, "item 0 of `types`"),
    ] {
        let response = send(door, post(body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()["Content-Type"], "application/problem+json");
        let said = String::from_utf8_lossy(response.body()).into_owned();
        assert!(said.contains(why), "{said}");
    }
    let huge = format!(r#"{{"user":"{}"}}"#, "a".repeat(1 << 20));
    assert_eq!(send(door, post(&huge)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(rig.metrics.notices_bad.get(), 3);
    rig.end().await;
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_there_is() {
    let (rig, door) = rig().await;
    let get = send(door, request(Method::GET, "/notify", "Bearer a-token", "")).await;
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get.headers()["Allow"], "POST");
    let put = send(door, request(Method::POST, "/notify/dovecot/", "Bearer a-token", "")).await;
    assert_eq!(put.headers()["Allow"], "PUT");
    let other = send(door, request(Method::POST, "/metrics", "Bearer a-token", "")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    rig.end().await;
}
