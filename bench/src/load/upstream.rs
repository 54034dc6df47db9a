//! A JMAP server that costs next to nothing: every credential is a user with one account, every
//! account has one state for all types, `Foo/set` makes a new one (RFC 8620 §2, §3, §5).
//!
//! No e-mail, no rules. It also is the origin that Pushpin asks what to do with a stream.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::http::{field, find, receive};

/// The account of `post`'s calls, answered with a body made beforehand.
const CALLED: &[u8] = br#""accountId":"bench""#;

/// States of accounts, and how many requests were answered.
#[derive(Debug, Default)]
struct Served {
    states: RefCell<HashMap<String, u64>>,
    requests: Cell<u64>,
}

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let served = Rc::<Served>::default();
    let emails: Rc<str> = response(&json!({
        "methodResponses": [["Email/get", {
            "accountId": "bench",
            "state": "1",
            "list": [{ "id": "M1", "preview": "and a cup of tea ".repeat(230) }],
            "notFound": [],
        }, "0"]],
        "sessionState": "0",
    }))
    .into();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (served, emails) = (Rc::clone(&served), Rc::clone(&emails));
        // A connection that breaks is the client's business.
        tokio::task::spawn_local(async move { _ = connection(stream, &served, &emails).await });
    }
}

async fn connection(mut stream: TcpStream, served: &Served, emails: &str) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let body_at = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            receive(&mut stream, &mut buffer).await?;
        };
        let head = String::from_utf8_lossy(&buffer[..body_at]).into_owned();
        let lower = head.to_lowercase();
        let length = field(&lower, "content-length").and_then(|length| length.parse().ok());
        let end = body_at + length.unwrap_or(0);
        while buffer.len() < end {
            receive(&mut stream, &mut buffer).await?;
        }
        let body = &buffer[body_at..end];
        if find(&body[..body.len().min(256)], CALLED).is_some() {
            stream.write_all(emails.as_bytes()).await?;
        } else {
            stream.write_all(answer(&head, body, served).as_bytes()).await?;
        }
        buffer.drain(..end);
    }
}

fn answer(head: &str, body: &[u8], served: &Served) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path == "/count" {
        return response(&json!(served.requests.get()));
    }
    served.requests.set(served.requests.get() + 1);
    if path.starts_with("/held") {
        // Pushpin's GRIP: keep the client, and add it to this channel.
        return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n\
                Grip-Channel: bench\r\nContent-Length: 3\r\n\r\n:\n\n"
            .to_owned();
    }
    if head.starts_with("GET") {
        return response(&session(&account(head)));
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned();
    };
    let calls = request["methodCalls"].as_array().map_or(&[][..], Vec::as_slice);
    let responses: Vec<_> = calls.iter().map(|call| method(call, served)).collect();
    response(&json!({ "methodResponses": responses, "sessionState": "0" }))
}

/// The account of a credential: a number made of it.
fn account(head: &str) -> String {
    let credential = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then_some(value.trim())
    });
    account_of(credential.unwrap_or_default())
}

/// The account that a credential, as `Authorization` has it, stands for.
pub(crate) fn account_of(credential: &str) -> String {
    let number = credential.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("u{number:016x}")
}

/// About as much as a real one.
fn session(account: &str) -> Value {
    let account_capabilities = json!({
        "urn:ietf:params:jmap:mail": { "maxMailboxDepth": null, "maxSizeMailboxName": 200 },
    });
    json!({
        "capabilities": {
            "urn:ietf:params:jmap:core": {
                "maxSizeUpload": 50_000_000,
                "maxConcurrentUpload": 4,
                "maxSizeRequest": 10_000_000,
                "maxConcurrentRequests": 64,
                "maxCallsInRequest": 64,
                "maxObjectsInGet": 1000,
                "maxObjectsInSet": 1000,
                "collationAlgorithms": [],
            },
            "urn:ietf:params:jmap:mail": {},
        },
        "accounts": { account: {
            "name": account,
            "isPersonal": true,
            "isReadOnly": false,
            "accountCapabilities": account_capabilities,
        } },
        "primaryAccounts": { "urn:ietf:params:jmap:mail": account },
        "username": account,
        "apiUrl": "/jmap/",
        "downloadUrl": "/download/{accountId}/{blobId}/{name}?type={type}",
        "uploadUrl": "/upload/{accountId}/",
        "eventSourceUrl": "",
        "state": "0",
    })
}

/// One method call's response.
fn method(call: &Value, served: &Served) -> Value {
    let (name, arguments, id) = (&call[0], &call[1], &call[2]);
    let account = arguments["accountId"].as_str().unwrap_or_default();
    let mut states = served.states.borrow_mut();
    let state = states.entry(account.to_owned()).or_insert(1);
    let verb = name.as_str().and_then(|name| name.split('/').nth(1)).unwrap_or_default();
    let result = match verb {
        "get" => json!({
            "accountId": account, "state": state.to_string(), "list": [], "notFound": [],
        }),
        "set" => {
            *state += 1;
            json!({
                "accountId": account,
                "oldState": (*state - 1).to_string(),
                "newState": state.to_string(),
                "updated": {},
            })
        }
        "changes" => json!({
            "accountId": account,
            "oldState": arguments["sinceState"],
            "newState": state.to_string(),
            "hasMoreChanges": false,
            "created": [], "updated": [], "destroyed": [],
        }),
        "query" => json!({
            "accountId": account,
            "queryState": state.to_string(),
            "canCalculateChanges": false,
            "position": 0,
            "ids": [],
        }),
        _ => return json!(["error", { "type": "unknownMethod" }, id]),
    };
    json!([name, result, id])
}

fn response(body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
