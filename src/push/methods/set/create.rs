//! `create` of `PushSubscription/set` (RFC 8620 §7.2.2, §8.6).
//!
//! # The same device, the same URL
//!
//! A client that has lost its memory makes its subscription again. James refuses a `deviceClientId` it
//! knows, which leaves such a client without push until it thinks of asking; Stalwart keeps both, and
//! the device is told everything twice for a week. Here the new one takes the place of the old, once it
//! is as good: what was never verified goes at once, what is verified when the new one is, so that no
//! change is missed between the two. That holds for one credential only: what others call their device
//! is their affair, and so is whether they know the URL.
//!
//! Whoever makes the same again and again still causes a verification each (P9 knows no exception), to a
//! URL that may be a victim's: [`Judges::admit`](super::super::Judges) counts them like any other.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::super::error::{Invalid, SetError, SetErrorKind};
use super::super::property;
use super::{Change, Set};
use crate::jmap::date::UtcDate;
use crate::jmap::id::DataType;
use crate::push::subscription::{ID_BYTES, Sealed, Secrets, Subscription, SubscriptionId};

/// Random bytes of a verification code.
const CODE_BYTES: usize = 16;

/// What a client asks for.
struct Wish {
    device_client_id: Box<str>,
    secrets: Secrets,
    expires: UtcDate,
    types: Option<Arc<[DataType]>>,
}

impl Set<'_> {
    pub(super) fn create(&mut self, creation_id: &str, object: &Value) {
        let empty = Map::new();
        let object = object.as_object().unwrap_or(&empty);
        match self.made(object) {
            Ok(subscription) => {
                let answer = answer(object, &subscription);
                self.created.insert(creation_id.to_owned(), answer);
                self.new.push((creation_id.to_owned(), subscription.id));
                self.changes.push(Change::Create(Arc::new(subscription.clone())));
                self.touched.insert(subscription.id, Some(subscription));
            }
            Err(error) => drop(self.not_created.insert(creation_id.to_owned(), error)),
        }
    }

    fn made(&mut self, object: &Map<String, Value>) -> Result<Subscription, SetError> {
        let mut wish = self.wish(object)?;
        let replaced: Vec<_> =
            self.twins(&wish.device_client_id, &wish.secrets.url, false).collect();
        if self.of_user.saturating_sub(replaced.len()) >= self.terms.limits.per_user {
            let description = "this user has as many subscriptions as are allowed";
            return Err(SetError::new(SetErrorKind::OverQuota, description));
        }
        (self.judges.admit)(&wish.secrets).map_err(SetError::rate_limit)?;
        let mut id = [0; ID_BYTES];
        (self.judges.draw)(&mut id);
        let id = SubscriptionId(id);
        let mut code = Zeroizing::new([0; CODE_BYTES]);
        (self.judges.draw)(&mut *code);
        wish.secrets.verification_code = Zeroizing::new(URL_SAFE_NO_PAD.encode(*code));
        let sealed = Sealed::new(self.terms.vault, id, &wish.secrets)
            .map_err(|_| SetError::new(SetErrorKind::ServerFail, "the secrets cannot be kept"))?;
        replaced.into_iter().for_each(|twin| self.remove(twin));
        self.of_user += 1;
        Ok(Subscription {
            id,
            device_client_id: wish.device_client_id,
            sealed,
            owner: self.caller.binding.clone(),
            username: self.caller.username.into(),
            view: self.caller.view.clone(),
            created: self.terms.now,
            expires: wish.expires,
            types: wish.types,
            is_verified: false,
            verification_sent: None,
            wrong_codes: 0,
            vapid: self.terms.vapid,
            given: "".into(),
            disabled: None,
        })
    }

    fn wish(&self, object: &Map<String, Value>) -> Result<Wish, SetError> {
        let mut invalid = Invalid::default();
        let (mut keys, mut types) = (None, None);
        let (mut device, mut url) = (None, None);
        let mut expires = self.terms.limits.latest(self.terms.now);
        for (name, value) in object {
            match &**name {
                "deviceClientId" => {
                    device = invalid.check(name, property::device_client_id(value));
                }
                "url" => url = invalid.check(name, property::url(value, self.judges.check_url)),
                "keys" => {
                    let read = property::keys(value, self.judges.are_keys);
                    keys = invalid.check(name, read).flatten();
                }
                "expires" => {
                    let read = property::expires(value, self.terms.limits, self.terms.now);
                    expires = invalid.check(name, read).unwrap_or(expires);
                }
                "types" => types = invalid.check(name, property::types(value)).flatten(),
                // §7.2: "This MUST be null (or omitted) when the subscription is created."
                "verificationCode" if value.is_null() => {}
                "verificationCode" => invalid.add(name, "null: it is sent to the URL"),
                "id" => invalid.add(name, "set by the server"),
                _ => invalid.add(name, "no property of a PushSubscription"),
            }
        }
        for required in ["deviceClientId", "url"] {
            if !object.contains_key(required) {
                invalid.add(required, "required");
            }
        }
        let found = device.zip(url);
        if let Some(error) = invalid.into_error() {
            return Err(error);
        }
        let Some((device_client_id, url)) = found else { return Err(SetError::not_found()) };
        let url = Zeroizing::new(url.to_owned());
        let secrets = Secrets { url, keys, verification_code: Zeroizing::default() };
        Ok(Wish { device_client_id, secrets, expires, types })
    }
}

impl Set<'_> {
    /// Other subscriptions for the same device and URL, verified or not.
    pub(super) fn twins(
        &self,
        device_client_id: &str,
        url: &str,
        is_verified: bool,
    ) -> impl Iterator<Item = SubscriptionId> {
        let same_url = move |twin: &Subscription| {
            twin.secrets(self.terms.vault).is_some_and(|secrets| *secrets.url == url)
        };
        self.all()
            .filter(move |twin| twin.is_verified == is_verified)
            .filter(move |twin| &*twin.device_client_id == device_client_id)
            .filter(move |twin| same_url(twin))
            .map(|twin| twin.id)
    }
}

/// §5.3: what the server has set, defaulted or changed. Never `url`, `keys` or the code (P7, P9).
fn answer(asked: &Map<String, Value>, made: &Subscription) -> Value {
    let mut answer = Map::new();
    answer.insert("id".to_owned(), json!(made.id.to_string()));
    for name in ["types", "verificationCode"] {
        if !asked.contains_key(name) {
            answer.insert(name.to_owned(), Value::Null);
        }
    }
    let expires = json!(made.expires);
    if asked.get("expires") != Some(&expires) {
        answer.insert("expires".to_owned(), expires);
    }
    Value::Object(answer)
}
