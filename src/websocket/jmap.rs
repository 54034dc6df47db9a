//! JMAP on a WebSocket (RFC 8887): whole messages to what is to be done, and API requests to what
//! upstream answers. Requests go the way of those by HTTP ([`Calls`]).

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, StatusCode, Version,
};

use super::connection::{Answer, Application};
use super::machine::{Heard, Output};
use super::message::{self, Message, Request};
use super::wire::{self, CloseCode, Deflate, Limits};
use crate::api::Calls;
use crate::api::memory::{Held, Place, Unread};
use crate::auth::Principal;
use crate::config;
use crate::http::body::BodyError;
use crate::http::forwarded::{Origin, Peer};
use crate::http::headers::write_via;
use crate::http::reply::JSON;
use crate::hub::Subscriber;
use crate::jmap::problem::Problem;

/// Frames that one message may come in (hostile.md B9).
const MOST_FRAGMENTS: usize = 1024;

/// Bytes of a message that are compressed on a thread of their own: about a millisecond's work.
const LONG_WORK: usize = 128 * 1024;

/// What all JMAP connections share.
pub struct Shared {
    /// The way to the API.
    pub calls: Arc<Calls>,
    /// `[websocket]`.
    pub settings: config::WebSocket,
    /// Name in `Via`.
    pub via: String,
    /// `upstream.headers`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Where clients think that we are: nearly always the same for all of them, so that they share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Site {
    /// `https` or `http`.
    pub scheme: &'static str,
    /// Host and port.
    pub authority: Box<str>,
    /// What goes behind a `sessionState`.
    pub suffix: Arc<str>,
}

/// One connection's side of it. There are very many.
pub struct Jmap {
    /// What all share.
    pub shared: Arc<Shared>,
    /// Where the client thinks that we are.
    pub site: Arc<Site>,
    /// Where the client is; `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// The languages that the client understands (RFC 8620 §3.8). Boxed, since few programs say.
    pub language: Option<Box<HeaderValue>>,
    /// The largest request, in bytes.
    pub request_size: u32,
}

impl Application for Jmap {
    type Request = Request;

    fn hear(message: Heard, deflate: Option<Deflate>) -> Output<Request> {
        let Heard::Text(text) = message else {
            // W5.
            let reason = "only text is understood (RFC 8887 §4.3)";
            return Output::Close(wire::close(CloseCode::Unsupported, reason));
        };
        match message::read(std::str::from_utf8(&text).unwrap_or_default()) {
            Ok(Message::Request(request)) => Output::Call(request),
            Ok(Message::PushEnable(wish)) => Output::Push(wish),
            Ok(Message::PushDisable) => Output::Silence,
            Err(message::NotUnderstood { id, problem }) => {
                Output::Frame(error(id.as_deref(), &problem, deflate))
            }
        }
    }

    fn call(
        &self,
        request: Request,
        place: Place,
        deflate: Option<Deflate>,
        subscriber: &Subscriber,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let (key, suffix) = (subscriber.credential(), Arc::clone(&self.site.suffix));
        let principal = subscriber.principal();
        let parts = principal.as_deref().map(|principal| self.parts(principal));
        async move {
            let Request { id, body } = request;
            // The last subscriber of an audience takes it along, and this one lives.
            let (Some(principal), Some(parts)) = (principal, parts) else {
                return Answer::Unauthorized;
            };
            if shared.settings.answer_echo {
                let state = format!("{}{suffix}", principal.session_state);
                if let Some(echoed) = message::echo(&body, &state) {
                    let message = message::response(id.as_deref(), echoed.as_bytes());
                    let message = frame(message.unwrap_or_default(), deflate).await;
                    return Answer::Frame(message, Some(place));
                }
            }
            let held = Held { bytes: body.into(), place };
            let limit = shared.settings.response_size;
            let asking = (key, principal);
            let answer = shared.calls.exchange_whole((parts, held), asking, suffix, limit).await;
            let (message, place) = match answer {
                Ok((StatusCode::UNAUTHORIZED, _)) => return Answer::Unauthorized,
                Ok((status, Held { bytes, place })) => {
                    (answered(id.as_deref(), status, &bytes), Some(place))
                }
                Err(unread) => {
                    (message::request_error(id.as_deref(), &unusable(&unread, limit)), None)
                }
            };
            Answer::Frame(frame(message, deflate).await, place)
        }
    }

