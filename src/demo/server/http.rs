//! The server's HTTP: which resource answers a request, who is asking, what it looks like on the
//! wire. What is answered is decided in [`super::api`] and [`super::store`].
//!
//! | request | |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /demo/web_push.js` | its part about Web Push |
//! | `GET /demo/worker.js` | its service worker |
//! | `POST /demo/deliver` | delivers a mail |
//! | `POST /demo/push` | makes a push resource at the demo's push service |
//! | `GET /demo/push/{token}?after={number}` | what came there since, as soon as something has |
//! | `GET /.well-known/jmap` | RFC 8620 §2.2, leads to `/jmap/session` |
//! | `GET /jmap/session` | §2 |
//! | `POST /jmap/api` | §3 |
//! | `POST /jmap/upload/{accountId}/` | §6.1 |
//! | `GET /jmap/download/{accountId}/{blobId}/{name}` | §6.2 |

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HOST, HeaderValue,
    LOCATION, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::api;
use super::date::UtcDate;
use super::files;
use super::new_mail::NewMail;
use super::session::{self, MAX_REQUEST, MAX_UPLOAD};
use super::store::{Access, Delivery, IncomingMail, Store};
use crate::demo::push_service::PushService;
use crate::jmap::problem::Problem;

pub(super) type Reply = Response<Full<Bytes>>;

/// The content and the way to tell of deliveries.
#[derive(Debug)]
pub(super) struct Resources {
    /// Held for the time of one answer and never over an `await`, so a plain mutex.
    store: Mutex<Store>,
    deliveries: mpsc::Sender<Delivery>,
    push_service: Option<PushService>,
}

