//! RFC 8620 §5.3 `PatchObject`, §7.2.2 `update`, P9, P10; hostile.md X4.

use super::*;

#[test]
fn the_right_code_verifies_and_may_be_shown_again() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.verify(&id);
    assert!(world.held(&id).unwrap().is_verified);
    let again = json!({ "update": { &*id: { "verificationCode": world.code(&id) } } });
    let outcome = world.try_set(again).unwrap();
    assert_eq!(outcome.response["updated"], json!({ id: null }));
    assert!(outcome.changes.is_empty(), "nothing to write");
}

/// §7.2.2: "MUST be rejected with an `invalidProperties` `SetError`".
#[test]
fn a_wrong_code_changes_nothing_but_the_count() {
    let mut world = World::new();
    let id = world.make(json!({}));
    for wrong in [json!("x"), json!(""), json!(world.code(&id) + "x")] {
        let response = world.patch(&id, json!({ "verificationCode": wrong, "types": [] }));
        assert_eq!(invalid(&response["notUpdated"][&id]), ["verificationCode"]);
    }
    let held = world.held(&id).unwrap();
    assert_eq!((held.is_verified, held.wrong_codes, held.types.is_none()), (false, 3, true));
    world.verify(&id);
    assert_eq!(world.held(&id).unwrap().wrong_codes, 0);
}

/// X4: "5 wrong codes -> destroy".
#[test]
fn after_five_wrong_codes_the_subscription_is_gone() {
    let mut world = World::new();
    let id = world.make(json!({}));
    let code = world.code(&id);
    for _ in 0..5 {
        let response = world.patch(&id, json!({ "verificationCode": "x" }));
        assert_eq!(invalid(&response["notUpdated"][&id]), ["verificationCode"]);
    }
    assert!(world.held(&id).is_none());
    let response = world.patch(&id, json!({ "verificationCode": code }));
    assert_eq!(response["notUpdated"][&id]["type"], "notFound");
}

/// Else a guesser would be told for nothing.
#[test]
fn a_wrong_code_counts_beside_other_mistakes_too() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.patch(&id, json!({ "verificationCode": "x", "emailPush": null }));
    assert_eq!(world.held(&id).unwrap().wrong_codes, 1);
}

#[test]
fn guesses_within_one_call_are_counted_too() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.created_before =
        ["a", "b", "c", "d", "e"].map(|name| (name, id.clone())).into_iter().collect();
    let wrong = json!({ "verificationCode": "x" });
    let right = json!({ "verificationCode": world.code(&id) });
    let all = json!({ "#a": wrong, "#b": wrong, "#c": wrong, "#d": wrong, "#e": wrong, id: right });
    let response = world.set(json!({ "update": all }));
    assert_eq!(response["updated"], json!({}), "{response}");
    assert!(world.held.is_empty());
}

#[test]
fn a_verified_subscription_does_not_go_for_wrong_codes() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.verify(&id);
    for _ in 0..9 {
        let response = world.patch(&id, json!({ "verificationCode": "x" }));
        assert_eq!(invalid(&response["notUpdated"][&id]), ["verificationCode"]);
    }
    assert!(world.held(&id).unwrap().is_verified);
    let response = world.patch(&id, json!({ "verificationCode": null }));
    assert_eq!(invalid(&response["notUpdated"][&id]), ["verificationCode"]);
}

/// P10.
#[test]
fn a_new_expiry_needs_no_new_verification() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.verify(&id);
    world.now = UtcDate(NOW.0 + DAY);
    let (soon, latest) = (json!(WEEK), json!(UtcDate(WEEK.0 + DAY)));
    assert_eq!(world.patch(&id, json!({ "expires": soon }))["updated"], json!({ &*id: null }));
    for asked in [json!(UtcDate(NOW.0 + 30 * DAY)), Value::Null] {
        let response = world.patch(&id, json!({ "expires": asked }));
        assert_eq!(response["updated"], json!({ &*id: { "expires": latest } }), "{asked}");
    }
    assert!(world.held(&id).unwrap().is_verified);
    let response = world.patch(&id, json!({ "expires": NOW }));
    assert_eq!(invalid(&response["notUpdated"][&id]), ["expires"]);
}

/// RFC 9749 §5 (protocol.md §1.6): after the transition they "MUST" be gone.
#[test]
fn one_made_under_an_older_key_is_renewed_for_a_week_after_that_at_most_and_its_client_told_so() {
    let mut world = World::new();
    let id = world.make(json!({}));
    world.held[0].vapid = VAPID - 1;
    let end = UtcDate(RETIRED.0 + 7 * DAY);
    for days in [2, 5] {
        world.now = UtcDate(NOW.0 + days * DAY);
        for asked in [json!(UtcDate(world.now.0 + 7 * DAY)), Value::Null] {
            let response = world.patch(&id, json!({ "expires": asked }));
            assert_eq!(response["updated"], json!({ &*id: { "expires": end } }), "{asked}");
        }
    }
    let sooner = UtcDate(end.0 - DAY);
    let response = world.patch(&id, json!({ "expires": sooner }));
    assert_eq!(response["updated"], json!({ &*id: null }));
}

#[test]
fn what_never_changes_may_be_repeated_where_it_can_be_known() {
    let mut world = World::new();
    let id = world.make(json!({}));
    let same = json!({ "id": id, "deviceClientId": "d", "verificationCode": null });
    assert_eq!(world.patch(&id, same)["updated"], json!({ &*id: null }));
    for (patch, wrong) in [
        (json!({ "id": "P1" }), "id"),
        (json!({ "deviceClientId": "e" }), "deviceClientId"),
        (json!({ "url": "https://push.example/1" }), "url"),
        (json!({ "keys": null }), "keys"),
        (json!({ "keys/auth": "secret" }), "keys"),
        (json!({ "emailPush": null }), "emailPush"),
        (json!({ "emailPush/a1": {} }), "emailPush/a1"),
        (json!({ "/types": [] }), "/types"),
        (json!({ "types": ["Email", "Email"] }), "types"),
    ] {
        let response = world.patch(&id, patch.clone());
        assert_eq!(invalid(&response["notUpdated"][&id]), [wrong], "{patch}");
    }
}

/// §5.3: "the pointer MUST NOT reference inside an array".
#[test]
fn a_pointer_into_what_has_no_inside_is_an_invalid_patch() {
    let mut world = World::new();
    let id = world.make(json!({ "types": ["Email"] }));
    for pointer in ["types/0", "types/-", "expires/x", "verificationCode/0", "id/x"] {
        let response = world.patch(&id, json!({ pointer: "Thread" }));
        assert_eq!(response["notUpdated"][&id]["type"], "invalidPatch", "{pointer}");
    }
    let both = world.patch(&id, json!({ "types": [], "types/0": "Thread" }));
    assert_eq!(both["notUpdated"][&id]["type"], "invalidPatch");
    assert_eq!(world.held(&id).unwrap().types.as_ref().unwrap().len(), 1);
}

#[test]
fn types_are_set_to_a_list_to_none_and_to_all() {
    let mut world = World::new();
    let id = world.make(json!({}));
    for types in [json!(["Email", "Mailbox"]), json!([]), Value::Null] {
        let response = world.patch(&id, json!({ "types": types }));
        assert_eq!(response["updated"], json!({ &*id: null }));
        assert_eq!(world.get(json!({})).unwrap()["list"][0]["types"], types);
    }
}