    fn limits(&self) -> Limits {
        let message = usize::try_from(self.request_size).unwrap_or(usize::MAX);
        Limits { message, fragments: MOST_FRAGMENTS }
    }

    fn size(request: &Request) -> usize {
        request.body.len() + request.id.as_ref().map_or(0, String::len)
    }

    fn overloaded(request: &Request, deflate: Option<Deflate>) -> Bytes {
        let problem = Problem::new(503, "too many large requests at once; try again");
        error(request.id.as_deref(), &problem, deflate)
    }
}

impl Jmap {
    /// The head of the API request by HTTP.
    fn parts(&self, principal: &Principal) -> Parts {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, JSON);
        headers.extend(self.shared.headers.iter().cloned());
        principal.credentials.write(&mut headers);
        if let Some(language) = &self.language {
            headers.insert(http::header::ACCEPT_LANGUAGE, HeaderValue::clone(language));
        }
        // What proxies before us said of the client was judged at the handshake.
        let Site { scheme, authority, .. } = &*self.site;
        let origin = Origin { client: self.client, scheme, authority: authority.to_string() };
        let client = Peer { address: self.client, tls: *scheme == "https", trusted: &[] };
        client.write_forwarded(&mut headers, &origin);
        // It came by a WebSocket, so it cannot have passed us before.
        let _ = write_via(&mut headers, Version::HTTP_11, &self.shared.via);
        let (mut parts, ()) = HttpRequest::new(()).into_parts();
        (parts.method, parts.headers) = (Method::POST, headers);
        parts.uri = principal.api_path.parse().unwrap_or_default();
        parts
    }
}

/// What upstream's answer is to the client.
fn answered(id: Option<&str>, status: StatusCode, body: &[u8]) -> Vec<u8> {
    let message = if status.is_success() {
        message::response(id, body)
    } else {
        message::upstream_error(id, body)
    };
    message.unwrap_or_else(|| {
        let problem = if status.is_success() {
            Problem::new(502, "the mail server answered no JMAP")
        } else {
            Problem::new(status.as_u16(), "the mail server refused the request")
        };
        message::request_error(id, &problem)
    })
}

/// A message as a frame. Compressing a large one takes milliseconds, in which nobody else shall wait.
async fn frame(message: Vec<u8>, deflate: Option<Deflate>) -> Bytes {
    if deflate.is_none() || message.len() < LONG_WORK {
        return wire::text_deflated(&message, deflate);
    }
    let compressing = tokio::task::spawn_blocking(move || wire::text_deflated(&message, deflate));
    // It does not panic, and is not cancelled: the runtime ends.
    compressing.await.unwrap_or_default()
}

/// Why a response cannot be passed on. What the request changed is looked for all the same.
fn unusable(unread: &Unread, limit: usize) -> Problem {
    match unread {
        Unread::Full => Problem::new(503, "too many large responses at once; try again"),
        Unread::Body(BodyError::TooLarge(_)) => {
            let detail = format!(
                "the response is larger than {limit} bytes (websocket.response_size); ask by HTTP"
            );
            Problem::new(502, detail)
        }
        Unread::Body(_) => Problem::new(502, "the mail server broke off its response"),
    }
}

fn error(id: Option<&str>, problem: &Problem, deflate: Option<Deflate>) -> Bytes {
    wire::text_deflated(&message::request_error(id, problem), deflate)
}
