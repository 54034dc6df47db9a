//! Who a message is from (RFC 8292; protocol.md §1.7), as a push service reads it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jmap_push_proxy::clock;
use serde_json::Value;

use super::Premises;

/// The claims of the first message to a path.
async fn claims(premises: &Premises, path: &str) -> Value {
    let message = premises.service.message(path, 0).await;
    let token = message.headers["authorization"].strip_prefix("vapid t=").unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn a_push_service_is_told_for_whom_until_when_and_whom_to_write_to() {
    let operator = "mailto:postmaster@mail.example";
    let premises =
        Premises::with(|config| config.push.vapid_subject = Some(operator.to_owned())).await;
    premises.subscribe("alice", "phone", Value::Null).await;
    let claims = claims(&premises, "phone").await;
    assert_eq!(claims["sub"], operator);
    assert_eq!(claims["aud"], premises.service.url("").trim_end_matches('/'));
    let left = claims["exp"].as_u64().unwrap().checked_sub(clock::wall().as_secs());
    assert!(left.is_some_and(|left| (1..=24 * 3600).contains(&left)), "{claims}");
}
