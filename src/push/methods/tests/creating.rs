//! RFC 8620 §7.2.2 `create` and `destroy`, P6, P8, P9, P16.

use super::*;

fn created(more: Value) -> Value {
    let mut new = json!({ "deviceClientId": "d", "url": "https://push.example/1" });
    new.as_object_mut().unwrap().extend(object(more));
    json!({ "create": { "k": new } })
}

#[test]
fn a_creation_is_answered_with_what_the_server_has_set() {
    let mut world = World::new();
    let outcome = world.try_set(created(json!({}))).unwrap();
    let id = outcome.created[0].1;
    assert_eq!(outcome.created, [("k".to_owned(), id)]);
    assert_eq!(
        outcome.response,
        json!({
            "created": { "k": {
                "id": id.to_string(), "types": null, "verificationCode": null, "expires": WEEK,
            } },
            "updated": {}, "destroyed": [], "notCreated": {}, "notUpdated": {}, "notDestroyed": {},
        })
    );
    let held = &world.held[0];
    let (accounts, vapid) = (&held.view.accounts, held.vapid);
    assert_eq!((accounts.len(), vapid, held.is_verified, held.created), (1, 3, false, NOW));
    assert_eq!(*held.secrets(&world.vault).unwrap().url, "https://push.example/1");
}

#[test]
fn what_the_client_has_set_is_not_repeated() {
    let mut world = World::new();
    let soon = UtcDate(NOW.0 + DAY);
    let new = json!({ "types": [], "expires": soon, "verificationCode": null, "keys": null });
    let outcome = world.try_set(created(new)).unwrap();
    let id = outcome.created[0].1.to_string();
    assert_eq!(outcome.response["created"]["k"], json!({ "id": id }));
    assert_eq!(world.held[0].types.as_deref(), Some(&[][..]));
}

