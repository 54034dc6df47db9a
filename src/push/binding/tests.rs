//! Credentials that come back, and those that only look alike.

use std::collections::HashSet;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::auth::credentials::Keyring;
use crate::config::secret::Key;

fn credentials(fields: &[(HeaderName, String)]) -> Credentials {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    Credentials::from_headers(&headers)
}

fn authorized(value: &str) -> Credentials {
    credentials(&[(AUTHORIZATION, value.to_owned())])
}

fn basic(password: &str) -> Credentials {
    authorized(&format!("Basic {}", STANDARD.encode(format!("alice:{password}"))))
}

/// With another signature each time it is made.
fn jwt(claims: &Value) -> Credentials {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signature: [u8; 8] = rand::random();
    let claims = part(claims.to_string().as_bytes());
    authorized(&format!("Bearer {}.{claims}.{}", part(b"{}"), part(&signature)))
}

fn vault() -> Vault {
    Vault::new(&Key::random())
}

fn bound(vault: &Vault, credentials: &Credentials) -> Binding {
    Binding::new(vault, credentials, "alice", Bind::Credential).unwrap()
}

fn same(vault: &Vault, one: &Credentials, other: &Credentials) -> bool {
    let binding = bound(vault, one);
    assert!(binding.matches(vault, one, "alice").unwrap(), "not even its own");
    binding.matches(vault, other, "alice").unwrap()
}

/// P5: "if OAuth, bind to the refresh token": the access token is another every hour.
#[test]
fn an_access_token_is_known_again_by_the_grant_it_came_from() {
    let vault = vault();
    for claims in [
        json!({ "iss": "https://id.example", "sub": "a", "azp": "app", "sid": "s1" }),
        json!({ "iss": "https://id.example", "sub": "a", "azp": "app" }),
        json!({ "iss": "https://id.example", "sub": "a", "client_id": "app" }),
        json!({ "sid": "s1" }),
    ] {
        assert!(same(&vault, &jwt(&claims), &jwt(&claims)), "{claims}");
    }
}

#[test]
fn another_grant_of_the_same_user_is_another_credential() {
    let vault = vault();
    let claims = |member: &str, value: &str| {
        let mut claims =
            json!({ "iss": "https://id.example", "sub": "a", "azp": "app", "sid": "s" });
        claims[member] = value.into();
        jwt(&claims)
    };
    let first = claims("sub", "a");
    for (member, value) in [("iss", "https://x"), ("sub", "b"), ("azp", "other"), ("sid", "s2")] {
        assert!(!same(&vault, &first, &claims(member, value)), "{member}");
    }
    let without_session = jwt(&json!({ "iss": "https://id.example", "sub": "a", "azp": "app" }));
    assert!(!same(&vault, &first, &without_session));
}

/// The claims of a token are not verified here: another user's would match, were it not for the name.
#[test]
fn a_forged_token_does_not_reach_another_user() {
    let vault = vault();
    let token = jwt(&json!({ "sub": "a", "azp": "app" }));
    assert!(!bound(&vault, &token).matches(&vault, &token, "mallory").unwrap());
}

#[test]
fn a_token_that_names_no_client_is_known_by_itself_alone() {
    let vault = vault();
    for claims in [json!({ "sub": "a" }), json!({ "azp": "app" }), json!({ "sid": 7 }), json!([])] {
        let token = jwt(&claims);
        assert!(same(&vault, &token, &token));
        assert!(!same(&vault, &token, &jwt(&claims)), "{claims}");
    }
    assert!(!same(&vault, &authorized("Bearer one"), &authorized("Bearer two")));
}

#[test]
fn a_password_is_known_again() {
    let vault = vault();
    assert!(same(&vault, &basic("tiger"), &basic("tiger")));
    let binding = bound(&vault, &basic("tiger"));
    assert!(binding.is_costly());
    for other in [basic("Tiger"), basic(""), authorized("Bearer tiger"), authorized("Basic !")] {
        assert!(!binding.matches(&vault, &other, "alice").unwrap());
    }
    assert!(!binding.matches(&vault, &basic("tiger"), "bob").unwrap());
    let other_key = Vault::new(&Key::random());
    assert!(!binding.matches(&other_key, &basic("tiger"), "alice").unwrap());
}

