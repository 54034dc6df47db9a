//! Owners whose tokens change (§7.2, P5; protocol.md §5.3.4): who is the same owner, what serves their
//! subscription, and which refusal ends it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use jmap_push_proxy::clock;
use jmap_push_proxy::config::PushBind;
use serde_json::{Value, json};

use super::Premises;
use crate::support::upstream::account_of;
use crate::support::wait::{until, within};

const HOUR: Duration = Duration::from_secs(3600);

/// Nearly over: a token of that counts as one that has run out.
const SOON: Duration = Duration::from_secs(30);

/// A JWT of alice's with these claims besides, good for so long; no two are the same.
fn token(grant: &Value, left: Duration) -> String {
    let exp = (clock::wall() + left).as_secs();
    let mut claims = json!({ "iss": "https://sso.example", "sub": "alice", "exp": exp });
    claims["jti"] = json!(format!("{:016x}", rand::random::<u64>()));
    claims.as_object_mut().unwrap().extend(grant.as_object().unwrap().clone());
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Of one session of an authorization server.
fn session_token(left: Duration) -> String {
    token(&json!({ "sid": "s1" }), left)
}

impl Premises {
    /// From now on upstream takes this credential no longer, and we find out.
    async fn refuse(&self, token: &str) {
        self.rig.upstream.mail(|mail| mail.refuse_token(token));
        let response = self.rig.call(token, &json!([["Core/echo", {}, "0"]])).await;
        assert_eq!(response.status(), 401);
    }

    /// Waits until upstream is asked with this credential what has changed; the phone is told.
    async fn is_served_by(&self, token: &str) {
        let (account, bearer) = (account_of("alice"), format!("Bearer {token}"));
        let before = self.rig.upstream.seen().len();
        let asks = || {
            self.rig.upstream.seen().split_off(before).iter().any(|seen| {
                let body = String::from_utf8_lossy(&seen.body).into_owned();
                seen.headers[AUTHORIZATION] == *bearer && body.contains("Email/get")
            })
        };
        let mut state = String::new();
        let asking = async {
            while !asks() {
                state = self.rig.upstream.mail(|mail| mail.change(&account, "Email"));
                self.rig.notify(&json!({ "accountId": account, "types": ["Email"] }));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within("a question with the token", asking).await;
        self.service.told("phone", &account, "Email", &state).await;
    }

    /// Waits until its owner is absent.
    async fn is_absent(&self) {
        let absent = || {
            let gauge = &self.rig.metrics.subscriptions;
            gauge.get_or_create(&[("state", "absent")]).get()
        };
        until("absent", || if absent() == 1 { Ok(()) } else { Err(absent()) }).await;
        assert_eq!(self.ended_by_refusal(), 0);
    }

    fn ended_by_refusal(&self) -> u64 {
        let ended = &self.rig.metrics.subscriptions_ended;
        ended.get_or_create(&[("why", "credential_refused")]).get()
    }
}

/// P5: "OAuth → bind to" what the token came from.
#[tokio::test]
async fn a_refreshed_token_is_the_same_owner_and_that_of_another_grant_is_not() {
    for (grant, other) in [
        (json!({ "sid": "s1" }), json!({ "sid": "s2" })),
        (json!({ "azp": "phone" }), json!({ "azp": "tablet" })),
        (json!({ "client_id": "phone" }), json!({ "sid": "s1" })),
    ] {
        let premises = Premises::new().await;
        let id = premises.verified(&token(&grant, HOUR), "phone", json!(["Mailbox"])).await;
        let refreshed = token(&grant, 2 * HOUR);
        assert_eq!(premises.list(&refreshed).await[0]["id"], json!(id), "{grant}");
        let update = json!({ "update": { &*id: { "types": ["Email"] } } });
        let response = premises.set(&refreshed, update.clone()).await;
        assert_eq!(response["updated"], json!({ &*id: null }), "{grant}");
        let other = token(&other, HOUR);
        assert!(premises.list(&other).await.is_empty(), "{other}");
        let response = premises.set(&other, update).await;
        assert_eq!(response["notUpdated"][&id]["type"], "notFound", "{other}");
        premises.rig.end().await;
    }
}

/// P5; architecture D9.
#[tokio::test]
async fn one_whose_token_has_run_out_waits_for_a_refreshed_one_and_is_served_by_that() {
    let premises = Premises::new().await;
    let first = session_token(SOON);
    let id = premises.verified(&first, "phone", json!(["Email"])).await;
    premises.refuse(&first).await;
    premises.is_absent().await;
    let refreshed = session_token(HOUR);
    assert_eq!(premises.list(&refreshed).await[0]["id"], json!(id));
    premises.is_served_by(&refreshed).await;
    premises.rig.end().await;
}

/// P5: "MUST be destroyed" when the credential is revoked.
#[tokio::test]
async fn one_whose_token_is_refused_before_its_time_is_destroyed() {
    let premises = Premises::new().await;
    let first = session_token(HOUR);
    premises.verified(&first, "phone", json!(["Email"])).await;
    premises.refuse(&first).await;
    let ended = || premises.ended_by_refusal();
    until("end", || if ended() == 1 { Ok(()) } else { Err(ended()) }).await;
    assert!(premises.list(&session_token(HOUR)).await.is_empty());
    premises.rig.end().await;
}

/// P5: it is another that serves it by then, so that the end of the first is nobody's end.
#[tokio::test]
async fn a_token_that_lasts_longer_takes_the_place_of_one_that_ends_sooner() {
    let premises = Premises::new().await;
    let first = session_token(HOUR);
    let id = premises.verified(&first, "phone", json!(["Email"])).await;
    let longer = session_token(2 * HOUR);
    assert_eq!(premises.list(&longer).await[0]["id"], json!(id));
    premises.is_served_by(&longer).await;
    premises.refuse(&first).await;
    premises.is_served_by(&longer).await;
    assert_eq!(premises.list(&longer).await[0]["id"], json!(id));
    premises.rig.end().await;
}

#[tokio::test]
async fn a_token_that_ends_sooner_takes_nobodys_place() {
    let premises = Premises::new().await;
    let first = session_token(HOUR);
    premises.verified(&first, "phone", json!(["Email"])).await;
    let sooner = session_token(SOON);
    assert_eq!(premises.list(&sooner).await.len(), 1);
    premises.refuse(&sooner).await;
    premises.is_served_by(&first).await;
    premises.rig.end().await;
}

/// P5: `push.bind = "user"` is for tokens that say nothing of themselves.
#[tokio::test]
async fn bound_to_the_user_it_outlives_a_refused_credential() {
    let premises = Premises::with(|config| config.push.bind = PushBind::User).await;
    let id = premises.verified("alice;first", "phone", json!(["Email"])).await;
    premises.refuse("alice;first").await;
    premises.is_absent().await;
    assert_eq!(premises.list("alice;second").await[0]["id"], json!(id));
    premises.is_served_by("alice;second").await;
    premises.rig.end().await;
}

/// P5: one who had the new credential before the old was refused, and goes on with it.
#[tokio::test]
async fn an_owner_whose_other_credential_is_long_known_is_back_with_any_request() {
    let premises = Premises::with(|config| config.push.bind = PushBind::User).await;
    let id = premises.verified("alice;first", "phone", json!(["Email"])).await;
    assert_eq!(premises.list("alice;second").await[0]["id"], json!(id));
    premises.refuse("alice;first").await;
    premises.is_absent().await;
    premises.rig.call("alice;second", &json!([["Core/echo", {}, "0"]])).await;
    premises.is_served_by("alice;second").await;
    premises.rig.end().await;
}
