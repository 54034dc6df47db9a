//! HTTP as a source of notifications: for a delivery hook, a milter, a Sieve script, cron, and for
//! Dovecot.
//!
//! | request | |
//! |---|---|
//! | `POST /notify` | the JSON of [`message`](super::message), as in Redis (docs/notify.md) |
//! | `PUT /notify/dovecot` | a push notification of Dovecot's ([`dovecot`]) |
//!
//! 204 says that the notification was taken, not that a client was told; a caller need not wait for it,
//! nor try again later: what gets lost here is found by the probe. Runs on a listener and a thread of its
//! own.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::config::secret::Secret;
use crate::http::body::BodyError;
use crate::http::listener::Listener;
use crate::http::{Body, reply, side_door};
use crate::jmap::problem::Problem;

use super::Source;
use super::ear::Ear;
use super::message::{MAX_BYTES, Notice};

pub mod dovecot;

/// Path of notifications in our own form.
const NOTIFY: &str = "/notify";

/// Path of Dovecot's.
const DOVECOT: &str = "/notify/dovecot";

/// Where it comes from, for the log.
const PLACE: &str = "notify.http.listen";

/// Longest silence in the middle of a notification, and longest time for all of it.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Serves the door for as long as it is polled.
pub async fn run(listener: Listener, token: Option<Secret>, ear: Ear) {
    ear.listens_to(Source::Http);
    ear.listens_to(Source::Dovecot);
    let door = Arc::new(Door { token, ear });
    let answer = move |request| {
        let door = Arc::clone(&door);
        async move { door.answer(request).await }
    };
    side_door::serve(listener, Arc::new(answer)).await;
}

struct Door {
    token: Option<Secret>,
    ear: Ear,
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (source, method) = match request.uri().path().trim_end_matches('/') {
            NOTIFY => (Source::Http, Method::POST),
            DOVECOT => (Source::Dovecot, Method::PUT),
            _ => return refuse(404, "there is POST /notify, and PUT /notify/dovecot"),
        };
        if !self.is_authentic(request.headers()) {
            self.ear.complain(source, PLACE, &"notify.http.token is missing or another");
            return refuse(
                401,
                "notify.http.token is wanted, as Bearer or as the password of Basic",
            );
        }
        if request.method() != method {
            return reply::method_not_allowed(if method == Method::POST { "POST" } else { "PUT" });
        }
        let body = Body::relay(request.into_body(), BODY_WITHIN);
        let body = async {
            match source {
                Source::Dovecot => body.collect_beginning(dovecot::READ, dovecot::TAKEN).await,
                _ => body.collect_limited(MAX_BYTES).await,
            }
        };
        let body = match timeout(BODY_WITHIN, body).await {
            Ok(Ok(body)) => body,
            Ok(Err(BodyError::TooLarge(_))) => {
                return refuse(413, "a notification is at most 64 KB");
            }
            Ok(Err(_)) | Err(_) => return refuse(408, "the notification did not come to its end"),
        };
        match self.take(source, &body) {
            Ok(()) => reply::empty(StatusCode::NO_CONTENT),
            Err(reason) => reply::problem(&Problem::new(400, reason)),
        }
    }

    /// Tells what was sent, or why it was not understood.
    fn take(&self, source: Source, body: &[u8]) -> Result<(), String> {
        let notice = match source {
            Source::Dovecot => dovecot::parse(body).map_err(|error| error.to_string()),
            _ => Notice::parse(body).map(Some).map_err(|error| error.to_string()),
        };
        match notice {
            Ok(notice) => {
                notice.into_iter().for_each(|notice| self.ear.outbox.notice(notice, source));
                Ok(())
            }
            Err(reason) => {
                self.ear.complain(source, PLACE, &reason);
                Err(reason)
            }
        }
    }

    /// `Bearer TOKEN` (RFC 6750), or `Basic` with the token for the password (RFC 7617), whoever it is:
    /// Dovecot can do no other.
    fn is_authentic(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
        let Some((scheme, rest)) = sent.to_str().ok().and_then(|sent| sent.split_once(' ')) else {
            return false;
        };
        let same = |sent: &[u8]| verify_slices_are_equal(sent, token.expose().as_bytes()).is_ok();
        if scheme.eq_ignore_ascii_case("bearer") {
            return same(rest.trim().as_bytes());
        }
        let Ok(pair) = STANDARD.decode(rest.trim()) else { return false };
        let password = pair.splitn(2, |byte| *byte == b':').nth(1);
        scheme.eq_ignore_ascii_case("basic") && password.is_some_and(same)
    }
}

fn refuse(status: u16, detail: &'static str) -> Response<Body> {
    reply::problem(&Problem::new(status, detail))
}
