//! `POST /notify` and what Dovecot sends (docs/notify.md).

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use jmap_push_proxy::config::Listen;
use jmap_push_proxy::config::secret::Secret;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::http::exchange;
use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::upstream::account_of;
use crate::support::wait::within;

const MAIL: &str = "types=Email,Mailbox,Thread&closeafter=no&ping=0";
const TYPES: &[&str] = &["Email", "Mailbox", "Thread"];
const TOKEN: &str = "a-token";

/// Of `ox:url=http://proxy:a-token@…`.
const BASIC: &str = "Basic cHJveHk6YS10b2tlbg==";

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

/// A mail to alice with this subject, as Dovecot tells of it.
fn of_dovecot(subject: &str) -> String {
    format!(
        r#"{{"user":"alice","event":"messageNew","folder":"INBOX","imap-uidvalidity":1795349888,"imap-uid":1,"from":"A Sender <sender@example.com>","subject":"{subject}","snippet":"hello body text","unseen":1}}"#
    )
}

/// The first line of the next response; its head is all there is of it.
async fn first_line(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a response", stream.read_u8()).await.unwrap());
    }
    String::from_utf8_lossy(&head).lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_hook_that_posts_makes_a_delivery_known_at_once() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.deliver("alice");
    let body = json!({ "accountId": account_of("alice"), "types": TYPES, "delivery": true });
    assert_eq!(send(door, post(&body.to_string())).await.status(), StatusCode::NO_CONTENT);
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

/// The command of docs/notify.md, as it stands there.
#[tokio::test]
async fn the_command_of_the_documentation_works() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.deliver("alice");
    let page = include_str!("../../../docs/notify.md");
    let command = page.split("<!-- run: post -->\n```sh\n").nth(1).unwrap();
    let command = command.split("```").next().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", &command.replace("alice@example.org", "alice")]);
    shell.env("TOKEN", TOKEN).env("NOTIFY_URL", format!("http://{door}/notify"));
    let output = shell.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn dovecot_makes_a_delivery_known_by_the_name_of_its_user() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.deliver("alice");
    let sent = of_dovecot("hello");
    let response = send(door, request(Method::PUT, "/notify/dovecot", BASIC, &sent)).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

/// Dovecot does not cut the subject: who sends a mail must not be able to keep it from being told.
#[tokio::test]
async fn a_subject_of_megabytes_does_not_silence_the_mail_that_has_it() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.deliver("alice");
    let sent = of_dovecot(&"s".repeat(2 << 20));
    let response = send(door, request(Method::PUT, "/notify/dovecot", BASIC, &sent)).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_subject_without_end_is_not_waited_for() {
    let (rig, door) = rig().await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.deliver("alice");
    let mut sent = of_dovecot(&"s".repeat(64 << 20)).into_bytes();
    sent.truncate(64 << 20);
    let mut dovecot = TcpStream::connect(door).await.unwrap();
    let head = format!(
        "PUT /notify/dovecot HTTP/1.1\r\nHost: proxy\r\nAuthorization: {BASIC}\r\n\
         Content-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    dovecot.write_all(head.as_bytes()).await.unwrap();
    dovecot.write_all(&sent).await.unwrap();
    assert_eq!(first_line(&mut dovecot).await, "HTTP/1.1 204 No Content");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

/// Dovecot 2.3 sends a Lua script's request so, and without an answer waits for a second or two while a
/// delivery waits for it (RFC 9110 §10.1.1).
#[tokio::test]
async fn who_expects_to_be_told_to_go_on_is_told_so() {
    let (rig, door) = rig().await;
    let mut dovecot = TcpStream::connect(door).await.unwrap();
    let body = r#"{"user":"alice","types":["Email","Mailbox"]}"#;
    let head = format!(
        "POST /notify HTTP/1.1\r\nHost: proxy\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\nConnection: Keep-Alive\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\n\r\n",
        body.len()
    );
    for _ in 0..2 {
        dovecot.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(first_line(&mut dovecot).await, "HTTP/1.1 100 Continue");
        dovecot.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(first_line(&mut dovecot).await, "HTTP/1.1 204 No Content");
    }
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
