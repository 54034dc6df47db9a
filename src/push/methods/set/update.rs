//! `update` of `PushSubscription/set` (RFC 8620 §5.3 `PatchObject`, §7.2.2; P9, P10).

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::{Map, Value, json};

use super::super::error::{Invalid, SetError, SetErrorKind};
use super::super::property::{self, SECRET};
use super::{Change, Set};
use crate::push::subscription::{Secrets, Subscription, SubscriptionId, UNNOTED};

/// Wrong codes after which nobody may go on guessing (hostile.md X4).
const MOST_WRONG_CODES: u8 = 5;

/// How the code in a patch stands to the one sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Right,
    Wrong,
}

impl Set<'_> {
    /// Changes one subscription as the patch says; what the server has changed beyond that, or `null`.
    pub(super) fn patch(
        &mut self,
        id: SubscriptionId,
        patch: &Map<String, Value>,
    ) -> Result<Value, SetError> {
        let Some(before) = self.current(id).cloned() else { return Err(SetError::not_found()) };
        let Some(secrets) = before.secrets(self.terms.vault) else {
            return Err(SetError::new(SetErrorKind::ServerFail, "its secrets cannot be read"));
        };
        let shown = shown(patch, &secrets);
        if shown == Shown::Wrong && !before.is_verified {
            self.count_wrong(&before);
        }
        let mut after = before.clone();
        self.apply(&mut after, patch, shown)?;
        // Its client takes care of it: it may have mended what made us stop.
        after.disabled = None;
        if shown == Shown::Right && !before.is_verified {
            (after.is_verified, after.wrong_codes) = (true, 0);
            let (device, url) = (&after.device_client_id, &secrets.url);
            let replaced: Vec<_> = self.twins(device, url, true).collect();
            if !replaced.is_empty() {
                // What the old one was still owed is owed to the new one, and nobody else knows what it is.
                after.given = UNNOTED.into();
            }
            replaced.into_iter().for_each(|twin| self.remove(twin));
        }
        let asked = patch.get("expires");
        let expires = json!(after.expires);
        let is_changed = asked.is_some_and(|asked| *asked != expires);
        if after != before {
            self.keep(after);
        }
        Ok(if is_changed { json!({ "expires": expires }) } else { Value::Null })
    }

    /// A code that is wrong is counted whatever else the patch says; after too many of them the
    /// subscription goes.
    fn count_wrong(&mut self, before: &Subscription) {
        let wrong_codes = before.wrong_codes.saturating_add(1);
        if wrong_codes >= MOST_WRONG_CODES {
            self.remove(before.id);
        } else {
            self.keep(Subscription { wrong_codes, ..before.clone() });
        }
    }

    fn keep(&mut self, after: Subscription) {
        self.changes.push(Change::Update(Arc::new(after.clone())));
        self.touched.insert(after.id, Some(after));
    }

    fn apply(
        &self,
        after: &mut Subscription,
        patch: &Map<String, Value>,
        shown: Shown,
    ) -> Result<(), SetError> {
        let mut invalid = Invalid::default();
        for (pointer, value) in patch {
            let (name, inner) = match pointer.split_once('/') {
                Some((name, inner)) => (unescaped(name), Some(inner)),
                None => (unescaped(pointer), None),
            };
            match &*name {
                // Whatever of it: they are not returned, so nobody can show that he means the same.
                secret if SECRET.contains(&secret) => invalid.add(secret, "never changes"),
                "id" | "deviceClientId" | "verificationCode" | "expires" | "types"
                    if inner.is_some() =>
                {
                    // §5.3: a pointer "MUST NOT reference inside an array", and what is no object has
                    // no inside.
                    let description = format!("`{pointer}`: nothing can be patched there");
                    return Err(SetError::new(SetErrorKind::InvalidPatch, description));
                }
                "id" if *value == json!(after.id.to_string()) => {}
                "deviceClientId" if *value == json!(after.device_client_id) => {}
                "id" | "deviceClientId" => invalid.add(&name, "never changes"),
                "verificationCode" => match shown {
                    Shown::Right => {}
                    // What it is already.
                    Shown::Nothing if value.is_null() && !after.is_verified => {}
                    _ => invalid.add(&name, "not the code that was sent"),
                },
                "expires" => {
                    let read = property::expires(value, self.terms.limits, self.terms.now);
                    let granted = invalid.check(&name, read).unwrap_or(after.expires);
                    // RFC 9749 §5: what was made under an older key has to come to an end.
                    let retired = (self.judges.retired)(after.vapid);
                    let end = retired.map(|it| it.after(self.terms.limits.lifetime));
                    after.expires = end.map_or(granted, |end| granted.min(end.max(after.expires)));
                }
                "types" => {
                    if let Some(types) = invalid.check(&name, property::types(value)) {
                        after.types = types;
                    }
                }
                _ => invalid.add(pointer, "no property of a PushSubscription"),
            }
        }
        invalid.into_error().map_or(Ok(()), Err)
    }
}

/// The code in a patch against the one sent (hostile.md X4).
///
/// By construction, not by a measurement, the time tells nothing of the code: `verify_slices_are_equal` is
/// AWS-LC's `CRYPTO_memcmp`, which looks at every octet whatever it found in those before. Where the lengths
/// differ it says so at once: all codes have the same length, which is no secret.
fn shown(patch: &Map<String, Value>, secrets: &Secrets) -> Shown {
    let Some(code) = patch.get("verificationCode").and_then(Value::as_str) else {
        return Shown::Nothing;
    };
    match verify_slices_are_equal(code.as_bytes(), secrets.verification_code.as_bytes()) {
        Ok(()) => Shown::Right,
        Err(_) => Shown::Wrong,
    }
}

/// RFC 6901 §4.
fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
