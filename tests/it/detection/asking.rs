//! How often upstream is asked, and as whom (architecture D8).

use std::time::Duration;

use http::header::AUTHORIZATION;
use jmap_push_proxy::config::HeaderTemplate;
use jmap_push_proxy::telemetry::health::Part;
use serde_json::json;
use tokio::time::Instant;

use super::{MAIL, SECOND, probes_of, watch};
use crate::support::rig::Rig;
use crate::support::sse::EventStream;
use crate::support::upstream::{API, account_of};
use crate::support::wait::until;

const ENOUGH: u32 = 32;

fn at_interval(rig: &Rig, interval: &'static str) -> i64 {
    rig.metrics.probe_accounts.get_or_create(&[("interval", interval)]).get()
}

async fn asked_at_interval(rig: &Rig, interval: &'static str, accounts: i64) {
    until(interval, || match at_interval(rig, interval) {
        now if now == accounts => Ok(()),
        other => Err(other),
    })
    .await;
}

/// A change of which a notice tells, up to its arrival.
async fn tell(rig: &Rig, stream: &mut EventStream, account: &str) {
    let new = rig.upstream.mail(|mail| mail.change(account, "Email"));
    rig.notify(&json!({ "accountId": account, "types": ["Email"] }));
    stream.told(account, "Email", &new).await;
}

fn asked_for(rig: &Rig, reason: &'static str) -> u64 {
    rig.metrics.probe_reasons.get_or_create(&[("reason", reason)]).get()
}

#[tokio::test]
async fn an_account_is_asked_about_more_often_after_a_change_that_nobody_told() {
    let rig = Rig::start(|config| {
        config.probe.interval = 4 * SECOND;
        config.probe.interval_min = Duration::from_millis(100);
    })
    .await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    let new = rig.upstream.mail(|mail| mail.change(&account, "Email"));
    stream.told(&account, "Email", &new).await;
    let (found, before) = (Instant::now(), probes_of(&rig, "alice"));
    asked_at_interval(&rig, "min", 1).await;
    until("quick probes", || match probes_of(&rig, "alice") - before {
        3.. => Ok(()),
        asked => Err(asked),
    })
    .await;
    assert!(found.elapsed() < 3 * SECOND, "one usual interval would be longer");
    asked_at_interval(&rig, "usual", 1).await;
    rig.end().await;
}

