//! How a change comes to be known (architecture D4, D8): from the answers that pass, by asking, and
//! by asking at once when an answer leaves doubts (A6). Every scenario ends with the ledger.

mod asking;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use jmap_push_proxy::config::AccountScope;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::http::exchange;
use crate::support::ledger::settle;
use crate::support::rig::{Rig, call, setting};
use crate::support::sse::EventStream;
use crate::support::upstream::{API, Fault, account_of};
use crate::support::wait::until;

/// Types of mail.
const MAIL: &str = "types=Email,Mailbox,Thread&closeafter=no&ping=0";

const SECOND: Duration = Duration::from_secs(1);

/// A stream of a user whose accounts are known.
async fn watch(rig: &Rig, user: &str, query: &str) -> EventStream {
    let probes = probes_of(rig, user);
    let stream = rig.events(user, query).await;
    until("baseline", || match probes_of(rig, user) {
        now if now > probes => Ok(()),
        now => Err(now),
    })
    .await;
    stream
}

/// Requests by which upstream was asked for states with a user's credentials.
fn probes_of(rig: &Rig, user: &str) -> usize {
    let is_probe = |body: &[u8]| body.windows(5).any(|part| part == b"/get\"");
    let seen = rig.upstream.seen().into_iter();
    seen.filter(|seen| {
        seen.path == API && seen.user.as_deref() == Some(user) && is_probe(&seen.body)
    })
    .count()
}

#[tokio::test]
async fn a_change_by_one_client_reaches_another() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let new = rig.change("alice", "Email").await;
    assert_eq!(stream.state().await.changed()[&account_of("alice")]["Email"], new);
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn what_another_user_changes_is_told_to_nobody_who_may_not_see_it() {
    let rig = Rig::start(|_| {}).await;
    let mut hers = watch(&rig, "alice", MAIL).await;
    let mut his = watch(&rig, "bob", MAIL).await;
    for _ in 0..3 {
        rig.change("alice", "Email").await;
        rig.change("bob", "Mailbox").await;
    }
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_shared_account_is_told_to_all_who_see_it() {
    let rig = Rig::start(|_| {}).await;
    let accounts = [account_of("bob"), account_of("alice")];
    rig.upstream.mail(|mail| mail.share("bob", &accounts[1]));
    let mut hers = watch(&rig, "alice", MAIL).await;
    let mut his = watch(&rig, "bob", MAIL).await;
    let new = rig.set("alice", &accounts[1], "Email").await;
    his.told(&accounts[1], "Email", &new).await;
    rig.set("bob", &accounts[1], "Mailbox").await;
    rig.set("bob", &accounts[0], "Mailbox").await;
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_mail_that_comes_is_found_by_asking() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    let query = "types=Email,EmailDelivery,Mailbox,Thread&closeafter=no&ping=0";
    let mut stream = watch(&rig, "alice", query).await;
    // Only once the states before it are known can a mail be told from what was there.
    let before = probes_of(&rig, "alice");
    until("further probe", || match probes_of(&rig, "alice") {
        now if now > before => Ok(()),
        now => Err(now),
    })
    .await;
    rig.upstream.deliver("alice");
    let email = rig.upstream.mail(|mail| mail.state(&account_of("alice"), "Email"));
    stream.told(&account_of("alice"), "EmailDelivery", &email).await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

/// A change whose answer never says what became of it.
async fn a_doubtful_answer_is_looked_into(fault: Fault) {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    rig.upstream.fail("Email/set", fault, 1);
    let account = account_of("alice");
    // The client may be given an error, or half of an answer; it is not what this is about.
    let _ = exchange(rig.address, call("alice", &setting(&account, "Email"))).await;
    let now = rig.upstream.mail(|mail| mail.state(&account, "Email"));
    assert_eq!(now, "2", "the change was made");
    settle(&rig.upstream, [&mut stream]).await;
    assert!(stream.log.states().next().is_some());
    rig.end().await;
}

/// We do not take a request in which a member is there twice (§1.5); upstream does.
#[tokio::test]
async fn a_call_that_only_upstream_can_read_is_looked_into() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    rig.upstream.fail("Email/set", Fault::Close, 1);
    let account = account_of("alice");
    let mut request = call("alice", &setting(&account, "Email"));
    let body = request.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let once = format!("\"accountId\":\"{account}\"");
    let text = std::str::from_utf8(&body).unwrap().replace(&once, &format!("{once},{once}"));
    *request.body_mut() = Full::from(text);
    let _ = exchange(rig.address, request).await;
    assert_eq!(rig.upstream.mail(|mail| mail.state(&account, "Email")), "2", "it was made");
    settle(&rig.upstream, [&mut stream]).await;
    assert!(stream.log.states().next().is_some());
    rig.end().await;
}

/// Whose request it was is asked, where it is not known.
#[tokio::test]
async fn a_call_without_an_answer_of_a_caller_not_known_yet_is_looked_into() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    rig.upstream.fail("Email/set", Fault::Close, 1);
    let account = account_of("alice");
    let mut request = call("alice", &setting(&account, "Email"));
    // By another name of ours, the same credential is another.
    let other = http::HeaderValue::from_static("other.example");
    request.headers_mut().insert(http::header::HOST, other);
    let _ = exchange(rig.address, request).await;
    settle(&rig.upstream, [&mut stream]).await;
    assert!(stream.log.states().next().is_some());
    rig.end().await;
}

/// A method whose response says nothing of states may have changed any.
#[tokio::test]
async fn a_call_of_a_method_that_tells_no_state_is_looked_into() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let account = account_of("alice");
    let new = rig.upstream.mail(|mail| mail.change(&account, "Mailbox"));
    let calls = json!([["Backup/restoreMail", { "accountId": account }, "0"]]);
    assert_eq!(rig.call("alice", &calls).await.status(), 200);
    stream.told(&account, "Mailbox", &new).await;
    rig.end().await;
}

