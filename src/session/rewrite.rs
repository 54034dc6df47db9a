//! Edits a Session resource (RFC 8620 §2) as text: what we do not change survives byte for byte (S6).
//!
//! URLs on upstream's own origin become absolute on the public origin, since clients cannot use
//! relative ones (Cyrus sends them) and would go round us by others. URI templates are edited as
//! text: a URL library would percent-encode their braces (protocol.md §5.1).

use std::ops::Range;

use serde_json::value::RawValue;

use crate::jmap::capability::{CORE, TICKETS, VAPID, WEBSOCKET};
use crate::jmap::object::{Member, json_string, members, offset, splice};
use crate::jmap::url::{authority_of, is_among, path_of};

/// Where tickets are given out, and below what they are revoked.
const TICKET_ENDPOINTS: [&str; 2] = ["generationEndpoint", "revocationEndpoint"];

/// What stands among the capabilities of the server, and in the user's own account.
const OF_THE_SERVER: [&str; 3] = [WEBSOCKET, TICKETS, VAPID];
const OF_AN_ACCOUNT: [&str; 2] = [WEBSOCKET, TICKETS];

/// What is put into a Session.
#[derive(Debug, Clone, Copy)]
pub struct Edits<'a> {
    /// Scheme and authority that clients use, without a trailing slash.
    pub public_origin: &'a str,
    /// Authorities that mean upstream in the URLs it sends.
    pub upstream_authorities: &'a [&'a str],
    /// Path of the Session resource on upstream, which relative URLs are relative to.
    pub session_path: &'a str,
    /// Path and query of our event source; `None` leaves upstream's, led through us.
    pub event_source: Option<&'a str>,
    /// Path of our WebSocket; `None` leaves upstream's, led through us.
    pub web_socket: Option<&'a str>,
    /// Path at which we give out tickets; `None` where we do not.
    pub tickets: Option<&'a str>,
    /// Who signs pushes (RFC 9749 §3).
    pub vapid: Vapid<'a>,
    /// The most octets that we take as one API request (S7).
    pub max_size_request: usize,
    /// Appended to `state`, see [`super::Sessions::suffix`].
    pub state_suffix: &'a str,
}

/// Whose VAPID capability clients are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vapid<'a> {
    /// Upstream's, if it has one.
    Upstreams,
    /// Ours, with this key.
    Ours(&'a str),
    /// Nobody's.
    Nobodys,
}

/// A rewritten Session.
#[derive(Debug)]
pub struct Rewritten {
    /// The new body.
    pub body: Vec<u8>,
    /// URLs that lead elsewhere and were left alone: such calls pass round us.
    pub foreign: Vec<String>,
}