/// The resource a path names.
enum Resource<'a> {
    Page,
    Script(&'static str),
    Deliver,
    Subscribe,
    Pushes { token: &'a str },
    WellKnown,
    Session,
    Api,
    Upload { account_id: &'a str },
    Download { account_id: &'a str, blob_id: &'a str, name: &'a str },
}

impl Resource<'_> {
    fn parse(path: &str) -> Option<Resource<'_>> {
        if let Some(account_id) = path.strip_prefix(session::UPLOAD) {
            let account_id = account_id.strip_suffix('/').unwrap_or(account_id);
            return Some(Resource::Upload { account_id });
        }
        if let Some(rest) = path.strip_prefix(session::DOWNLOAD) {
            let (account_id, rest) = rest.split_once('/')?;
            let (blob_id, name) = rest.split_once('/')?;
            return Some(Resource::Download { account_id, blob_id, name });
        }
        if let Some(token) = path.strip_prefix("/demo/push/") {
            return Some(Resource::Pushes { token });
        }
        Some(match path {
            "/" => Resource::Page,
            "/demo/web_push.js" => Resource::Script(files::WEB_PUSH),
            "/demo/worker.js" => Resource::Script(files::WORKER),
            "/demo/deliver" => Resource::Deliver,
            "/demo/push" => Resource::Subscribe,
            "/.well-known/jmap" => Resource::WellKnown,
            "/jmap/session" => Resource::Session,
            session::API => Resource::Api,
            _ => return None,
        })
    }

    fn method(&self) -> Method {
        match self {
            Self::Deliver | Self::Subscribe | Self::Api | Self::Upload { .. } => Method::POST,
            _ => Method::GET,
        }
    }
}

impl Resources {
    pub(super) fn new(
        store: Store,
        deliveries: mpsc::Sender<Delivery>,
        push_service: Option<PushService>,
    ) -> Self {
        Self { store: Mutex::new(store), deliveries, push_service }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.try_answer(request).await.unwrap_or_else(|problem| problem_reply(&problem))
    }

    async fn try_answer<B>(&self, request: Request<B>) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let resource = Resource::parse(head.uri.path())
            .ok_or(Problem::new(404, "there is nothing at this path"))?;
        let allowed = resource.method();
        let asked = if head.method == Method::HEAD { Method::GET } else { head.method };
        if asked != allowed {
            return Ok(method_not_allowed(&allowed));
        }
        match resource {
            Resource::Page => return Ok(files::page()),
            Resource::Script(script) => return Ok(files::script(script)),
            Resource::WellKnown => return Ok(redirect("/jmap/session")),
            _ => {}
        }
        let Some(user) = self.authenticate(&head.headers) else { return Ok(unauthorized()) };
        match resource {
            Resource::Session => Ok(self.session(&user, &head.headers)),
            Resource::Api => {
                require_json(&head.headers)?;
                let body = collect(body, MAX_REQUEST, "maxSizeRequest").await?;
                self.api(&user, &body)
            }
            Resource::Deliver => {
                let body = collect(body, MAX_REQUEST, "maxSizeRequest").await?;
                self.deliver(&user, &body)
            }
            Resource::Subscribe => self.subscribe(),
            Resource::Pushes { token } => {
                let after = query_parameter(head.uri.query().unwrap_or_default(), "after");
                self.pushes(token, after.and_then(|after| after.parse().ok())).await
            }
            Resource::Upload { account_id } => {
                let body = collect(body, MAX_UPLOAD, "maxSizeUpload").await?;
                self.upload(&user, account_id, &head.headers, body)
            }
            Resource::Download { account_id, blob_id, name } => {
                let accept = query_parameter(head.uri.query().unwrap_or_default(), "accept");
                self.download(&user, (account_id, blob_id), &decoded(name), accept)
            }
            Resource::Page | Resource::Script(_) | Resource::WellKnown => Ok(files::page()),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Every change of the store is complete before anything can panic.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user of a Basic credential (RFC 7617).
    fn authenticate(&self, headers: &HeaderMap) -> Option<String> {
        let credential = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = credential.split_once(' ')?;
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, password) = decoded.split_once(':')?;
        (scheme.eq_ignore_ascii_case("basic") && self.store().is_password(user, password))
            .then(|| user.to_owned())
    }

    fn session(&self, user: &str, headers: &HeaderMap) -> Reply {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let session = session::session(&self.store(), user, &format!("http://{host}"));
        let mut reply = json_reply(StatusCode::OK, &session);
        reply
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        reply
    }

    fn api(&self, user: &str, body: &[u8]) -> Result<Reply, Problem> {
        let (response, deliveries) = {
            let mut store = self.store();
            (api::answer(&mut store, user, body, UtcDate::now())?, store.take_deliveries())
        };
        self.tell(deliveries);
        Ok(json_reply(StatusCode::OK, &response))
    }

    fn deliver(&self, user: &str, body: &[u8]) -> Result<Reply, Problem> {
        let mail: NewMail = match body {
            [] => NewMail::default(),
            body => serde_json::from_slice(body)
                .map_err(|error| Problem::new(400, format!("the body: {error}")))?,
        };
        let (email_id, deliveries) = {
            let mut store = self.store();
            require_account(&store, user, &mail.account_id)?;
            let incoming =
                IncomingMail { from: &mail.from, subject: &mail.subject, text: &mail.text };
            let email_id = store
                .deliver(&mail.account_id, &incoming, UtcDate::now())
                .map_err(|refused| Problem::new(409, refused.to_string()))?;
            (email_id, store.take_deliveries())
        };
        if mail.notify {
            self.tell(deliveries);
        }
        let answer = json!({ "accountId": mail.account_id, "emailId": email_id });
        Ok(json_reply(StatusCode::CREATED, &answer))
    }

    fn subscribe(&self) -> Result<Reply, Problem> {
        let push_service = self.push_service.as_ref().ok_or(no_push_service())?;
        let token = push_service.subscribe();
        let answer = json!({ "url": push_service.url(&token), "token": token });
        Ok(json_reply(StatusCode::CREATED, &answer))
    }

    async fn pushes(&self, token: &str, after: Option<u64>) -> Result<Reply, Problem> {
        let push_service = self.push_service.as_ref().ok_or(no_push_service())?;
        let messages = push_service.messages(token, after.unwrap_or(0)).await;
        let messages = messages.ok_or(Problem::new(404, "there is no such push resource"))?;
        let mut reply = json_reply(StatusCode::OK, &json!(messages));
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(reply)
    }

    /// When full: dropped, as a message on a bus may be; the proxy's probe finds the change.
    fn tell(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let _ = self.deliveries.try_send(delivery);
        }
    }

    fn upload(
        &self,
        user: &str,
        account_id: &str,
        headers: &HeaderMap,
        content: Bytes,
    ) -> Result<Reply, Problem> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or("application/octet-stream");
        let mut store = self.store();
        if require_account(&store, user, account_id)? == Access::Read {
            return Err(Problem::new(403, "this account is shared with you for reading only"));
        }
        let account = store.account_mut(user, account_id).ok_or(no_such_account())?;
        let size = content.len();
        let answer = json!({
            "accountId": account_id,
            "blobId": account.upload(media_type, content),
            "type": media_type,
            "size": size,
        });
        Ok(json_reply(StatusCode::CREATED, &answer))
    }

    fn download(
        &self,
        user: &str,
        (account_id, blob_id): (&str, &str),
        name: &str,
        accept: Option<String>,
    ) -> Result<Reply, Problem> {
        let store = self.store();
        let account = store.account(user, account_id).ok_or(no_such_account())?;
        let (media_type, content) =
            account.blob(blob_id).ok_or(Problem::new(404, "there is no such blob"))?;
        let mut reply = Response::new(Full::new(content));
        let media_type = HeaderValue::try_from(accept.unwrap_or(media_type))
            .map_err(|_| Problem::new(400, "`accept` is no media type"))?;
        // Quotes and what no header may carry would end the name early.
        let name: String =
            name.chars().filter(|char| !char.is_control() && !"\"\\".contains(*char)).collect();
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
            .unwrap_or(HeaderValue::from_static("attachment"));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CONTENT_DISPOSITION, disposition);
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("private, immutable, max-age=31536000"),
        );
        Ok(reply)
    }
}

