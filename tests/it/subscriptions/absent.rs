//! What a device is told whose owner is away (docs/push.md): exact states where a service may be asked, states
//! made up where nobody may.

use jmap_push_proxy::config::{Config, HeaderTemplate};
use serde_json::json;

use super::Premises;
use crate::support::http::exchange;
use crate::support::rig::{Rig, call};
use crate::support::scratch::scratch;
use crate::support::upstream::{SESSION, account_of};
use crate::support::wait::until;

/// A device of alice's, and a proxy that was restarted since: she has not come back. Something changed in
/// the meantime; gives the state.
async fn away(premises: &mut Premises) -> String {
    premises.verified("alice", "phone", json!(["Email", "Mailbox"])).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    let missed = premises.rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Email"));
    premises.rig.restart().await;
    missed
}

/// The accounts told of by states made up, once they are so many: they are counted every few seconds.
async fn presumed(rig: &Rig, accounts: i64) {
    until("presumed accounts", || match rig.metrics.presumed_accounts.get() {
        now if now == accounts => Ok(()),
        other => Err(other),
    })
    .await;
}

/// What changes behind the proxy, and is told of by a notification.
fn change(premises: &Premises, data_type: &str) -> String {
    let account = account_of("alice");
    let state = premises.rig.upstream.mail(|mail| mail.change(&account, data_type));
    premises.rig.notify(&json!({ "accountId": account, "types": [data_type] }));
    state
}

#[tokio::test]
async fn a_service_that_may_ask_for_everyone_has_a_device_told_exact_states() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config: &mut Config| {
        config.push.store = Some(store);
        let service = HeaderTemplate::parse("Authorization: Bearer {username};service");
        config.probe.headers.extend(service);
    })
    .await;
    let missed = away(&mut premises).await;
    let account = account_of("alice");
    premises.service.told("phone", &account, "Email", &missed).await;
    let state = change(&premises, "Mailbox");
    premises.service.told("phone", &account, "Mailbox", &state).await;
    // None of them is made up, and none was.
    let told = premises.service.messages("phone").split_off(1);
    let mut states = told.iter().flat_map(|message| message.changed().into_values());
    let is_exact = |state: &String| state.parse::<u64>().is_ok();
    assert!(states.all(|types| types.values().all(is_exact)), "{told:?}");
    assert_eq!(premises.rig.metrics.presumed_accounts.get(), 0);
    // The subscription is there for whoever made it, and the owner was not needed.
    assert_eq!(premises.list("alice").await.len(), 1);
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn accounts_told_of_by_states_made_up_are_counted_until_their_owner_is_back() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| config.push.store = Some(store)).await;
    away(&mut premises).await;
    change(&premises, "Mailbox");
    presumed(&premises.rig, 1).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    presumed(&premises.rig, 0).await;
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// Any request brings them back, as of a client that goes on with the Session it has.
#[tokio::test]
async fn an_owner_who_only_reads_is_back_as_well() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| config.push.store = Some(store)).await;
    let missed = away(&mut premises).await;
    let made_up = premises.service.message("phone", 2).await.changed();
    assert!(made_up[&account_of("alice")]["Email"].starts_with("presumed-"), "{made_up:?}");
    premises.rig.call("alice", &json!([["Core/echo", {}, "0"]])).await;
    premises.service.told("phone", &account_of("alice"), "Email", &missed).await;
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// Cookies may be others with each request: what upstream answers to one is of no use with the next.
#[tokio::test]
async fn who_reads_with_a_cookie_more_each_time_is_not_asked_about_each_time() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| config.push.store = Some(store)).await;
    let missed = away(&mut premises).await;
    let sessions = || {
        let seen = premises.rig.upstream.seen();
        seen.iter().filter(|seen| seen.path == SESSION).count()
    };
    let before = sessions();
    let calls = json!([["Core/echo", {}, "0"]]);
    for n in 0..20 {
        let mut request = call("alice", &calls);
        request.headers_mut().insert("cookie", format!("visit={n}").parse().unwrap());
        assert_eq!(exchange(premises.rig.address, request).await.unwrap().status(), 200);
    }
    // Whoever comes without is asked about, after all of them.
    premises.rig.call("alice", &calls).await;
    premises.service.told("phone", &account_of("alice"), "Email", &missed).await;
    assert_eq!(sessions() - before, 1);
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}
