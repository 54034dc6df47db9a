//! What browsers authenticate by where their scripts can set no `Authorization`: tickets, a subprotocol,
//! cookies (protocol.md §3, §5.6; hostile.md X16).
//!
//! Before a request is authenticated, what it brings elsewhere is put where every other client has it,
//! and taken out of where it was: nothing behind this knows of it. `Origin` is judged here too, whatever
//! the credential: browsers send those they remember from any page.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri};
use zeroize::Zeroizing;

use super::tickets::{Tickets, Use};
use crate::clock;
use crate::config;
use crate::jmap::problem::Problem;

/// The query parameter of a ticket.
const TICKET: &str = "ticket";

/// How the subprotocol begins that is a token.
const BEARER: &str = "bearer.";

/// What a request to one of our own paths is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To open an event source (RFC 8620 §7.3).
    EventSource,
    /// To open a WebSocket (RFC 8887).
    WebSocket,
    /// To get a ticket or to revoke one.
    Ticket,
}

/// Whose page sent a request, as its `Origin` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Nobody says: no browser, or a same-origin GET.
    Unnamed,
    /// Ours, or one the operator listed.
    Admitted,
    /// Any other.
    Foreign,
}

/// See the module.
pub struct Browsers {
    tickets: Option<Arc<Tickets>>,
    bearer_subprotocol: bool,
    cookies: bool,
}

impl Browsers {
    /// By `[auth]`. Without `tickets` a parameter of their name means nothing.
    #[must_use]
    pub fn new(settings: &config::Auth, tickets: Option<Arc<Tickets>>) -> Self {
        let config::Auth { bearer_subprotocol, cookies, .. } = *settings;
        Self { tickets, bearer_subprotocol, cookies }
    }

    /// Decides whether a request of `page`, from the client at this address, may go on to be
    /// authenticated, and puts its credentials where that looks for them.
    ///
    /// # Errors
    /// 403 for a page that may not, 401 for a ticket that opens nothing, 400 for what says two things
    /// at once.
    pub async fn admit<B>(
        &self,
        request: &mut Request<B>,
        purpose: Purpose,
        page: Page,
        client: Option<IpAddr>,
    ) -> Result<(), Problem> {
        if page == Page::Foreign {
            let detail = "the page that asks is neither of the proxy's own origin \
                          (downstream.public_url) nor of one in cors.origins";
            return Err(Problem::new(403, detail));
        }
        if !self.cookies {
            request.headers_mut().remove(COOKIE);
        }
        if purpose == Purpose::WebSocket && self.bearer_subprotocol {
            lift_bearer(request.headers_mut())?;
        }
        let reuse = match purpose {
            Purpose::EventSource => Use::Again,
            Purpose::WebSocket => Use::Once,
            Purpose::Ticket => return Ok(()),
        };
        let ticket = match &self.tickets {
            Some(tickets) => take_ticket(request.uri_mut())?.map(|ticket| (tickets, ticket)),
            None => None,
        };
        if let Some((tickets, ticket)) = ticket {
            if is_said(request.headers()) {
                return Err(Problem::new(
                    400,
                    "the request has a ticket and an Authorization: send one",
                ));
            }
            let credentials = tickets.redeem(&ticket, reuse, client, clock::wall()).await;
            let credentials = credentials.ok_or_else(|| {
                let detail = "the ticket is not valid, not any more, or not for this client's address: \
                              get a new one";
                Problem::new(401, detail)
            })?;
            credentials.replace(request.headers_mut());
            return Ok(());
        }
        let headers = request.headers();
        let by_cookie = headers.contains_key(COOKIE) && !headers.contains_key(AUTHORIZATION);
        if purpose == Purpose::WebSocket && by_cookie && page == Page::Unnamed {
            let detail = "a WebSocket that authenticates by a cookie must name its page in Origin";
            return Err(Problem::new(403, detail));
        }
        Ok(())
    }
}

/// Whether `Authorization` is there because somebody set it. A password that a browser remembers it sends
/// by itself, whatever its page says: what the page says then counts.
fn is_said(headers: &HeaderMap) -> bool {
    let remembered = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        let by_itself: [&[u8]; 4] = [b"basic", b"digest", b"negotiate", b"ntlm"];
        by_itself.iter().any(|known| known.eq_ignore_ascii_case(scheme))
    };
    headers.get_all(AUTHORIZATION).iter().any(|value| !remembered(value))
}

/// Takes the ticket out of a request's query.
fn take_ticket(uri: &mut Uri) -> Result<Option<Zeroizing<String>>, Problem> {
    let is_ticket = |pair: &&str| pair.split_once('=').map_or(*pair, |(name, _)| name) == TICKET;
    let query = uri.query().unwrap_or("");
    let mut tickets = query.split('&').filter(is_ticket);
    let Some(ticket) = tickets.next() else { return Ok(None) };
    if tickets.next().is_some() {
        return Err(Problem::new(400, "the request has two tickets: send one"));
    }
    let ticket = ticket.split_once('=').map_or("", |(_, value)| value).to_owned();
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_ticket(pair)).collect();
    let path = match rest.join("&") {
        rest if rest.is_empty() => Cow::Borrowed(uri.path()),
        rest => Cow::Owned(format!("{}?{rest}", uri.path())),
    };
    // Part of a URI is a URI.
    let path = PathAndQuery::try_from(&*path);
    *uri = Uri::from(path.unwrap_or_else(|_| PathAndQuery::from_static("/")));
    Ok(Some(Zeroizing::new(ticket)))
}

/// Takes the token out of the subprotocols that a client offers (`jmap, bearer.<base64url>`), and puts
/// it where tokens are (RFC 6750 §2.1). What is left is for the handshake.
fn lift_bearer(headers: &mut HeaderMap) -> Result<(), Problem> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    // What is no text has no token in it, and is the handshake's to refuse.
    let texts: Option<Vec<&str>> = offered.map(|value| value.to_str().ok()).collect();
    let Some(texts) = texts else { return Ok(()) };
    let entries = || texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let mut tokens = entries().filter_map(|entry| entry.strip_prefix(BEARER));
    let Some(token) = tokens.next() else { return Ok(()) };
    if tokens.next().is_some() || is_said(headers) {
        return Err(Problem::new(
            400,
            "the request authenticates twice: send one token, or Authorization",
        ));
    }
    let Some(authorization) = authorization(token) else {
        let detail = "the subprotocol \"bearer.\" is followed by the token in base64url, unpadded";
        return Err(Problem::new(400, detail));
    };
    let rest: Vec<&str> = entries().filter(|entry| !entry.starts_with(BEARER)).collect();
    let rest = HeaderValue::try_from(rest.join(", "));
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Ok(rest) = rest
        && !rest.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
    }
    headers.insert(AUTHORIZATION, authorization);
    Ok(())
}

/// `Bearer` and the token; `None` when it is not base64url, or holds what no token does.
fn authorization(encoded: &str) -> Option<HeaderValue> {
    let token = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
    // A space or a comma would make two of it for some reader.
    let is_sound = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    if token.is_empty() || !token.iter().all(is_sound) {
        return None;
    }
    let value = Zeroizing::new([b"Bearer ", token.as_slice()].concat());
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
