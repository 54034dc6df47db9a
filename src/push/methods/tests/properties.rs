//! What holds for whatever a client may ask for.

use proptest::prelude::*;

use super::*;

/// Values near those that mean something.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!(["Email"])),
        Just(json!([])),
        Just(json!({ "p256dh": "point", "auth": "secret" })),
        (-10 * DAY..30 * DAY).prop_map(|after| json!(UtcDate(NOW.0 + after))),
    ]
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof![
        Just("id".to_owned()),
        Just("deviceClientId".to_owned()),
        Just("url".to_owned()),
        Just("keys".to_owned()),
        Just("keys/auth".to_owned()),
        Just("verificationCode".to_owned()),
        Just("expires".to_owned()),
        Just("types".to_owned()),
        Just("types/0".to_owned()),
        "[a-z~/]{0,8}",
    ];
    prop::collection::btree_map(names, value(), 0..4).prop_map(|it| it.into_iter().collect())
}

proptest! {
    /// P6: no request gives a longer life than is allowed, or a shorter one than was asked for.
    #[test]
    fn the_life_of_a_subscription_is_what_was_asked_for_up_to_the_most(
        lifetime in 0..60 * DAY,
        asked in 1..100 * DAY,
    ) {
        let mut world = World::new();
        world.limits = Limits::new(10, 10, 5, Duration::from_secs(lifetime.unsigned_abs()));
        let expected = UtcDate(NOW.0 + asked.min(lifetime.max(2 * DAY)));
        let asked = json!(UtcDate(NOW.0 + asked));
        let id = world.make(json!({ "expires": asked }));
        prop_assert_eq!(world.held(&id).unwrap().expires, expected);
        let response = world.patch(&id, json!({ "expires": asked }));
        prop_assert_eq!(world.held(&id).unwrap().expires, expected);
        let told = if asked == json!(expected) { Value::Null } else { json!({ "expires": expected }) };
        prop_assert_eq!(&response["updated"][&id], &told);
    }

    /// §5.3: a patch is applied as a whole or not at all, and every object of a call is answered once.
    #[test]
    fn a_patch_takes_effect_as_a_whole_or_not_at_all(patch in members()) {
        let mut world = World::new();
        let id = world.make(json!({ "types": ["Email"] }));
        let before = world.held(&id).unwrap().clone();
        let response = world.patch(&id, patch);
        let is_updated = response["updated"].get(&id).is_some();
        prop_assert_ne!(is_updated, response["notUpdated"].get(&id).is_some());
        let after = world.held(&id).unwrap().clone();
        prop_assert_eq!(&after.sealed, &before.sealed);
        if !is_updated {
            let wrong_codes = after.wrong_codes;
            prop_assert_eq!(after, Subscription { wrong_codes, ..before });
        }
    }

    #[test]
    fn what_is_created_is_sound_whatever_was_asked_for(new in members()) {
        let mut world = World::new();
        let response = world.set(json!({ "create": { "k": new } }));
        let is_created = response["created"].get("k").is_some();
        prop_assert_ne!(is_created, response["notCreated"].get("k").is_some());
        prop_assert_eq!(world.held.len(), usize::from(is_created));
        for held in &world.held {
            prop_assert!(held.expires > NOW && held.expires <= WEEK && !held.is_verified);
        }
    }

    #[test]
    fn no_arguments_make_it_panic(create in members(), update in members(), more in members()) {
        let mut world = World::new();
        let id = world.make(json!({}));
        let mut arguments = more;
        arguments.insert("create".to_owned(), json!({ "k": create }));
        arguments.insert("update".to_owned(), json!({ id: update }));
        let _ = world.try_set(arguments.clone().into());
        let _ = world.get(arguments.into());
    }
}
