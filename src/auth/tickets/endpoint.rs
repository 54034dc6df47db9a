//! Where tickets are given out and revoked: `POST auth.ticket_path`, and `DELETE` of a ticket below it.
//! Statuses are tmail-backend's (`TicketRoutes.scala`): 200, 204, and 403 for what is no ticket of the
//! user who asks. 503 is ours: not all who know of the ticket could be told of its end.

use std::net::IpAddr;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::seal::Unsealable;
use super::{Tickets, Unrevoked};
use crate::clock;
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;

impl Tickets {
    /// Answers a request at our path or below, sent by the client at this address.
    pub async fn serve(&self, request: &Parts, client: Option<IpAddr>) -> Response<Body> {
        let ticket = below(request.uri.path(), &self.settings.path);
        let allowed = if ticket.is_some() { Method::DELETE } else { Method::POST };
        if request.method != allowed {
            return reply::method_not_allowed(if ticket.is_some() { "DELETE" } else { "POST" });
        }
        let principal = match self.authority.authenticate(&request.headers, client).await {
            Ok((_, principal)) => principal,
            Err(refusal) => return refusal.response(),
        };
        let now = clock::wall();
        let Some(ticket) = ticket else {
            return match self.give(&principal, &request.headers, client, now) {
                Ok(given) => {
                    let body = serde_json::to_vec(&given).unwrap_or_default();
                    let mut response = reply::with_body(StatusCode::OK, reply::JSON, body.into());
                    let unstored = HeaderValue::from_static("no-store");
                    response.headers_mut().insert(CACHE_CONTROL, unstored);
                    response
                }
                Err(unsealable) => refused(unsealable),
            };
        };
        match self.revoke(ticket, &principal, now).await {
            Ok(()) => reply::empty(StatusCode::NO_CONTENT),
            Err(why @ Unrevoked::NotTheirs) => reply::problem(&Problem::new(403, why.to_string())),
            Err(why @ Unrevoked::Untold) => {
                reply::problem_retry(&Problem::new(503, why.to_string()), 1)
            }
        }
    }
}

/// What stands below `base` in a path; `None` at `base` itself, with or without a slash.
fn below<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(base.trim_end_matches('/'))?.trim_matches('/');
    (!rest.is_empty()).then_some(rest)
}

fn refused(unsealable: Unsealable) -> Response<Body> {
    reply::problem(&match unsealable {
        // RFC 6585 §5.
        Unsealable::TooLarge => Problem::new(
            431,
            "Authorization and Cookie are too long for a ticket: no URL could hold it",
        ),
        Unsealable::Cipher => Problem::new(500, "the ticket could not be sealed"),
    })
}
