//! Cross-origin requests of browser clients (Fetch standard; hostile.md X16).
//!
//! Origins match exactly or not at all; nothing is reflected that the operator did not list. A
//! preflight carries no credentials and is answered without asking upstream, which would say 401.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::auth::browser::Page;
use crate::config::{Cors as Settings, CorsMode};
use crate::http::{Body, reply};

/// What a browser may send: the union of what JMAP clients use.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Accept, Last-Event-ID, Cache-Control, Range",
);
const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, Content-Disposition, ETag, Location, Retry-After, WWW-Authenticate",
);
/// Seconds; browsers cap it (Chromium at two hours).
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// CORS headers that upstream may have set.
const OF_UPSTREAM: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The operator's answer to cross-origin requests.
#[derive(Debug, Clone)]
pub struct Cors {
    settings: Settings,
}

impl Cors {
    /// By `[cors]`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The answer to a preflight; `None` when the request is none, or upstream's to answer. `ours`
    /// says that the path is one we serve ourselves.
    #[must_use]
    pub fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
        ours: bool,
    ) -> Option<Response<Body>> {
        let is_preflight = *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let answered = ours || self.settings.mode == CorsMode::Own;
        if !is_preflight || !answered {
            return None;
        }
        let mut response = reply::empty(StatusCode::NO_CONTENT);
        let answer = response.headers_mut();
        if self.allow(headers.get(ORIGIN), answer) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Some(response)
    }

    /// Whose page a request to one of our own paths is of: admitted are those of our own origin and the
    /// listed ones. Browsers send cached credentials from any page, and a stream that no page may read
    /// would still take a place. An image or a link has no `Origin`; of those browsers say by
    /// `Sec-Fetch-Site` (Fetch Metadata) that another site's page has them.
    #[must_use]
    pub fn page(&self, headers: &HeaderMap, our_own: impl FnOnce() -> String) -> Page {
        let is_others = |site: &HeaderValue| site == "cross-site" || site == "same-site";
        match headers.get(ORIGIN) {
            None if headers.get(SEC_FETCH_SITE).is_some_and(is_others) => Page::Foreign,
            None => Page::Unnamed,
            Some(origin) if self.lists(origin) => Page::Admitted,
            Some(origin) if origin.as_bytes() == our_own().as_bytes() => Page::Admitted,
            Some(_) => Page::Foreign,
        }
    }

    /// Adds to the response to a request from a page of `origin` what lets it read that, if the origin
    /// is listed. `ours` as for [`Self::preflight`].
    pub fn write(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap, ours: bool) {
        if self.settings.mode == CorsMode::Upstream && !ours {
            return;
        }
        for name in &OF_UPSTREAM {
            response.remove(name);
        }
        if self.allow(origin, response) {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }

    /// Names the origin if it is listed. `Vary` is due whenever the list could have mattered.
    fn allow(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) -> bool {
        if self.settings.origins.is_empty() {
            return false;
        }
        response.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return false };
        let listed = self.lists(origin);
        if listed {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let yes = HeaderValue::from_static("true");
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        listed
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.settings.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBMAIL: &str = "https://webmail.example";

    fn cors(mode: CorsMode) -> Cors {
        Cors::new(Settings { mode, origins: vec![WEBMAIL.to_owned()] })
    }

    fn asking(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (ORIGIN, HeaderValue::from_static(origin)),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET")),
        ])
    }

    #[test]
    fn a_listed_origin_is_answered_by_name_without_credentials() {
        let cors = cors(CorsMode::Own);
        let response = cors.preflight(&Method::OPTIONS, &asking(WEBMAIL), false).unwrap();
        let headers = response.headers();
        assert_eq!(response.status(), 204);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], WEBMAIL);
        for allowed in ["Authorization", "Last-Event-ID"] {
            let list = headers[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
            assert!(list.contains(allowed), "{list}");
        }
        assert_eq!(headers[VARY], "Origin");
    }

    #[test]
    fn origins_that_only_look_alike_get_nothing() {
        let cors = cors(CorsMode::Own);
        for origin in [
            "null",
            "https://evil-webmail.example",
            "https://webmail.example.evil",
            "http://webmail.example",
            "HTTPS://webmail.example",
        ] {
            let response = cors.preflight(&Method::OPTIONS, &asking(origin), false).unwrap();
            assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
            assert_eq!(response.headers()[VARY], "Origin");
        }
    }

    #[test]
    fn upstreams_own_answer_is_replaced_or_left_alone() {
        let upstreams =
            || HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))]);
        let mut response = upstreams();
        let other = HeaderValue::from_static("https://other.example");
        cors(CorsMode::Own).write(Some(&other), &mut response, false);
        assert!(!response.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let mut response = upstreams();
        let listed = HeaderValue::from_static(WEBMAIL);
        cors(CorsMode::Upstream).write(Some(&listed), &mut response, false);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(
            cors(CorsMode::Upstream).preflight(&Method::OPTIONS, &asking(WEBMAIL), false).is_none()
        );
        assert!(
            cors(CorsMode::Upstream).preflight(&Method::OPTIONS, &asking(WEBMAIL), true).is_some()
        );
    }

    #[test]
    fn an_ordinary_options_request_is_no_preflight() {
        let plain = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(WEBMAIL))]);
        assert!(cors(CorsMode::Own).preflight(&Method::OPTIONS, &plain, true).is_none());
    }
}