#[tokio::test]
async fn a_call_that_failed_in_part_is_looked_into() {
    a_doubtful_answer_is_looked_into(Fault::PartialFail).await;
}

#[tokio::test]
async fn a_call_without_an_answer_is_looked_into() {
    a_doubtful_answer_is_looked_into(Fault::Close).await;
}

#[tokio::test]
async fn a_call_whose_answer_breaks_off_is_looked_into() {
    a_doubtful_answer_is_looked_into(Fault::Truncate).await;
}

#[tokio::test]
async fn a_call_answered_by_a_server_error_is_looked_into() {
    a_doubtful_answer_is_looked_into(Fault::Status(500)).await;
}

#[tokio::test]
async fn a_call_answered_in_an_unknown_encoding_is_looked_into() {
    a_doubtful_answer_is_looked_into(Fault::Encoding("br")).await;
}

#[tokio::test]
async fn a_type_that_crashes_upstream_keeps_nobody_from_being_told_of_the_others() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    rig.upstream.fail("VacationResponse/get", Fault::Close, u32::MAX);
    let all = "types=*&closeafter=no&ping=0";
    let mut hers = watch(&rig, "alice", all).await;
    let mut his = watch(&rig, "bob", all).await;
    for user in ["alice", "bob"] {
        rig.upstream.deliver(user);
        rig.upstream.mail(|mail| mail.change(&account_of(user), "Identity"));
    }
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_type_that_a_client_is_answered_for_is_probed_again() {
    let rig = Rig::start(|config| {
        (config.probe.interval, config.probe.quarantine) = (SECOND, 3600 * SECOND);
    })
    .await;
    rig.upstream.fail("VacationResponse/get", Fault::Close, u32::MAX);
    let mut stream = watch(&rig, "alice", "types=*&closeafter=no&ping=0").await;
    until("quarantine", || match rig.metrics.quarantined_types.get() {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    rig.upstream.heal();
    let account = account_of("alice");
    let read = json!([["VacationResponse/get", { "accountId": account }, "0"]]);
    assert_eq!(rig.call("alice", &read).await.status(), 200);
    let new = rig.upstream.mail(|mail| mail.change(&account, "VacationResponse"));
    stream.told(&account, "VacationResponse", &new).await;
    rig.end().await;
}

#[tokio::test]
async fn answers_that_overtake_each_other_turn_no_state_back() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Email/set", Fault::Hold(Arc::clone(&gate)), 1);
    let account = account_of("alice");
    let late = exchange(rig.address, call("alice", &setting(&account, "Email")));
    let early = async {
        rig.upstream.asked("Email/set", 1).await;
        let new = rig.change("alice", "Email").await;
        stream.told(&account, "Email", &new).await;
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(late, early);
    assert!(answer.is_ok());
    rig.change("alice", "Mailbox").await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_change_that_a_probe_overtakes_is_told_all_the_same() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = watch(&rig, "alice", MAIL).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Email/get", Fault::Hold(Arc::clone(&gate)), 1);
    // A doubt, so that upstream is asked; while its answer is on its way, a change.
    rig.upstream.fail("Thread/set", Fault::PartialFail, 1);
    let asked = probes_of(&rig, "alice");
    rig.call("alice", &setting(&account_of("alice"), "Thread")).await;
    until("probe", || match probes_of(&rig, "alice") {
        now if now > asked => Ok(()),
        now => Err(now),
    })
    .await;
    rig.change("alice", "Mailbox").await;
    rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Mailbox"));
    rig.change("alice", "Email").await;
    gate.add_permits(1);
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

/// Two users whose own accounts have the same id: neither may be told of the other's.
async fn ids_that_mean_something_else_to_each_user(scope: AccountScope) {
    let rig = Rig::start(|config| config.upstream.account_scope = scope).await;
    for user in ["alice", "bob"] {
        rig.upstream.mail(|mail| mail.rename(user, "own"));
    }
    // So that their states differ.
    for _ in 0..10 {
        rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Email"));
    }
    let mut hers = watch(&rig, "alice", MAIL).await;
    let mut his = watch(&rig, "bob", MAIL).await;
    for _ in 0..2 {
        let new = rig.set("alice", "own", "Email").await;
        hers.told("own", "Email", &new).await;
        let new = rig.set("bob", "own", "Email").await;
        his.told("own", "Email", &new).await;
    }
    let states = |stream: &EventStream| -> Vec<String> {
        stream.log.states().map(|(_, data_type, state)| format!("{data_type} {state}")).collect()
    };
    assert_eq!(states(&hers), ["Email 12", "Email 13"]);
    assert_eq!(states(&his), ["Email 2", "Email 3"]);
    rig.end().await;
}

#[tokio::test]
async fn ids_per_user_are_kept_apart_when_the_operator_says_so() {
    ids_that_mean_something_else_to_each_user(AccountScope::PerUser).await;
}

#[tokio::test]
async fn ids_per_user_are_kept_apart_when_nobody_says_so() {
    ids_that_mean_something_else_to_each_user(AccountScope::Global).await;
}

#[tokio::test]
async fn a_user_without_the_account_learns_nothing_by_naming_it() {
    let rig = Rig::start(|_| {}).await;
    let mut hers = watch(&rig, "alice", MAIL).await;
    // Upstream refuses, so that nothing changes and nothing is told.
    rig.call("bob", &setting(&account_of("alice"), "Email")).await;
    rig.change("alice", "Mailbox").await;
    assert_eq!(hers.state().await.types(), ["Mailbox"]);
    settle(&rig.upstream, [&mut hers]).await;
    rig.end().await;
}