#[tokio::test]
async fn accounts_of_which_others_tell_are_asked_about_less_often_until_one_may_have_been_silent() {
    let rig = Rig::start(|config| config.probe.interval_told = 7200 * SECOND).await;
    let accounts: Vec<String> = (0..ENOUGH).map(|n| format!("shared-{n}")).collect();
    rig.upstream.mail(|mail| accounts.iter().for_each(|id| mail.share("alice", id)));
    let mut stream = watch(&rig, "alice", MAIL).await;
    let all = i64::from(ENOUGH) + 1;
    asked_at_interval(&rig, "usual", all).await;
    // A second change of the same account within the usual interval does not count.
    for account in accounts.iter().skip(1).chain(accounts.get(1)) {
        tell(&rig, &mut stream, account).await;
    }
    assert_eq!(at_interval(&rig, "told"), 0);
    tell(&rig, &mut stream, &accounts[0]).await;
    asked_at_interval(&rig, "told", all).await;
    let mut times = String::new();
    prometheus_client::encoding::text::encode(&mut times, &rig.metrics.registry()).unwrap();
    let notices = "change_to_push_seconds_count{source=\"notice\"} 33\n";
    assert!(times.contains(notices), "{times}");
    rig.gap();
    asked_at_interval(&rig, "usual", all).await;
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_polls_takes_the_place_of_probes() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    let get =
        |name: &str| json!([format!("{name}/get"), { "accountId": account, "ids": [] }, name]);
    let poll = json!([get("Email"), get("Mailbox"), get("Thread")]);
    rig.call("alice", &poll).await;
    let (began, before) = (Instant::now(), asked_for(&rig, "interval"));
    while began.elapsed() < 3 * SECOND {
        rig.call("alice", &poll).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One may have been on its way when the first poll came.
    assert!(asked_for(&rig, "interval") <= before + 1);
    assert!(rig.metrics.probes_spared.get() > 0);
    let new = rig.upstream.mail(|mail| mail.change(&account, "Email"));
    rig.call("alice", &poll).await;
    stream.told(&account, "Email", &new).await;
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_polls_a_part_takes_the_place_of_none() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    let _stream = watch(&rig, "alice", MAIL).await;
    let part = json!([["Email/get", { "accountId": account_of("alice"), "ids": [] }, "0"]]);
    let before = asked_for(&rig, "interval");
    while asked_for(&rig, "interval") < before + 2 {
        rig.call("alice", &part).await;
    }
    assert_eq!(rig.metrics.probes_spared.get(), 0);
    rig.end().await;
}

#[tokio::test]
async fn who_connects_and_disconnects_in_a_loop_has_upstream_asked_now_and_then() {
    let rig = Rig::start(|_| {}).await;
    let began = Instant::now();
    for round in 0..40 {
        let stream = rig.events("alice", MAIL).await;
        drop(stream);
        until("end of the stream", || match rig.metrics.streams.get() {
            0 => Ok(()),
            live => Err((round, live)),
        })
        .await;
    }
    // Five at once, and then one each two seconds.
    let most = 6 + began.elapsed().as_secs() / 2;
    assert!(rig.metrics.probes.get() <= most, "{} > {most}", rig.metrics.probes.get());
    rig.end().await;
}

/// The header with which this user's probes came.
fn sent_as(rig: &Rig, authorization: &str) -> usize {
    let seen = rig.upstream.seen().into_iter().filter(|seen| seen.path == API);
    seen.filter(|seen| seen.headers[AUTHORIZATION] == *authorization).count()
}

#[tokio::test]
async fn the_services_own_credential_takes_the_place_of_the_subscribers() {
    let rig = Rig::start(|config| {
        let headers = ["Authorization: Bearer {username}", "Authorize-As: {username}"];
        config.probe.headers = headers.iter().filter_map(|h| HeaderTemplate::parse(h)).collect();
    })
    .await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    let new = rig.upstream.mail(|mail| mail.change(&account, "Email"));
    rig.notify(&json!({ "accountId": account, "types": ["Email"] }));
    stream.told(&account, "Email", &new).await;
    let probe = rig.upstream.last(API);
    assert_eq!(probe.headers["authorize-as"], "alice");
    assert_eq!(probe.headers.get_all(AUTHORIZATION).iter().count(), 1);
    rig.change("alice", "Email").await;
    let seen = rig.upstream.seen();
    let clients = seen.iter().rfind(|seen| String::from_utf8_lossy(&seen.body).contains("/set"));
    assert!(!clients.unwrap().headers.contains_key("authorize-as"));
    assert!(rig.troubles().is_empty());
    rig.end().await;
}

/// Its `sessionState` is that of the service's own Session.
#[tokio::test]
async fn an_answer_to_the_service_says_nothing_of_the_users_session() {
    let rig = Rig::start(|config| {
        config.probe.headers.extend(HeaderTemplate::parse("Authorization: Bearer bob"));
    })
    .await;
    let account = account_of("alice");
    rig.upstream.mail(|mail| mail.share("bob", &account));
    let mut stream = rig.events("alice", MAIL).await;
    until("baseline", || match probes_of(&rig, "bob") {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    for _ in 0..10 {
        tell(&rig, &mut stream, &account).await;
    }
    assert_eq!(probes_of(&rig, "alice"), 0);
    assert_eq!(rig.upstream.sessions_of("alice"), 1);
    rig.end().await;
}

#[tokio::test]
async fn a_refused_service_credential_ends_no_stream_and_is_counted() {
    let rig = Rig::start(|config| {
        config.probe.headers.extend(HeaderTemplate::parse("Authorization: Bearer not-{username}"));
    })
    .await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    for _ in 0..3 {
        tell(&rig, &mut stream, &account).await;
    }
    assert_eq!(sent_as(&rig, "Bearer not-alice"), 1, "not tried again for a while");
    let requests = rig.upstream.seen().iter().filter(|seen| seen.path == API).count();
    assert_eq!(rig.metrics.probes.get(), requests as u64);
    rig.end().await;
}

#[tokio::test]
async fn a_service_credential_refused_for_one_user_serves_the_others() {
    let rig = Rig::start(|config| {
        let headers = ["Authorization: Bearer bob", "Authorize-As: {username}"];
        config.probe.headers = headers.iter().filter_map(|h| HeaderTemplate::parse(h)).collect();
    })
    .await;
    let _alice = watch(&rig, "alice", MAIL).await;
    let mut bob = watch(&rig, "bob", MAIL).await;
    tell(&rig, &mut bob, &account_of("bob")).await;
    assert_eq!(rig.upstream.last(API).headers["authorize-as"], "bob");
    assert!(rig.troubles().is_empty(), "{:?}", rig.troubles());
    rig.end().await;
}

#[tokio::test]
async fn a_service_credential_refused_for_several_users_is_told() {
    let rig = Rig::start(|config| {
        config.probe.headers.extend(HeaderTemplate::parse("Authorization: Bearer not-{username}"));
    })
    .await;
    rig.upstream.mail(|mail| mail.share("carol", &account_of("carol")));
    let _alice = watch(&rig, "alice", MAIL).await;
    let _bob = watch(&rig, "bob", MAIL).await;
    assert!(rig.troubles().is_empty(), "{:?}", rig.troubles());
    let _carol = watch(&rig, "carol", MAIL).await;
    until("trouble", || match rig.troubles().get(&Part::Probe) {
        Some(trouble) if trouble.reason.contains("probe.headers") => Ok(()),
        other => Err(other.is_some()),
    })
    .await;
    rig.end().await;
}

/// RFC 7617 §2: what stands before the first colon is the user-id.
#[tokio::test]
async fn a_user_with_a_colon_in_the_name_is_asked_for_with_no_basic_credentials() {
    let rig = Rig::start(|config| {
        let header = "Authorization: Basic {base64:{username}%master:password}";
        config.probe.headers.extend(HeaderTemplate::parse(header));
    })
    .await;
    rig.upstream.mail(|mail| mail.share("alice:x", "team"));
    let mut stream = watch(&rig, "alice:x", MAIL).await;
    tell(&rig, &mut stream, "team").await;
    let seen = rig.upstream.seen();
    let is_basic = |value: &[u8]| value.starts_with(b"Basic ");
    assert!(!seen.iter().any(|seen| is_basic(seen.headers[AUTHORIZATION].as_bytes())));
    rig.end().await;
}

/// A service whose name for the user upstream does not heed sees its own accounts and not the user's.
#[tokio::test]
async fn a_service_credential_that_sees_not_what_the_user_sees_is_not_believed() {
    let rig = Rig::start(|config| {
        config.probe.headers.extend(HeaderTemplate::parse("Authorization: Bearer bob"));
    })
    .await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    let new = rig.upstream.mail(|mail| mail.change(&account, "Email"));
    rig.notify(&json!({ "accountId": account, "types": ["Email"] }));
    stream.told(&account, "Email", &new).await;
    rig.end().await;
}
