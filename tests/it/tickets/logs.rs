//! Credentials of browsers in a log that says all it can.

use super::*;
use crate::support::process::Process;
use crate::support::upstream::Upstream;

/// What `Authorization` and its like must not leave behind.
const CANARY: &str = "canary-of-credentials";

#[tokio::test]
async fn no_ticket_and_no_token_comes_into_the_log() {
    let upstream = Upstream::start().await;
    let proxy = Process::start(upstream.address, &[("LOG__LEVEL", "trace")]).await;
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let head = async |response: Response<hyper::body::Incoming>| Ok(response);
        exchange_by(proxy.address, request, head).await.unwrap().status()
    };
    let alice = ("Authorization", "Bearer alice");
    let mut request = asking("POST", TICKETS, "alice");
    request.headers_mut().insert(header::COOKIE, format!("a={CANARY}").parse().unwrap());
    let given = exchange(proxy.address, request).await.unwrap();
    let given: Value = serde_json::from_slice(given.body()).unwrap();
    let ticket = given["value"].as_str().unwrap();
    let stream = url(ticket);
    assert_eq!(ask("GET", &stream, &[]).await, 200);
    assert_eq!(ask("GET", &stream, &[alice]).await, 400);
    assert_eq!(ask("GET", &format!("{stream}&ticket={ticket}"), &[]).await, 400);
    assert_eq!(ask("POST", &stream, &[]).await, 405);
    assert_eq!(ask("GET", &format!("/elsewhere?ticket={ticket}"), &[]).await, 401);
    assert_eq!(ask("DELETE", &format!("{TICKETS}/{ticket}"), &[alice]).await, 204);
    assert_eq!(ask("GET", &stream, &[]).await, 401);
    // "bearer." and the canary in base64url, well placed and not.
    let token = "Y2FuYXJ5LW9mLWNyZWRlbnRpYWxz";
    for offered in [format!("jmap, bearer.{token}"), format!("jmap, bearer.{token}!")] {
        let status = ask("GET", "/jmap/ws", &[("Sec-WebSocket-Protocol", &offered)]).await;
        assert!([400, 426].contains(&status.as_u16()), "{status}");
    }
    let log = proxy.log.lock().unwrap().join("\n");
    assert!(log.contains("\"tickets\"") && log.contains("\"event_source\""), "{log}");
    for secret in [CANARY, ticket, token, "Bearer alice"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
