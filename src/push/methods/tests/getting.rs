//! RFC 8620 §7.2.1, P5, P7.

use super::*;

#[test]
fn all_subscriptions_are_returned_without_account_state_url_and_keys() {
    let mut world = World::new();
    let id =
        world.make(json!({ "types": ["Email"], "keys": { "p256dh": "point", "auth": "secret" } }));
    let expected = json!({
        "list": [{
            "id": id,
            "deviceClientId": "d",
            "verificationCode": null,
            "expires": WEEK,
            "types": ["Email"],
        }],
        "notFound": [],
    });
    assert_eq!(world.get(json!({})), Ok(expected.clone()));
    assert_eq!(world.get(json!({ "ids": null, "properties": null })), Ok(expected));
}

/// §7.2.3 returns it of one that is verified; before, it would verify whatever URL there is.
#[test]
fn the_code_is_returned_once_the_client_has_shown_it() {
    let mut world = World::new();
    let id = world.make(json!({}));
    let asked = json!({ "properties": ["verificationCode"] });
    assert_eq!(world.get(asked.clone()).unwrap()["list"][0]["verificationCode"], Value::Null);
    world.verify(&id);
    assert_eq!(world.get(asked).unwrap()["list"][0]["verificationCode"], *world.code(&id));
}

#[test]
fn only_what_is_asked_for_is_returned_each_once_and_the_rest_is_not_found() {
    let mut world = World::new();
    let id = world.make(json!({}));
    let asked = json!({ "ids": [id, "Pnone", id, "#k", "Pnone"], "properties": ["types"] });
    let expected = json!({ "list": [{ "id": id, "types": null }], "notFound": ["Pnone", "#k"] });
    assert_eq!(world.get(asked), Ok(expected));
    let nothing = json!({ "list": [], "notFound": [] });
    assert_eq!(world.get(json!({ "ids": [] })), Ok(nothing));
}

#[test]
fn to_ask_for_a_secret_is_forbidden() {
    let world = World::new();
    for properties in [json!(["url"]), json!(["id", "keys"]), json!(["x", "url"])] {
        let refused = world.get(json!({ "ids": [], "properties": properties }));
        assert_eq!(refused, Err(MethodError::Forbidden), "{properties}");
    }
    assert_eq!(MethodError::Forbidden.to_value()["type"], "forbidden");
}

#[test]
fn unknown_arguments_and_properties_are_invalid() {
    let world = World::new();
    for bad in [
        json!({ "accountId": "a1" }),
        json!({ "ifInState": "x" }),
        json!({ "ids": "P" }),
        json!({ "ids": [1] }),
        json!({ "properties": "id" }),
        json!({ "properties": ["emailPush"] }),
        json!({ "properties": [null] }),
    ] {
        let refused = world.get(bad.clone()).unwrap_err();
        assert_eq!(refused.to_value()["type"], "invalidArguments", "{bad}");
    }
}

#[test]
fn more_than_the_session_allows_is_too_large() {
    let mut world = World::new();
    let ids: Vec<_> = (0..11).map(|n| format!("P{n}")).collect();
    assert_eq!(world.get(json!({ "ids": ids })), Err(MethodError::RequestTooLarge));
    assert!(world.get(json!({ "ids": ids[1..] })).is_ok());
    world.make(json!({}));
    world.make(json!({ "deviceClientId": "e" }));
    world.limits.objects_in_get = 1;
    assert_eq!(world.get(json!({})), Err(MethodError::RequestTooLarge));
}

#[test]
fn what_has_expired_is_not_there_any_more() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.now = WEEK;
    assert_eq!(world.get(json!({})).unwrap()["list"], json!([]));
    assert_eq!(world.get(json!({ "ids": [id] })).unwrap()["notFound"], json!([id]));
    assert_eq!(world.patch(&id, json!({}))["notUpdated"][&id]["type"], "notFound");
    let response = world.set(json!({ "destroy": [id] }));
    assert_eq!(response["notDestroyed"][&id]["type"], "notFound");
}
