//! Whose a subscription is, and when that ends it (§7.2, P5; protocol.md §5.3.4).

use std::time::Duration;

use jmap_push_proxy::config::{Config, PushBind};
use serde_json::{Value, json};

use super::Premises;
use crate::support::upstream::account_of;

/// Another token of alice's.
const TABLET: &str = "alice;tablet";

#[tokio::test]
async fn nobody_sees_changes_or_ends_anothers() {
    let premises = Premises::new().await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    for other in ["bob", TABLET] {
        assert!(premises.list(other).await.is_empty(), "{other}");
        let response = premises.set(other, json!({ "destroy": [id] })).await;
        assert_eq!(response["notDestroyed"][&id]["type"], "notFound");
        let update = json!({ "update": { id.clone(): { "types": [] } } });
        let response = premises.set(other, update).await;
        assert_eq!(response["notUpdated"][&id]["type"], "notFound");
    }
    assert_eq!(premises.list("alice").await.len(), 1);
}

#[tokio::test]
async fn bound_to_the_user_it_is_there_whatever_they_sign_in_with() {
    let premises = Premises::with(|config| config.push.bind = PushBind::User).await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    assert_eq!(premises.list(TABLET).await[0]["id"], id.as_str());
    assert!(premises.list("bob").await.is_empty());
}

/// What it was bound to before the operator changed `push.bind` is no matter for a new one.
#[tokio::test]
async fn a_new_one_is_bound_as_the_settings_say_now() {
    let folder = crate::support::scratch::scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| {
        config.push.bind = PushBind::User;
        config.push.store = Some(store);
    })
    .await;
    premises.verified("alice", "phone", Value::Null).await;
    premises.rig.config.push.bind = PushBind::Credential;
    premises.rig.restart().await;
    let made = premises.subscribe("alice", "laptop", Value::Null).await;
    let seen = premises.list(TABLET).await;
    assert!(seen.iter().all(|it| it["id"] != made.as_str()), "{seen:?}");
    assert_eq!(premises.list("alice").await.len(), 2);
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// "MUST be destroyed" when the credential is revoked.
#[tokio::test]
async fn it_ends_with_its_credential() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", Value::Null).await;
    premises.verified("bob", "other", json!(["Email"])).await;
    premises.rig.upstream.mail(|mail| mail.refuse("alice"));
    // Whatever asks as her finds out: here a request of hers.
    premises.rig.change("bob", "Email").await;
    let _ = premises.rig.call("alice", &json!([["Core/echo", {}, "0"]])).await;
    let ended = || {
        let count = &premises.rig.metrics.subscriptions_ended;
        count.get_or_create(&[("why", "credential_refused")]).get()
    };
    crate::support::wait::until("end", || if ended() == 1 { Ok(()) } else { Err(ended()) }).await;
    assert_eq!(premises.list("bob").await.len(), 1);
}

#[tokio::test]
async fn one_whose_credential_is_not_kept_is_told_by_states_made_up() {
    let premises = Premises::with(|config| config.push.keep_credentials = false).await;
    premises.verified("alice", "phone", json!(["Mailbox"])).await;
    let account = account_of("alice");
    let before = premises.service.messages("phone").len();
    premises.rig.upstream.mail(|mail| mail.change(&account, "Mailbox"));
    premises.rig.notify(&json!({ "accountId": account, "types": ["Mailbox"] }));
    crate::support::wait::until("hint", || {
        let told = premises.service.messages("phone");
        let made_up = told.iter().skip(before).any(|message| {
            message.json()["changed"][&account]["Mailbox"]
                .as_str()
                .is_some_and(|state| state.starts_with("presumed-"))
        });
        if made_up { Ok(()) } else { Err(told) }
    })
    .await;
    // What passes through is exact all the same.
    let state = premises.rig.change("alice", "Mailbox").await;
    premises.service.told("phone", &account, "Mailbox", &state).await;
}

/// P1, D9: all accounts its owner sees; a share that is withdrawn is told no longer.
#[tokio::test]
async fn it_is_told_of_the_accounts_its_owner_sees_and_of_no_other() {
    let often = |config: &mut Config| config.auth.revalidate = Duration::from_secs(1);
    let premises = Premises::with(often).await;
    let lent = account_of("bob");
    premises.rig.upstream.mail(|mail| mail.share("alice", &lent));
    let id = premises.verified("alice", "phone", json!(["Email"])).await;
    let state = premises.rig.change("bob", "Email").await;
    premises.service.told("phone", &lent, "Email", &state).await;
    premises.rig.upstream.mail(|mail| mail.withdraw("alice", &lent));
    premises.rig.upstream.revalidated("alice").await;
    let sent = premises.service.messages("phone").len();
    // A new look at the subscription is not to bring back what its owner saw when it was made.
    let expires = json!({ "expires": "2099-01-01T00:00:00Z" });
    premises.set("alice", json!({ "update": { id: expires } })).await;
    premises.rig.change("bob", "Email").await;
    let own = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &own).await;
    let later = premises.service.messages("phone");
    assert!(
        later.iter().skip(sent).all(|message| !message.changed().contains_key(&lent)),
        "{later:?}"
    );
}