/// P9; jmaple gives it away.
#[test]
fn no_response_shows_the_code_the_url_or_the_keys() {
    let mut world = World::new();
    let keys = json!({ "p256dh": "point==", "auth": "secret=" });
    let outcome = world.try_set(created(json!({ "keys": keys }))).unwrap();
    let id = outcome.created[0].1.to_string();
    let shown = outcome.response.to_string() + &world.patch(&id, json!({})).to_string();
    for secret in [world.code(&id).as_str(), "push.example", "point", "secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let kept = world.held[0].secrets(&world.vault).unwrap().keys.clone().unwrap();
    assert_eq!((&*kept.p256dh, &*kept.auth), ("point", "secret"));
}

/// P6: "MUST NOT be less than 48 hours".
#[test]
fn a_lifetime_that_is_too_long_is_cut_and_the_client_told() {
    let mut world = World::new();
    let response = world.set(created(json!({ "expires": UtcDate(NOW.0 + 30 * DAY) })));
    assert_eq!(response["created"]["k"]["expires"], json!(WEEK));
    world.limits = Limits::new(10, 10, 5, Duration::from_secs(60));
    assert_eq!(world.limits.latest(NOW), UtcDate(NOW.0 + 2 * DAY));
}

#[test]
fn wrong_properties_are_all_named() {
    let cases = [
        (json!({ "id": "P1" }), vec!["id"]),
        (json!({ "deviceClientId": "" }), vec!["deviceClientId"]),
        (json!({ "deviceClientId": "x".repeat(256) }), vec!["deviceClientId"]),
        (json!({ "deviceClientId": null, "url": null }), vec!["deviceClientId", "url"]),
        (json!({ "url": "http://push.example/1" }), vec!["url"]),
        (json!({ "url": format!("https://{}", "x".repeat(2048)) }), vec!["url"]),
        (json!({ "keys": {} }), vec!["keys"]),
        (json!({ "keys": "point" }), vec!["keys"]),
        (json!({ "keys": { "p256dh": "point", "auth": 1 } }), vec!["keys"]),
        (json!({ "keys": { "p256dh": "point", "auth": "secret", "x": 1 } }), vec!["keys"]),
        (json!({ "keys": { "p256dh": "other", "auth": "secret" } }), vec!["keys"]),
        (json!({ "verificationCode": "x" }), vec!["verificationCode"]),
        (json!({ "expires": NOW }), vec!["expires"]),
        (json!({ "expires": "tomorrow" }), vec!["expires"]),
        (json!({ "expires": 1 }), vec!["expires"]),
        (json!({ "types": "Email" }), vec!["types"]),
        (json!({ "types": ["Email", "Email"] }), vec!["types"]),
        (json!({ "types": ["*"] }), vec!["types"]),
        (json!({ "types": [null] }), vec!["types"]),
        (json!({ "types": vec!["T"; 101] }), vec!["types"]),
        (json!({ "emailPush": {}, "url": "x" }), vec!["emailPush", "url"]),
    ];
    for (more, wrong) in cases {
        let mut world = World::new();
        let response = world.set(created(more.clone()));
        let error = &response["notCreated"]["k"];
        let mut named = invalid(error);
        named.sort_unstable();
        assert_eq!(named, wrong, "{more}");
        assert_eq!((world.held.len(), world.asked.get()), (0, 0), "{more}");
    }
    let response = World::new().set(json!({ "create": { "k": {} } }));
    assert_eq!(invalid(&response["notCreated"]["k"]), ["deviceClientId", "url"]);
}

/// P16, §8.6: of the user, whatever the credential.
#[test]
fn a_user_has_no_more_than_the_quota() {
    let mut world = World::new();
    world.of_user = Some(5);
    let response = world.set(created(json!({})));
    assert_eq!(response["notCreated"]["k"]["type"], "overQuota");
    assert_eq!(world.asked.get(), 0, "what is not made does not count as made");
    world.of_user = Some(4);
    let two = json!({ "create": {
        "k": { "deviceClientId": "d", "url": "https://push.example/1" },
        "l": { "deviceClientId": "e", "url": "https://push.example/2" },
    } });
    let response = world.set(two);
    assert_eq!(response["created"].as_object().unwrap().len(), 1, "{response}");
    assert_eq!(response["notCreated"]["l"]["type"], "overQuota");
}

#[test]
fn who_makes_too_many_at_once_is_told_to_wait() {
    let mut world = World::new();
    world.wait = Duration::from_secs(9);
    let error = world.set(created(json!({})))["notCreated"]["k"].clone();
    assert_eq!(error, json!({ "type": "rateLimit", "description": "try again in 9 s" }));
    assert!(world.held.is_empty());
}

/// See `set/create.rs`.
#[test]
fn the_same_device_and_url_again_replaces_what_was_never_verified() {
    let mut world = World::new();
    let first = world.make(json!({}));
    world.of_user = Some(5);
    let second = world.make(json!({}));
    assert!(world.held(&first).is_none() && world.held(&second).is_some());
}

#[test]
fn the_same_device_and_url_again_is_served_by_the_old_until_the_new_is_verified() {
    let mut world = World::new();
    let old = world.make(json!({}));
    world.verify(&old);
    let new = world.make(json!({}));
    assert!(world.held(&old).is_some(), "nothing is missed between the two");
    world.verify(&new);
    assert!(world.held(&old).is_none(), "nothing is told twice");
}

#[test]
fn another_device_or_url_replaces_nothing() {
    let mut world = World::new();
    world.make(json!({}));
    world.make(json!({ "deviceClientId": "e" }));
    let third = world.make(json!({ "url": "https://push.example/2" }));
    world.verify(&third);
    assert_eq!(world.held.len(), 3);
}

/// X10: made again and again, each is a verification that counts.
#[test]
fn a_replacement_is_counted_like_any_other() {
    let mut world = World::new();
    let first = world.make(json!({}));
    world.verify(&first);
    world.make(json!({}));
    assert_eq!(world.asked.get(), 2);
}

#[test]
fn what_is_destroyed_is_gone_once() {
    let mut world = World::new();
    let id = world.make(json!({}));
    let outcome = world.try_set(json!({ "destroy": [id, "Pother", id] })).unwrap();
    assert_eq!(outcome.response["destroyed"], json!([id]));
    assert_eq!(outcome.response["notDestroyed"]["Pother"]["type"], "notFound");
    assert_eq!(outcome.changes, [Change::Destroy(SubscriptionId::parse(&id).unwrap())]);
}

/// §5.3: creations, then updates, then destructions; `#` and a creation id stand for the new id.
#[test]
fn creation_ids_of_this_call_and_of_earlier_ones_are_resolved() {
    let mut world = World::new();
    let earlier = world.make(json!({ "deviceClientId": "e" }));
    world.created_before = vec![("e", earlier.clone()), ("k", "Pnone".to_owned())];
    let mut call = created(json!({}));
    call["update"] = json!({ "#k": { "types": [] }, "#e": { "types": [] }, "#none": {} });
    call["destroy"] = json!(["#x"]);
    let outcome = world.try_set(call).unwrap();
    let id = outcome.created[0].1.to_string();
    assert_eq!(outcome.response["updated"], json!({ id: null, &*earlier: null }));
    assert_eq!(outcome.response["notUpdated"]["#none"]["type"], "notFound");
    assert_eq!(outcome.response["notDestroyed"]["#x"]["type"], "notFound");
    let response = world.set(json!({ "destroy": ["#e"] }));
    assert_eq!(response["destroyed"], json!([earlier]));
}

#[test]
fn what_is_made_and_destroyed_in_one_call_is_not_updated_in_between() {
    let mut world = World::new();
    let mut call = created(json!({}));
    call["update"] = json!({ "#k": { "types": [] } });
    call["destroy"] = json!(["#k"]);
    let response = world.set(call);
    assert_eq!(response["notUpdated"]["#k"]["type"], "willDestroy");
    assert_eq!(response["destroyed"], json!([response["created"]["k"]["id"]]));
    assert!(world.held.is_empty());
}

/// P8: no account, no states.
#[test]
fn arguments_that_are_none_or_too_many_fail_the_call() {
    let mut world = World::new();
    for bad in [
        json!({ "accountId": "a1" }),
        json!({ "ifInState": "x" }),
        json!({ "create": [] }),
        json!({ "create": { "k": null } }),
        json!({ "update": { "P1": "x" } }),
        json!({ "destroy": "P1" }),
        json!({ "destroy": [1] }),
    ] {
        let refused = world.try_set(bad.clone()).unwrap_err();
        assert_eq!(refused.to_value()["type"], "invalidArguments", "{bad}");
    }
    let call = json!({ "create": { "k": {} }, "update": { "P": {} }, "destroy": vec!["P"; 9] });
    assert_eq!(world.try_set(call).unwrap_err(), MethodError::RequestTooLarge);
    let nothing = world.set(json!({ "create": null, "update": null, "destroy": null }));
    assert_eq!(nothing["created"], json!({}));
}
