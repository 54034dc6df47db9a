//! The server over real HTTP, as clients use it.

use std::time::Duration;

use ::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE,
};
use ::http::{Method, Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;

/// A running server and someone who talks to it.
struct Rig {
    server: Server,
    drain: Drain,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
}

impl Rig {
    async fn start() -> Self {
        let drain = Drain::default();
        let server = Server::start(&drain).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { server, drain, client }
    }

    /// Ends the server and sees that nothing of it is left.
    async fn end(self) {
        drop(self.client);
        self.drain.enter(Phase::Draining);
        tokio::time::timeout(Duration::from_secs(5), self.drain.idle()).await.unwrap();
        assert_eq!(self.drain.tracked(), 0);
    }

    async fn send(
        &self,
        user: &str,
        method: Method,
        url: &str,
        (content_type, body): (&str, impl Into<Bytes>),
    ) -> Response<Bytes> {
        let url = match url.strip_prefix('/') {
            Some(path) => format!("http://{}/{path}", self.server.address),
            None => url.to_owned(),
        };
        let credential = STANDARD.encode(format!("{user}:demo"));
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(AUTHORIZATION, format!("Basic {credential}"))
            .header(CONTENT_TYPE, content_type)
            .header(ACCEPT, "application/json")
            .body(Full::new(body.into()))
            .unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn fetch(&self, user: &str, url: &str) -> Response<Bytes> {
        self.send(user, Method::GET, url, ("text/plain", "")).await
    }

    async fn session(&self, user: &str) -> Value {
        json_of(&self.fetch(user, "/jmap/session").await)
    }

    /// The results of some calls to the API URL of the user's Session.
    async fn api(&self, user: &str, calls: Value) -> Vec<Value> {
        let session = self.session(user).await;
        let using: Vec<&String> = session["capabilities"].as_object().unwrap().keys().collect();
        let request = json!({ "using": using, "methodCalls": calls }).to_string();
        let url = session["apiUrl"].as_str().unwrap();
        let response = self.send(user, Method::POST, url, ("application/json", request)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let responses = json_of(&response)["methodResponses"].take();
        responses.as_array().unwrap().iter().map(|response| response[1].clone()).collect()
    }
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn discovery_leads_to_a_session_that_has_no_push() {
    let rig = Rig::start().await;
    let found = rig.fetch("alice", "/.well-known/jmap").await;
    assert_eq!(found.status(), StatusCode::FOUND);
    let session = json_of(&rig.fetch("alice", found.headers()[LOCATION].to_str().unwrap()).await);
    assert_eq!(session["username"], "alice");
    assert_eq!(session["eventSourceUrl"], "");
    assert_eq!(session["apiUrl"], format!("http://{}/jmap/api", rig.server.address));
    assert_eq!(session["primaryAccounts"]["urn:ietf:params:jmap:mail"], "alice");
    let read = crate::jmap::session::Session::parse(session.to_string().as_bytes()).unwrap();
    assert_eq!(read.core_limits().max_calls_in_request, Some(32));
    rig.end().await;
}

#[tokio::test]
async fn who_is_not_known_is_asked_to_sign_in() {
    let rig = Rig::start().await;
    for path in ["/jmap/session", "/jmap/download/alice/B0001/x"] {
        let refused = rig.fetch("mallory", path).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(refused.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }
    rig.end().await;
}

#[tokio::test]
async fn a_client_reads_its_inbox_marks_a_mail_and_learns_what_changed() {
    let rig = Rig::start().await;
    let results = rig
        .api(
            "alice",
            json!([
                ["Email/query", { "accountId": "alice", "limit": 1 }, "0"],
                ["Email/get", {
                    "accountId": "alice",
                    "#ids": { "resultOf": "0", "name": "Email/query", "path": "/ids" },
                }, "1"],
            ]),
        )
        .await;
    let (id, state) = (&results[1]["list"][0]["id"], &results[1]["state"]);
    let update = json!({ id.as_str().unwrap(): { "keywords/$seen": true } });
    let results = rig
        .api(
            "alice",
            json!([
                ["Email/set", { "accountId": "alice", "update": update }, "0"],
                ["Email/changes", { "accountId": "alice", "sinceState": state }, "1"],
            ]),
        )
        .await;
    assert_eq!(results[0]["oldState"], *state);
    assert_eq!(results[1]["updated"], json!([id]));
    rig.end().await;
}

/// §6.1, RFC 8621 §4.8, §6.2.
#[tokio::test]
async fn a_message_is_uploaded_imported_and_downloaded_unchanged() {
    let rig = Rig::start().await;
    let session = rig.session("alice").await;
    let message = "Subject: An old mail\r\n\r\nFrom the archive.\r\n";
    let upload = session["uploadUrl"].as_str().unwrap().replace("{accountId}", "alice");
    let uploaded = rig.send("alice", Method::POST, &upload, ("message/rfc822", message)).await;
    assert_eq!(uploaded.status(), StatusCode::CREATED);
    let blob_id = json_of(&uploaded)["blobId"].clone();
    let results = rig
        .api(
            "alice",
            json!([
                ["Mailbox/query", { "accountId": "alice", "filter": { "role": "archive" } }, "0"],
                ["Email/import", { "accountId": "alice", "emails": { "k": {
                    "blobId": blob_id, "mailboxIds": { "M0004": true },
                    "receivedAt": "2001-01-01T00:00:00Z",
                } } }, "1"],
            ]),
        )
        .await;
    assert_eq!(results[0]["ids"], json!(["M0004"]));
    let created = &results[1]["created"]["k"];
    assert_eq!(created["size"], message.len());
    let download = session["downloadUrl"]
        .as_str()
        .unwrap()
        .replace("{accountId}", "alice")
        .replace("{blobId}", created["blobId"].as_str().unwrap())
        .replace("{name}", "old%20%22mail%22.eml")
        .replace("{type}", "text%2Fplain");
    let downloaded = rig.fetch("alice", &download).await;
    assert_eq!(downloaded.body(), message);
    assert_eq!(downloaded.headers()[CONTENT_TYPE], "text/plain");
    let disposition = &downloaded.headers()[CONTENT_DISPOSITION];
    assert_eq!(disposition, "attachment; filename=\"old mail.eml\"");
    rig.end().await;
}

#[tokio::test]
async fn a_delivery_is_told_unless_it_is_to_go_unannounced() {
    let mut rig = Rig::start().await;
    let deliver = async |rig: &Rig, body: &'static str| {
        rig.send("alice", Method::POST, "/demo/deliver", ("application/json", body)).await
    };
    let quiet = deliver(&rig, r#"{"notify":false,"subject":"Quiet"}"#).await;
    assert_eq!(quiet.status(), StatusCode::CREATED);
    let told = deliver(&rig, r#"{"accountId":"team"}"#).await;
    let delivery = rig.server.deliveries.try_recv().unwrap();
    assert_eq!(delivery.account_id.as_str(), "team");
    assert!(rig.server.deliveries.try_recv().is_err());

    let get =
        json!([["Email/get", { "accountId": "team", "ids": [json_of(&told)["emailId"]] }, ""]]);
    let email = rig.api("bob", get).await.remove(0);
    let (data_type, state) = delivery.changed.first().unwrap();
    assert_eq!((data_type.as_str(), json!(state.as_str())), ("Email", email["state"].clone()));
    assert_eq!(email["list"][0]["from"][0]["email"], "carol@elsewhere.example");

    assert_eq!(deliver(&rig, r#"{"accountId":"bob"}"#).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(deliver(&rig, r#"{"colour":"red"}"#).await.status(), StatusCode::BAD_REQUEST);
    rig.end().await;
}

#[tokio::test]
async fn mail_that_one_person_submits_is_told_as_a_delivery_to_the_other() {
    let mut rig = Rig::start().await;
    let results = rig
        .api(
            "alice",
            json!([
                ["Email/set", { "accountId": "alice", "create": { "k": {
                    "mailboxIds": { "M0002": true }, "to": [{ "email": "bob@demo.example" }],
                } } }, "0"],
                ["EmailSubmission/set", { "accountId": "alice", "create": { "s": {
                    "identityId": "I0001", "emailId": "#k",
                } } }, "1"],
            ]),
        )
        .await;
    assert!(results[1]["created"]["s"]["id"].is_string(), "{results:?}");
    assert_eq!(rig.server.deliveries.try_recv().unwrap().account_id.as_str(), "bob");
    rig.end().await;
}

#[tokio::test]
async fn the_shared_account_is_seen_by_both_and_written_by_one() {
    let rig = Rig::start().await;
    let read_only = |session: &Value| session["accounts"]["team"]["isReadOnly"].clone();
    let (alice, bob) = (rig.session("alice").await, rig.session("bob").await);
    assert_eq!((read_only(&alice), read_only(&bob)), (json!(false), json!(true)));
    assert_eq!(bob["accounts"].get("alice"), None);

    let upload = async |user: &str, account: &str| {
        let path = format!("/jmap/upload/{account}/");
        rig.send(user, Method::POST, &path, ("text/plain", "x")).await.status()
    };
    assert_eq!(upload("alice", "team").await, StatusCode::CREATED);
    assert_eq!(upload("bob", "team").await, StatusCode::FORBIDDEN);
    assert_eq!(upload("bob", "alice").await, StatusCode::NOT_FOUND);
    let blob = |account| format!("/jmap/download/{account}/B0001/x");
    assert_eq!(rig.fetch("bob", &blob("team")).await.status(), StatusCode::OK);
    assert_eq!(rig.fetch("bob", &blob("alice")).await.status(), StatusCode::NOT_FOUND);
    rig.end().await;
}

/// §3.6.1.
#[tokio::test]
async fn what_is_no_request_is_a_problem() {
    let rig = Rig::start().await;
    let problem = async |content_type: &str, body: Bytes| {
        let response = rig.send("alice", Method::POST, "/jmap/api", (content_type, body)).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        (response.status().as_u16(), json_of(&response)["type"].as_str().unwrap().to_owned())
    };
    let not_json = (400, "urn:ietf:params:jmap:error:notJSON".to_owned());
    assert_eq!(problem("text/plain", "{}".into()).await, not_json);
    assert_eq!(problem("application/json; charset=utf-8", "{".into()).await, not_json);
    let wrong = rig.fetch("alice", "/jmap/api").await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(rig.fetch("alice", "/nowhere").await.status(), StatusCode::NOT_FOUND);
    rig.end().await;
}

#[tokio::test]
async fn the_page_is_served_to_anyone_and_may_talk_only_to_its_origin() {
    let rig = Rig::start().await;
    let page = rig.fetch("nobody", "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"));
    rig.end().await;
}