/// A leaked disk must not tell who has the same password.
#[test]
fn the_same_password_is_never_kept_as_the_same_bytes() {
    let vault = vault();
    assert_ne!(bound(&vault, &basic("tiger")), bound(&vault, &basic("tiger")));
}

#[test]
fn cookies_tell_their_bearer_only_where_nothing_else_does() {
    let vault = vault();
    let cookie = |value: &str| (COOKIE, value.to_owned());
    let one = credentials(&[cookie("session=1")]);
    assert!(same(&vault, &one, &credentials(&[cookie("session=1")])));
    assert!(!same(&vault, &one, &credentials(&[cookie("session=2")])));
    let token = (AUTHORIZATION, "Bearer one".to_owned());
    let beside = credentials(&[token.clone(), cookie("theme=dark")]);
    assert!(same(&vault, &beside, &credentials(&[token])));
}

#[test]
fn bound_to_the_user_any_credential_of_theirs_will_do() {
    let vault = vault();
    let binding = Binding::new(&vault, &basic("tiger"), "alice", Bind::User).unwrap();
    assert!(!binding.is_costly());
    assert!(binding.matches(&vault, &authorized("Bearer other"), "alice").unwrap());
    assert!(!binding.matches(&vault, &basic("tiger"), "bob").unwrap());
    let nobody = Binding::new(&vault, &credentials(&[]), "alice", Bind::Credential).unwrap();
    assert_eq!(nobody, binding);
}

#[test]
fn what_is_kept_is_read_again_and_tells_nothing() {
    let vault = vault();
    let token = jwt(&json!({ "sub": "alice", "azp": "canary" }));
    let user = Binding::new(&vault, &token, "alice", Bind::User).unwrap();
    for binding in [
        bound(&vault, &basic("canary")),
        bound(&vault, &token),
        user,
        bound(&vault, &authorized("x y")),
    ] {
        let text = binding.to_string();
        assert_eq!(text.parse(), Ok(binding.clone()), "{text}");
        assert!(!text.contains("canary") && !text.contains("alice"), "{text}");
        assert!(!format!("{binding:?}").contains(text.split_once(':').unwrap().1));
    }
    for bad in
        ["", "user", "user:", "user:AAAA", "owner:x", "argon2id:1:1:1:AAAA:AAAA", "argon2id:"]
    {
        assert_eq!(bad.parse::<Binding>(), Err(NotABinding), "{bad:?}");
    }
}

#[test]
fn an_answer_is_remembered_for_its_credential_and_binding_only() {
    let (vault, keyring, matches) = (vault(), Keyring::default(), Matches::default());
    let key = |value| {
        keyring.key(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]))
    };
    let (one, other) = (key("Bearer 1").unwrap(), key("Bearer 2").unwrap());
    let bindings = [bound(&vault, &authorized("Bearer 1")), bound(&vault, &authorized("Bearer 2"))];
    matches.note(one, &bindings[0], true);
    matches.note(one, &bindings[1], false);
    assert_eq!(matches.known(one, &bindings[0]), Some(true));
    assert_eq!(matches.known(one, &bindings[1]), Some(false));
    assert_eq!(matches.known(other, &bindings[0]), None);
}

#[test]
fn no_more_answers_are_remembered_than_there_is_room_for() {
    let matches = Matches::default();
    let binding = Binding::User([7; 32]);
    for n in 0..3 * Matches::MOST {
        matches.note(CredentialKey(0), &binding, true);
        matches.note(CredentialKey(1 + n as u128), &binding, true);
        assert_eq!(matches.known(CredentialKey(0), &binding), Some(true), "in use, and forgotten");
    }
    let held = matches.0.lock().unwrap();
    let keys: HashSet<_> = held.young.keys().chain(held.old.keys()).collect();
    assert!(keys.len() <= 2 * Matches::MOST, "{}", keys.len());
}