/// Reads a whole body; more than `most` bytes of it are a `limit` problem (RFC 8620 §3.6.1).
async fn collect<B>(body: B, most: usize, limit: &'static str) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(Problem::limit(413, limit, "the body is too large, or broke off")),
    }
}

/// §3.6.1 `notJSON` is also about the content type.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = media_type.is_some_and(|media_type| {
        media_type.split(';').next().is_some_and(|main| main.trim() == "application/json")
    });
    if is_json {
        Ok(())
    } else {
        Err(Problem::not_json("the content type is not application/json"))
    }
}

fn require_account(store: &Store, user: &str, account_id: &str) -> Result<Access, Problem> {
    store.access(user, account_id).ok_or(no_such_account())
}

fn no_such_account() -> Problem {
    Problem::new(404, "there is no such account")
}

fn no_push_service() -> Problem {
    Problem::new(404, "this system has no loopback address for a push service")
}

fn query_parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn json_reply(status: StatusCode, value: &Value) -> Reply {
    reply(status, "application/json", value.to_string().into())
}

fn problem_reply(problem: &Problem) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    reply(status, "application/problem+json", problem.to_json().into())
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

fn redirect(location: &'static str) -> Reply {
    let mut reply = reply(StatusCode::FOUND, "text/plain", Bytes::new());
    reply.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
    reply
}

fn unauthorized() -> Reply {
    let mut reply = problem_reply(&Problem::new(401, "sign in as alice or bob, password demo"));
    let challenge = HeaderValue::from_static("Basic realm=\"JMAP demo\", charset=\"UTF-8\"");
    reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    reply
}

fn method_not_allowed(allowed: &Method) -> Reply {
    let mut reply = problem_reply(&Problem::new(405, "this resource has another method"));
    let allow = if *allowed == Method::GET { "GET, HEAD" } else { "POST" };
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}
