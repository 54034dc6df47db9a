//! The event source (RFC 8620 §7.3) from outside. What Apache James promises of its own
//! (`EventSourceContract`, 14 tests; `StateChangeListenerTest`, 3) is promised here under the same
//! names in snake case: `typesQueryParamIsCompulsory` is [`types_query_param_is_compulsory`], and so
//! on. The listener's are in [`state_change_listener`]: what it sends, what it omits, what it filters.
//! Where our defaults differ: docs/decisions/event-source-defaults.md.

use std::time::Duration;

use serde_json::Value;

use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::upstream::account_of;

mod accounts;
mod life;
mod resume;
mod wire;

/// Everything, at once, for ever.
const ALL: &str = "types=*&closeafter=no&ping=0";

/// Everything, and a ping after each second of silence: what comes before it is all there is.
const WITH_PING: &str = "types=*&closeafter=no&ping=1";

/// Asks for a stream that is to be refused for its parameters, and gives the reason.
async fn refused(query: &str) -> String {
    let rig = Rig::start(|_| {}).await;
    let response = rig.ask("GET", &format!("{EVENT_SOURCE}?{query}"), "alice").await;
    assert_eq!(response.status(), 400, "{response:?}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_slice(response.body()).unwrap();
    rig.end().await;
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn types_query_param_is_compulsory() {
    assert!(refused("ping=0&closeafter=no").await.contains("\"types\" is missing"));
}

#[tokio::test]
async fn ping_query_param_is_compulsory() {
    assert!(refused("types=*&closeafter=no").await.contains("\"ping\" is missing"));
}

#[tokio::test]
async fn close_after_query_param_is_compulsory() {
    assert!(refused("types=*&ping=0").await.contains("\"closeafter\" is missing"));
}

#[tokio::test]
async fn should_reject_invalid_close_after() {
    assert!(refused("types=*&ping=0&closeafter=bad").await.contains("\"closeafter\" must be"));
}

#[tokio::test]
async fn should_reject_invalid_ping() {
    assert!(refused("types=*&ping=bad&closeafter=no").await.contains("\"ping\" must be"));
}

#[tokio::test]
async fn should_reject_invalid_types() {
    assert!(refused("types=bad&ping=0&closeafter=no").await.contains("data type \"bad\""));
}

#[tokio::test]
async fn should_reject_unauthenticated() {
    let rig = Rig::start(|_| {}).await;
    let response = rig.ask("GET", &format!("{EVENT_SOURCE}?{ALL}"), "nobody").await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"mail\"");
    rig.end().await;
}

#[tokio::test]
async fn no_sse_event_should_be_sent_by_default() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", WITH_PING).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    rig.end().await;
}

#[tokio::test]
async fn sse_events_should_be_filtered_by_types() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", "types=Mailbox&closeafter=no&ping=0").await;
    rig.change("alice", "Email").await;
    rig.change("alice", "Mailbox").await;
    assert_eq!(stream.state().await.types(), ["Mailbox"]);
    rig.end().await;
}

#[tokio::test]
async fn all_types_should_be_supported() {
    const TYPES: &str =
        "Mailbox,Email,VacationResponse,Thread,Identity,EmailSubmission,EmailDelivery";
    let rig = Rig::start(|config| config.probe.interval = Duration::from_secs(1)).await;
    let account = account_of("alice");
    for types in [TYPES.to_owned(), TYPES.replace(',', "%2C")] {
        let query = format!("types={types}&closeafter=no&ping=0");
        let mut stream = rig.events("alice", &query).await;
        for data_type in TYPES.split(',').filter(|name| *name != "EmailDelivery") {
            let new = rig.change("alice", data_type).await;
            stream.told(&account, data_type, &new).await;
        }
        rig.upstream.deliver("alice");
        let email = rig.upstream.mail(|mail| mail.state(&account, "Email"));
        stream.told(&account, "EmailDelivery", &email).await;
    }
    rig.end().await;
}

/// P15.
#[tokio::test]
async fn ping_should_be_supported() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", WITH_PING).await;
    for _ in 0..2 {
        let ping = stream.next().await.unwrap();
        assert_eq!(ping.raw, "event: ping\ndata: {\"interval\":1}\n\n");
    }
    rig.end().await;
}

#[tokio::test]
async fn sse_should_transport_event() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    let new = rig.change("alice", "Mailbox").await;
    let changed = stream.state().await.changed();
    assert_eq!(changed[&account_of("alice")]["Mailbox"], new);
    rig.end().await;
}

#[tokio::test]
async fn sse_should_close_after_event_when_close_after_state() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", "types=*&closeafter=state&ping=0").await;
    rig.change("alice", "Mailbox").await;
    assert_eq!(stream.state().await.types(), ["Mailbox"]);
    assert!(stream.next().await.is_none(), "nothing but the end");
    rig.end().await;
}

#[tokio::test]
async fn sse_should_transport_events() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    for _ in 0..3 {
        let new = rig.change("alice", "Email").await;
        assert_eq!(stream.state().await.changed()[&account_of("alice")]["Email"], new);
    }
    rig.end().await;
}

mod state_change_listener {
    use super::*;

    #[tokio::test]
    async fn should_send_what_it_hears() {
        let rig = Rig::start(|_| {}).await;
        let types = "types=Mailbox,Email&closeafter=no&ping=0";
        let mut stream = rig.events("alice", types).await;
        let (mailbox, email) =
            (rig.change("alice", "Mailbox").await, rig.change("alice", "Email").await);
        let account = account_of("alice");
        stream.told(&account, "Mailbox", &mailbox).await;
        stream.told(&account, "Email", &email).await;
        rig.end().await;
    }

    #[tokio::test]
    async fn should_omit_unwanted_types() {
        let rig = Rig::start(|_| {}).await;
        let mut stream = rig.events("alice", "types=Mailbox&closeafter=no&ping=0").await;
        let account = account_of("alice");
        // One change of three types, as when a mail comes.
        let calls = ["Email", "Thread", "Mailbox"].map(|name| {
            serde_json::json!([format!("{name}/set"), { "accountId": account, "update": {} }, name])
        });
        rig.call("alice", &calls.into_iter().collect()).await;
        assert_eq!(stream.state().await.types(), ["Mailbox"]);
        rig.end().await;
    }

    #[tokio::test]
    async fn should_filter_events_without_wanted_types() {
        let rig = Rig::start(|_| {}).await;
        let mut stream = rig.events("alice", "types=Mailbox&closeafter=no&ping=1").await;
        rig.change("alice", "Email").await;
        assert_eq!(stream.next().await.unwrap().name, "ping");
        rig.end().await;
    }
}
