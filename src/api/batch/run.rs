//! Does what a [`Batch`] says: sends its sub-requests the way of any API request, and has [`push`]
//! answer the calls that are ours. By HTTP and over WebSockets alike.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::{Batch, Failed, OwnCall, Step, Terms};
use crate::api::caller::{Caller, Written};
use crate::api::calls::Calls;
use crate::api::memory::{Held, Place, Unread};
use crate::clock::Moment;
use crate::http::body::BodyError;
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;
use crate::push::{self, Push};
use crate::upstream::Failure;

/// What came of a sub-request.
struct Part {
    /// As upstream gave it, or ours where it gave none.
    response: Response<Body>,
    /// Its body, if its status is one of success.
    body: Result<Bytes, Failed>,
    place: Place,
}

impl Calls {
    /// Answers a request that calls methods of ours, and perhaps others.
    pub(in crate::api) async fn split(
        &self,
        (parts, plain, written): (Parts, &[u8], &Written),
        push: &Arc<Push>,
        who: &push::Caller,
        suffix: &Arc<str>,
    ) -> Response<Body> {
        let principal = &who.principal;
        let batch = Batch::new(
            plain,
            &Terms {
                own: self.own(),
                is_known: &|urn| principal.capabilities.iter().any(|known| known == urn),
                max_calls: principal.limits.max_calls_in_request,
                session_state: &format!("{}{suffix}", principal.session_state),
            },
        );
        let mut batch = match batch {
            Ok(batch) => batch,
            Err(problem) => return reply::problem(&problem),
        };
        let mut passed = reply::empty(StatusCode::BAD_GATEWAY);
        let mut head = HeaderMap::new();
        // What the responses of all parts occupy, of which the whole one is made.
        let mut places = Vec::new();
        loop {
            match batch.step() {
                Step::Upstream(body) => {
                    let written = written.of_part(&body);
                    let request = (parts.clone(), body.into());
                    let part = self.part(request, written, who, suffix).await;
                    batch.upstream(part.body.as_deref().map_err(|failed| *failed));
                    if part.body.is_ok() {
                        head.clone_from(part.response.headers());
                    }
                    places.push(part.place);
                    passed = part.response;
                }
                Step::Own(OwnCall { name, arguments, .. }) => {
                    let created_before = &|id: &str| batch.created(id).map(str::to_owned);
                    let call = push::Call { name, arguments, created_before };
                    let answer = push.call(who, call).await;
                    batch.own(vec![(answer.name, answer.arguments)], answer.created);
                }
                Step::Pass => return passed,
                Step::Done(body) => return whole(head, body.into(), places),
            }
        }
    }

    /// Sends a sub-request, and reads the response whole.
    async fn part(
        &self,
        request: (Parts, Bytes),
        written: Written,
        who: &push::Caller,
        suffix: &Arc<str>,
    ) -> Part {
        let caller = Caller {
            wiring: self.wiring.clone(),
            key: Some(who.key),
            principal: Some(Arc::clone(&who.principal)),
            credentials: None,
            written,
            sent: Moment::now(),
            known: false,
            // Their turn is that of the whole.
            _turn: None,
        };
        let response = match self.send(request, caller, Arc::clone(suffix)).await {
            Ok(response) => response,
            Err(failure) => return Part::failed(failure.response(), lost(&failure)),
        };
        if let Some(failed) = refused(response.status()) {
            return Part::failed(response, failed);
        }
        let (head, body) = response.into_parts();
        match self.answers.read(body, self.answer_size).await {
            Ok(Held { bytes, place }) => {
                let response = Response::from_parts(head, Body::from(bytes.clone()));
                Part { response, body: Ok(bytes), place }
            }
            Err(Unread::Body(BodyError::TooLarge(limit))) => {
                let detail = format!(
                    "a response to a part of the request is larger than {limit} bytes \
                     (websocket.response_size)"
                );
                Part::failed(reply::problem(&Problem::new(502, detail)), Failed::Unreadable)
            }
            Err(Unread::Body(error)) => {
                Part::failed(Failure::Body(error).response(), Failed::Broken)
            }
            Err(Unread::Full) => {
                let problem = Problem::new(503, "too many large responses at once; try again");
                Part::failed(reply::problem_retry(&problem, 1), Failed::Unreadable)
            }
        }
    }
}

impl Part {
    fn failed(response: Response<Body>, failed: Failed) -> Self {
        Self { response, body: Err(failed), place: Place::default() }
    }
}

/// What a status other than success means.
fn refused(status: StatusCode) -> Option<Failed> {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(Failed::Busy),
        status if status.is_success() => None,
        status if status.is_server_error() => Some(Failed::Unreadable),
        status => Some(Failed::Refused(status.as_u16())),
    }
}

/// What it means that there was no response.
fn lost(failure: &Failure) -> Failed {
    match failure {
        Failure::Connect(_) | Failure::ConnectTimeout(_) | Failure::Full(_) => Failed::Unreachable,
        Failure::Unusable(_) | Failure::ForeignRedirect(_) => Failed::Unreadable,
        Failure::Broken(_)
        | Failure::Silent(_)
        | Failure::Stalled(_)
        | Failure::Downstream(_)
        | Failure::Body(_) => Failed::Broken,
    }
}

/// The Response to the whole request, with the head of the last one that it is made of.
fn whole(mut head: HeaderMap, body: Bytes, places: Vec<Place>) -> Response<Body> {
    head.insert(CONTENT_TYPE, reply::JSON);
    head.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut response = Response::new(Body::from(body).holding(Arc::new(places)));
    *response.headers_mut() = head;
    response
}