/// The body is not a Session.
#[derive(Debug, thiserror::Error)]
#[error("read the Session as a JSON object")]
pub struct NotASession(#[source] serde_json::Error);

/// Applies `edits` to the Session `body`.
///
/// # Errors
/// When it is not a JSON object.
pub fn rewrite(body: &[u8], edits: &Edits<'_>) -> Result<Rewritten, NotASession> {
    let text = std::str::from_utf8(body).map_err(|_| NotASession(not_utf8()))?;
    let members = members(text).map_err(NotASession)?;
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    let mut foreign = Vec::new();
    let mut has_event_source = false;
    for Member { name, value } in &members {
        let range = offset(text, value.get());
        match &**name {
            "eventSourceUrl" => {
                has_event_source = true;
                let ours = edits.event_source.map(|path| format!("{}{path}", edits.public_origin));
                let url = ours.or_else(|| edits.url(value, "http", &mut foreign));
                splices.extend(url.map(|url| (range, json_string(&url))));
            }
            "apiUrl" | "downloadUrl" | "uploadUrl" => {
                let url = edits.url(value, "http", &mut foreign);
                splices.extend(url.map(|url| (range, json_string(&url))));
            }
            "state" if value.get().starts_with('"') => {
                let quote = range.end - 1;
                splices.push((quote..quote, edits.state_suffix.to_owned()));
            }
            "capabilities" => {
                let edited = edits.capabilities(value, &OF_THE_SERVER, &mut foreign);
                splices.extend(edited.map(|text| (range, text)));
            }
            "accounts" => splices.extend(edits.accounts(value).map(|text| (range, text))),
            _ => {}
        }
    }
    if let (false, Some(path), Some(last)) = (has_event_source, edits.event_source, members.last())
    {
        let end = offset(text, last.value.get()).end;
        let url = json_string(&format!("{}{path}", edits.public_origin));
        splices.push((end..end, format!(",\"eventSourceUrl\":{url}")));
    }
    Ok(Rewritten { body: splice(text, splices).into(), foreign })
}

impl Edits<'_> {
    /// The public form of a URL or template, `None` to leave it as it is.
    fn url(&self, value: &RawValue, scheme: &str, foreign: &mut Vec<String>) -> Option<String> {
        let url: String = serde_json::from_str(value.get()).ok()?;
        if authority_of(&url).is_some_and(|named| !is_among(self.upstream_authorities, named)) {
            foreign.push(url);
            return None;
        }
        let path = path_of(&url, self.session_path);
        let origin = match scheme {
            "ws" => web_socket_origin(self.public_origin),
            _ => self.public_origin.to_owned(),
        };
        Some(format!("{origin}{path}"))
    }

    /// `capabilities` with what is ours to say in it, `None` to leave it as it is. `adds`: which of it is
    /// said where upstream does not.
    fn capabilities(
        &self,
        value: &RawValue,
        adds: &[&str],
        foreign: &mut Vec<String>,
    ) -> Option<String> {
        let text = value.get();
        let members = members(text).ok()?;
        let own = self.own();
        let ours = |name: &str| own.iter().find(|(ours, _)| *ours == name).map(|(_, ours)| ours);
        let mut splices = Vec::new();
        // Where the value ends that was looked at last, and whether any before it is left.
        let (mut done, mut is_first) = (1, true);
        for Member { name, value } in &members {
            let range = offset(text, value.get());
            let end = range.end;
            match ours(name) {
                Some(Some(ours)) => splices.push((range, ours.clone())),
                Some(None) if is_first => {
                    let comma = text.get(end..).and_then(|rest| rest.find(','));
                    let behind = comma.map_or(end, |comma| end + comma + 1);
                    splices.push((done..behind, String::new()));
                    done = behind;
                    continue;
                }
                Some(None) => splices.push((done..end, String::new())),
                None => {
                    let edited = match &**name {
                        CORE => self.core(value),
                        WEBSOCKET => self.urls(value, &["url"], "ws", foreign),
                        TICKETS => self.urls(value, &TICKET_ENDPOINTS, "http", foreign),
                        _ => None,
                    };
                    splices.extend(edited.map(|edited| (range, edited)));
                }
            }
            is_first &= matches!(ours(name), Some(None));
            done = end;
        }
        let is_missing = |name: &str| members.iter().all(|member| member.name != name);
        for (name, ours) in own.iter().filter(|(name, _)| adds.contains(name) && is_missing(name)) {
            let Some(ours) = ours else { continue };
            let comma = if std::mem::take(&mut is_first) { "" } else { "," };
            splices.push((done..done, format!("{comma}{}:{ours}", json_string(name))));
        }
        (!splices.is_empty()).then(|| splice(text, splices))
    }

    /// What we say in the place of upstream when its push is replaced (D14); `None` says nothing.
    fn own(&self) -> Vec<(&'static str, Option<String>)> {
        let key = |key| format!("{{\"applicationServerKey\":{}}}", json_string(key));
        let vapid = match self.vapid {
            Vapid::Upstreams => None,
            Vapid::Ours(ours) => Some((VAPID, Some(key(ours)))),
            Vapid::Nobodys => Some((VAPID, None)),
        };
        if self.event_source.is_none() {
            return vapid.into_iter().collect();
        }
        let tickets = self.tickets.map(|path| {
            let url = json_string(&format!("{}{path}", self.public_origin));
            let [give, revoke] = TICKET_ENDPOINTS;
            format!("{{\"{give}\":{url},\"{revoke}\":{url}}}")
        });
        let web_socket = self.web_socket.map(|path| {
            let url = format!("{}{path}", web_socket_origin(self.public_origin));
            // RFC 8887 §3, W1.
            format!("{{\"url\":{},\"supportsPush\":true}}", json_string(&url))
        });
        [(WEBSOCKET, web_socket), (TICKETS, tickets)].into_iter().chain(vapid).collect()
    }

    /// `accounts`, `None` to leave it as it is. Linagora's clients look for capabilities of the whole server
    /// in the user's own account, where James repeats them.
    fn accounts(&self, value: &RawValue) -> Option<String> {
        let text = value.get();
        let mut splices = Vec::new();
        for Member { value: account, .. } in members(text).ok()? {
            let Ok(members) = members(account.get()) else { continue };
            let find = |name| members.iter().find(|member| member.name == name);
            let is_own = find("isPersonal").is_some_and(|own| own.value.get() == "true");
            // Foreign URLs are told of once, where they stand for the whole server.
            let edited = find("accountCapabilities").and_then(|Member { value, .. }| {
                let adds = if is_own { &OF_AN_ACCOUNT[..] } else { &[] };
                let edited = self.capabilities(value, adds, &mut Vec::new())?;
                Some((offset(text, value.get()), edited))
            });
            splices.extend(edited);
        }
        (!splices.is_empty()).then(|| splice(text, splices))
    }

    /// The core capability: `maxSizeRequest` is what both of us take (S7, protocol.md §5.1.8).
    fn core(&self, value: &RawValue) -> Option<String> {
        let text = value.get();
        let limits = members(text).ok()?;
        let stated = limits.iter().find(|member| member.name == "maxSizeRequest")?.value;
        let more = stated.get().parse::<u64>().is_ok_and(|stated| stated > self.max_size());
        more.then(|| {
            splice(text, vec![(offset(text, stated.get()), self.max_size_request.to_string())])
        })
    }

    fn max_size(&self) -> u64 {
        u64::try_from(self.max_size_request).unwrap_or(u64::MAX)
    }

    /// A capability of upstream's with these of its members led through us (D14).
    fn urls(
        &self,
        value: &RawValue,
        names: &[&str],
        scheme: &str,
        foreign: &mut Vec<String>,
    ) -> Option<String> {
        let text = value.get();
        let mut splices = Vec::new();
        for Member { name, value } in members(text).ok()? {
            if names.contains(&&*name) {
                let url = self.url(value, scheme, foreign);
                splices.extend(url.map(|url| (offset(text, value.get()), json_string(&url))));
            }
        }
        (!splices.is_empty()).then(|| splice(text, splices))
    }
}

