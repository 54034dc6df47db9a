//! Whose the type is (`push.mode`; protocol.md §5.1.7, §5.4.6), and whose VAPID capability clients see
//! (RFC 9749 §3).

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use jmap_push_proxy::config::{Config, PushMode};
use serde_json::{Value, json};

use super::{Premises, VAPID};
use crate::support::http::{asking, exchange};
use crate::support::upstream::{API, Canned, Fault, Frames, Upstream, calls};

/// A proxy before an upstream that advertises a key of its own; and what that says.
async fn before_vapid(mode: PushMode) -> (Premises, Value) {
    let capability = json!({ "applicationServerKey": "theirs", "vendor:x": [1] });
    let upstream = Upstream::start().await;
    upstream.mail(|mail| mail.push.vapid = Some(capability.clone()));
    let tweak = |config: &mut Config| {
        config.push.mode = mode;
        // The same after a restart: else `state` would be another for that.
        config.downstream.public_url = Some("https://mail.example".parse().unwrap());
    };
    (Premises::before(upstream, tweak).await, capability)
}

/// Its calls are upstream's to answer.
async fn is_upstreams(premises: &Premises) {
    let (name, response) = premises.call("alice", "set", json!({ "create": {} })).await;
    assert_eq!((&*name, &response["type"]), ("error", &json!("unknownMethod")), "{response}");
    assert_eq!(premises.rig.upstream.times_asked("PushSubscription/set"), 1);
}

/// What of a batch came to upstream: `using` and the methods' names.
async fn forwarded(premises: &Premises, using: &Value, methods: &Value) -> (Value, Vec<String>) {
    let mut request = asking("POST", API, "alice");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({ "using": using, "methodCalls": methods }).to_string();
    *request.body_mut() = Full::from(body);
    let response = exchange(premises.rig.address, request).await.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    let came = premises.rig.upstream.last(API).body;
    let request: Value = serde_json::from_slice(&came).unwrap();
    let names = calls(&came).unwrap().into_iter().map(|call| call.0).collect();
    (request["using"].clone(), names)
}

/// A Session of upstream's that has the capability says so, whatever the method would answer.
#[tokio::test]
async fn an_upstream_that_advertises_vapid_owns_the_type_and_its_capability_is_untouched() {
    let (premises, capability) = before_vapid(PushMode::Auto).await;
    assert_eq!(premises.session("alice").await["capabilities"][VAPID], capability);
    is_upstreams(&premises).await;
    premises.rig.end().await;
}

#[tokio::test]
async fn mode_upstream_leaves_the_type_and_the_capability_to_upstream() {
    let (premises, capability) = before_vapid(PushMode::Upstream).await;
    assert_eq!(premises.session("alice").await["capabilities"][VAPID], capability);
    is_upstreams(&premises).await;
    premises.rig.end().await;
}

/// S4: the Session of "upstream" is another than that of "off".
#[tokio::test]
async fn mode_off_leaves_the_type_to_upstream_and_offers_no_vapid() {
    let (mut premises, _) = before_vapid(PushMode::Off).await;
    let session = premises.session("alice").await;
    assert!(session["capabilities"].get(VAPID).is_none(), "{session}");
    is_upstreams(&premises).await;
    premises.rig.config.push.mode = PushMode::Upstream;
    premises.rig.restart().await;
    assert_ne!(premises.session("alice").await["state"], session["state"], "S4");
    premises.rig.end().await;
}

#[tokio::test]
async fn mode_own_replaces_upstreams_capability() {
    let (premises, theirs) = before_vapid(PushMode::Own).await;
    let capability = premises.session("alice").await["capabilities"][VAPID].take();
    assert_ne!(capability["applicationServerKey"], theirs["applicationServerKey"]);
    assert_eq!(capability.as_object().unwrap().len(), 1, "{capability}");
    premises.verified("alice", "phone", Value::Null).await;
    premises.rig.end().await;
}

/// A5: else upstream would answer `unknownCapability`. What it has itself it is asked for.
#[tokio::test]
async fn upstream_is_not_asked_for_a_capability_that_is_ours() {
    const CORE: &str = "urn:ietf:params:jmap:core";
    let using = json!([CORE, VAPID]);
    let echo = json!(["Core/echo", {}, "a"]);
    let get = json!(["PushSubscription/get", { "ids": [] }, "b"]);
    let premises = Premises::new().await;
    for methods in [json!([echo]), json!([echo, get]), json!([get, echo])] {
        let expected = (json!([CORE]), vec!["Core/echo".to_owned()]);
        assert_eq!(forwarded(&premises, &using, &methods).await, expected, "{methods}");
    }
    premises.rig.end().await;

    let (premises, _) = before_vapid(PushMode::Upstream).await;
    let both = vec!["Core/echo".to_owned(), "PushSubscription/get".to_owned()];
    assert_eq!(forwarded(&premises, &using, &json!([echo, get])).await, (using.clone(), both));
    premises.rig.end().await;
}

/// `push.mode = "auto"` (protocol.md §5.4.6).
#[tokio::test]
async fn an_upstream_without_the_type_is_noticed_and_one_with_it_left_alone() {
    let premises = Premises::with(|config| config.push.mode = PushMode::Auto).await;
    assert!(premises.advertised().await.is_string());
    premises.verified("alice", "phone", Value::Null).await;
    premises.rig.end().await;

    let premises = Premises::with(|config| config.push.mode = PushMode::Auto).await;
    let own = Canned {
        status: 200,
        headers: vec![("content-type", "application/json")],
        body: Frames::of(
            r#"{"methodResponses":[["PushSubscription/get",{"list":[],"notFound":[]},"0"]],"sessionState":"s"}"#,
        ),
        early: false,
    };
    premises.rig.upstream.answer(API, own);
    assert!(premises.advertised().await.is_null());
    let (name, response) = premises.call("alice", "set", json!({ "create": {} })).await;
    assert_eq!(name, "PushSubscription/get", "upstream's own words: {response}");
}

/// `unknownMethod` would be taken for good.
#[tokio::test]
async fn while_nobody_can_say_whose_the_type_is_its_calls_are_to_be_tried_again() {
    let premises = Premises::with(|config| config.push.mode = PushMode::Auto).await;
    premises.rig.upstream.fail("PushSubscription/get", Fault::Status(503), u32::MAX);
    assert!(premises.advertised().await.is_null());
    let (name, error) = premises.call("alice", "get", json!({ "ids": null })).await;
    assert_eq!((&*name, &error["type"]), ("error", &json!("serverUnavailable")), "{error}");
    let calls = premises
        .rig
        .call("alice", &json!([["Core/echo", {}, "a"], ["PushSubscription/get", {}, "b"]]))
        .await;
    let response: Value = serde_json::from_slice(calls.body()).unwrap();
    assert_eq!(response["methodResponses"][0][0], "Core/echo");
    premises.rig.end().await;
}
