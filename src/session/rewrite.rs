//! Edits a Session resource (RFC 8620 §2) as text: what we do not change survives byte for byte (S6).
//!
//! URLs on upstream's own origin become absolute on the public origin, since clients cannot use
//! relative ones (Cyrus sends them) and would go round us by others. URI templates are edited as
//! text: a URL library would percent-encode their braces (protocol.md §5.1).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// RFC 8887 §3.
pub const WEBSOCKET: &str = "urn:ietf:params:jmap:websocket";

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
    /// Appended to `state`, see [`super::Sessions::suffix`].
    pub state_suffix: &'a str,
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
                let edited = edits.capabilities(value, &mut foreign);
                splices.extend(edited.map(|text| (range, text)));
            }
            _ => {}
        }
    }
    if let (false, Some(path), Some(last)) = (has_event_source, edits.event_source, members.last())
    {
        let end = offset(text, last.value.get()).end;
        let url = json_string(&format!("{}{path}", edits.public_origin));
        splices.push((end..end, format!(",\"eventSourceUrl\":{url}")));
    }
    Ok(Rewritten { body: splice(text, splices), foreign })
}

impl Edits<'_> {
    /// The public form of a URL or template, `None` to leave it as it is.
    fn url(&self, value: &RawValue, scheme: &str, foreign: &mut Vec<String>) -> Option<String> {
        let url: String = serde_json::from_str(value.get()).ok()?;
        let path = match url.split_once("://") {
            Some((_, rest)) => {
                let slash = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(slash);
                let ours = self.upstream_authorities.iter();
                if !ours.into_iter().any(|known| known.eq_ignore_ascii_case(authority)) {
                    foreign.push(url);
                    return None;
                }
                path.to_owned()
            }
            None => crate::auth::principal::path_of(&url, self.session_path),
        };
        let origin = match (scheme, self.public_origin.strip_prefix("http")) {
            // `http` becomes `ws`, `https` becomes `wss` (RFC 6455 §3).
            ("ws", Some(rest)) => format!("ws{rest}"),
            _ => self.public_origin.to_owned(),
        };
        Some(format!("{origin}{path}"))
    }

    /// Upstream's own WebSocket: taken out when we replace its push, else led through us (D14).
    fn capabilities(&self, value: &RawValue, foreign: &mut Vec<String>) -> Option<String> {
        let text = value.get();
        let mut capabilities = members(text).ok()?;
        let index = capabilities.iter().position(|member| member.name == WEBSOCKET)?;
        if self.event_source.is_none() {
            let websocket = capabilities.get(index)?.value.get();
            let members = members(websocket).ok()?;
            let url = members.iter().find(|member| member.name == "url")?.value;
            let public = self.url(url, "ws", foreign)?;
            let at = offset(text, url.get());
            return String::from_utf8(splice(text, vec![(at, json_string(&public))])).ok();
        }
        capabilities.remove(index);
        let kept: Vec<String> = capabilities
            .iter()
            .map(|member| format!("{}:{}", json_string(&member.name), member.value.get()))
            .collect();
        Some(format!("{{{}}}", kept.join(",")))
    }
}

struct Member<'a> {
    name: Cow<'a, str>,
    value: &'a RawValue,
}

/// The members of a JSON object in order, duplicates included.
fn members(text: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut members = Vec::new();
            while let Some(Name(name)) = map.next_key()? {
                members.push(Member { name, value: map.next_value()? });
            }
            Ok(members)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok(members)
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where `part`, a slice of `whole`, stands in it.
fn offset(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Replaces ranges, given in ascending order, of `text`.
fn splice(text: &str, splices: Vec<(Range<usize>, String)>) -> Vec<u8> {
    let mut edited = Vec::with_capacity(text.len() + 256);
    let mut done = 0;
    for (range, replacement) in splices {
        edited.extend_from_slice(text.as_bytes().get(done..range.start).unwrap_or_default());
        edited.extend_from_slice(replacement.as_bytes());
        done = range.end;
    }
    edited.extend_from_slice(text.as_bytes().get(done..).unwrap_or_default());
    edited
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn not_utf8() -> serde_json::Error {
    serde::de::Error::custom("it is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYRUS: &str = r#"{"username":"alice", "apiUrl":"/jmap/","downloadUrl":"/jmap/download/{accountId}/{blobId}/{name}?accept={type}",
        "uploadUrl":"/jmap/upload/{accountId}/","eventSourceUrl":"/jmap/eventsource/?types={types}","state":"0","capabilities":{"urn:x":{"a" : 1.50e3}}, "x\u0041":[ {"b":null} ]}"#;

    fn edits<'a>() -> Edits<'a> {
        Edits {
            public_origin: "https://mail.example",
            upstream_authorities: &["127.0.0.1:8080", "mail.example"],
            session_path: "/jmap",
            event_source: Some("/es?types={types}&closeafter={closeafter}&ping={ping}"),
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
            .replace("\"state\":\"0\"", "\"state\":\"0-p1\"");
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
        assert!(body.contains(r#""capabilities":{"urn:a":{},"urn:b":{"c":[1]}}"#), "{body}");
        let (body, _) = rewritten(session, &Edits { event_source: None, ..edits() });
        assert!(body.contains(r#"{"url":"wss://mail.example/ws","supportsPush":true}"#), "{body}");
        assert!(body.contains(r#""eventSourceUrl":"https://mail.example/e""#), "{body}");
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