/// `http` becomes `ws`, `https` becomes `wss` (RFC 6455 §3).
fn web_socket_origin(origin: &str) -> String {
    origin.strip_prefix("http").map_or_else(|| origin.to_owned(), |rest| format!("ws{rest}"))
}

fn not_utf8() -> serde_json::Error {
    serde::de::Error::custom("it is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYRUS: &str = r#"{"username":"alice", "apiUrl":"/jmap/","downloadUrl":"/jmap/download/{accountId}/{blobId}/{name}?accept={type}",
        "uploadUrl":"/jmap/upload/{accountId}/","eventSourceUrl":"/jmap/eventsource/?types={types}","state":"0","capabilities":{"urn:x":{"a" : 1.50e3}}, "x\u0041":[ {"b":null} ]}"#;

    const OURS: &str =
        r#""urn:ietf:params:jmap:websocket":{"url":"wss://mail.example/ws/","supportsPush":true}"#;

    fn edits<'a>() -> Edits<'a> {
        Edits {
            public_origin: "https://mail.example",
            upstream_authorities: &["127.0.0.1:8080", "mail.example"],
            session_path: "/jmap",
            event_source: Some("/es?types={types}&closeafter={closeafter}&ping={ping}"),
            web_socket: Some("/ws/"),
            tickets: None,
            vapid: Vapid::Upstreams,
            max_size_request: 1000,
            state_suffix: "-p1",
        }
    }

    fn rewritten(body: &str, edits: &Edits<'_>) -> (String, Vec<String>) {
        let Rewritten { body, foreign } = rewrite(body.as_bytes(), edits).unwrap();
        (String::from_utf8(body).unwrap(), foreign)
    }

    #[test]
    fn relative_urls_become_absolute_and_everything_else_stays_to_the_byte() {
        let (body, foreign) = rewritten(CYRUS, &edits());
        let expected = CYRUS
            .replace("\"/jmap/\"", "\"https://mail.example/jmap/\"")
            .replace("\"/jmap/d", "\"https://mail.example/jmap/d")
            .replace("\"/jmap/u", "\"https://mail.example/jmap/u")
            .replace(
                "/jmap/eventsource/?types={types}",
                "https://mail.example/es?types={types}&closeafter={closeafter}&ping={ping}",
            )
            .replace("\"state\":\"0\"", "\"state\":\"0-p1\"")
            .replace("1.50e3}", &format!("1.50e3}},{OURS}"));
        assert_eq!(body, expected);
        assert!(foreign.is_empty());
    }

    #[test]
    fn urls_of_upstreams_origin_are_ours_and_foreign_ones_are_told() {
        let session = r#"{"apiUrl":"http://127.0.0.1:8080/api","uploadUrl":"https://cdn.example/u/{accountId}"}"#;
        let (body, foreign) = rewritten(session, &edits());
        assert!(body.contains(r#""apiUrl":"https://mail.example/api""#), "{body}");
        assert!(body.contains(r#""uploadUrl":"https://cdn.example/u/{accountId}""#), "{body}");
        assert_eq!(foreign, ["https://cdn.example/u/{accountId}"]);
    }

    #[test]
    fn a_port_that_the_scheme_implies_makes_no_other_host() {
        let session = r#"{"apiUrl":"https://MAIL.example:443/api?tenant=1","uploadUrl":"http://mail.example:8080/"}"#;
        let (body, foreign) = rewritten(session, &edits());
        assert!(body.contains(r#""apiUrl":"https://mail.example/api?tenant=1""#), "{body}");
        assert_eq!(foreign, ["http://mail.example:8080/"]);
    }

    #[test]
    fn a_limit_of_ours_that_is_lower_is_the_one_clients_are_told() {
        let session = |limit: &str| {
            format!(
                r#"{{"capabilities":{{"urn:a":{{}}, "urn:ietf:params:jmap:core":{{"maxSizeRequest" : {limit},"x":1}},"urn:b":{{}}}},"eventSourceUrl":"/e"}}"#
            )
        };
        let edits = || Edits { web_socket: None, ..edits() };
        for (stated, told) in [("1001", "1000"), ("1000", "1000"), ("999", "999"), ("1e9", "1e9")] {
            let (body, _) = rewritten(&session(stated), &edits());
            let expected = session(told).replace(
                "/e",
                "https://mail.example/es?types={types}&closeafter={closeafter}&ping={ping}",
            );
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn a_missing_event_source_is_added() {
        let (body, _) = rewritten(r#"{"apiUrl":"/a" }"#, &edits());
        let session: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            session["eventSourceUrl"],
            "https://mail.example/es?types={types}&closeafter={closeafter}&ping={ping}"
        );
    }

    #[test]
    fn upstreams_websocket_is_replaced_or_led_through_us() {
        let session = r#"{"capabilities":{"urn:a":{},"urn:ietf:params:jmap:websocket":{"url":"ws://127.0.0.1:8080/ws","supportsPush":true},"urn:b":{"c":[1]}},"apiUrl":"/a","eventSourceUrl":"/e"}"#;
        let (body, _) = rewritten(session, &edits());
        assert!(
            body.contains(&format!(r#"{{"urn:a":{{}},{OURS},"urn:b":{{"c":[1]}}}}"#)),
            "{body}"
        );
        let passed = Edits { event_source: None, web_socket: None, ..edits() };
        let (body, _) = rewritten(session, &passed);
        assert!(body.contains(r#"{"url":"wss://mail.example/ws","supportsPush":true}"#), "{body}");
        assert!(body.contains(r#""eventSourceUrl":"https://mail.example/e""#), "{body}");
    }

    #[test]
    fn our_tickets_stand_in_the_session_and_in_the_users_own_account() {
        const OURS: &str = r#""com:linagora:params:jmap:ws:ticket":{"generationEndpoint":"https://mail.example/t","revocationEndpoint":"https://mail.example/t"}"#;
        let edits = Edits { tickets: Some("/t"), web_socket: None, ..edits() };
        let session = |server: &str, own: &str, shared: &str| {
            format!(
                r#"{{"capabilities":{{{server}}},"accounts":{{"a":{{"isPersonal":true,"accountCapabilities":{{{own}}} }}, "s" : {{"isPersonal":false,"accountCapabilities":{{{shared}}}}}}},"eventSourceUrl":"https://mail.example/es?types={{types}}&closeafter={{closeafter}}&ping={{ping}}"}}"#
            )
        };
        let upstreams = r#""com:linagora:params:jmap:ws:ticket":{"generationEndpoint":"http://elsewhere.example/t"}"#;
        let websocket = r#""urn:ietf:params:jmap:websocket":{"url":"ws://a"}"#;
        for (before, after) in [
            (session("", "", ""), session(OURS, OURS, "")),
            (
                session(r#" "urn:x" : 1 "#, r#""urn:y":2"#, " "),
                session(&format!(r#" "urn:x" : 1,{OURS} "#), &format!(r#""urn:y":2,{OURS}"#), " "),
            ),
            (session(upstreams, upstreams, upstreams), session(OURS, OURS, OURS)),
            (session(websocket, websocket, websocket), session(OURS, OURS, "")),
            (
                session(&format!(r#"{websocket} , "urn:x":1, {websocket}"#), "", websocket),
                session(&format!(r#" "urn:x":1,{OURS}"#), OURS, ""),
            ),
        ] {
            assert_eq!(rewritten(&before, &edits), (after, Vec::new()), "{before}");
        }
    }

    #[test]
    fn tickets_that_would_open_nothing_are_not_offered() {
        let session = r#"{"capabilities":{"com:linagora:params:jmap:ws:ticket":{"generationEndpoint":"/t","x":1,"revocationEndpoint":"/t"}},"eventSourceUrl":"/e"}"#;
        let edits = Edits { web_socket: None, ..edits() };
        let (body, _) = rewritten(session, &edits);
        assert!(body.starts_with(r#"{"capabilities":{},"#), "{body}");
        let (body, _) = rewritten(session, &Edits { event_source: None, ..edits });
        let led = r#"{"generationEndpoint":"https://mail.example/t","x":1,"revocationEndpoint":"https://mail.example/t"}"#;
        assert!(body.contains(led), "{body}");
    }

    /// RFC 9749 §3; `push.mode`.
    #[test]
    fn the_key_is_ours_or_upstreams_or_nobodys() {
        const URN: &str = "urn:ietf:params:jmap:webpush-vapid";
        let session = |capabilities: &str| format!(r#"{{"capabilities":{{{capabilities}}}}}"#);
        let theirs = format!(r#""{URN}" : {{"applicationServerKey":"B1","x":1.0}}"#);
        let ours = format!(r#""{URN}":{{"applicationServerKey":"B2"}}"#);
        let in_place = format!(r#""{URN}" : {{"applicationServerKey":"B2"}}"#);
        let among = |it: &str| session(&format!(r#""urn:a":1, {it},"urn:b":2"#));
        for (vapid, alone, after) in [
            (Vapid::Upstreams, session(""), among(&theirs)),
            (Vapid::Ours("B2"), session(&ours), among(&in_place)),
            (Vapid::Nobodys, session(""), session(r#""urn:a":1,"urn:b":2"#)),
        ] {
            // Also where the rest of upstream's push is passed through.
            let edits = Edits { vapid, event_source: None, web_socket: None, ..edits() };
            assert_eq!(rewritten(&session(""), &edits).0, alone, "{vapid:?}");
            assert_eq!(rewritten(&among(&theirs), &edits).0, after, "{vapid:?}");
        }
    }

    #[test]
    fn every_occurrence_of_a_doubled_member_is_edited() {
        let (body, _) = rewritten(r#"{"apiUrl":"/a","api\u0055rl":"/b"}"#, &edits());
        assert!(body.starts_with(
            r#"{"apiUrl":"https://mail.example/a","api\u0055rl":"https://mail.example/b""#
        ));
    }

    #[test]
    fn what_is_no_session_is_an_error() {
        for body in ["", "[]", "{", "null", "{} x"] {
            assert!(rewrite(body.as_bytes(), &edits()).is_err(), "{body}");
        }
        assert!(rewrite(b"\xff", &edits()).is_err());
    }
}
