//! What is pushed to a subscription (RFC 8620 §7.1, §7.2.2; P1), as JSON: in parts that push services take, each
//! with its urgency and topic (RFC 8030 §5.3, §5.4). Pure; neither encrypts nor sends.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use zeroize::Zeroizing;

use super::subscription::SubscriptionId;
use super::target::post::{Topic, Urgency};
use crate::hub::Pending;
use crate::jmap::id::{AccountId, DataType, State};

/// What a subscription has not been given, by account. Bounded by the states that its accounts have: a
/// later one takes the place of an earlier one.
pub(super) type Changed = BTreeMap<AccountId, BTreeMap<DataType, State>>;

/// What pushes are looked at for on a phone: these go first where not all fit into one message.
const FIRST: [&str; 4] = ["EmailDelivery", "Email", "Mailbox", "Thread"];

/// The type that wakes a person (RFC 8621 §1.5).
const EMAIL_DELIVERY: &str = "EmailDelivery";

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What it tells.
    pub(super) states: Vec<(AccountId, DataType)>,
    /// The `StateChange`.
    pub(super) json: Vec<u8>,
    pub(super) urgency: Urgency,
    /// What a push service may drop for this: an earlier message of the same states, and no other. One
    /// topic for all would let a message about Email take away one about Mailbox that never arrived.
    pub(super) topic: Topic,
}

/// The messages that tell `changed`, none longer than `limit` octets unless one state alone is.
pub(super) fn parts(id: SubscriptionId, changed: &Changed, limit: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = Changed::new();
    let mut length = 0;
    for (account, types) in changed {
        let whole = octets(account, types.iter());
        if whole <= limit {
            if length + whole > limit {
                parts.extend(part(id, &std::mem::take(&mut open)));
                length = 0;
            }
            length += whole;
            open.insert(account.clone(), types.clone());
            continue;
        }
        parts.extend(part(id, &std::mem::take(&mut open)));
        length = 0;
        for group in groups(account, types, limit) {
            parts.extend(part(id, &Changed::from([(account.clone(), group)])));
        }
    }
    parts.extend(part(id, &open));
    parts
}

/// One account's states in groups that fit, those that matter most first.
fn groups(
    account: &AccountId,
    types: &BTreeMap<DataType, State>,
    limit: usize,
) -> Vec<BTreeMap<DataType, State>> {
    let rank = |name: &DataType| FIRST.iter().position(|first| *first == name.as_str());
    let mut ranked: Vec<_> = types.iter().collect();
    ranked.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST.len()));
    let mut groups = vec![BTreeMap::new()];
    for (name, state) in ranked {
        let Some(last) = groups.last_mut() else { continue };
        let grown = octets(account, last.iter().chain([(name, state)]));
        if !last.is_empty() && grown > limit {
            groups.push(BTreeMap::from([(name.clone(), state.clone())]));
        } else {
            last.insert(name.clone(), state.clone());
        }
    }
    groups
}

/// Octets of a `StateChange` with one account; without the frame it is what that adds to another.
fn octets<'a>(
    account: &AccountId,
    types: impl Iterator<Item = (&'a DataType, &'a State)>,
) -> usize {
    let changed = BTreeMap::from([(account, types.collect())]);
    json(changed).len()
}

fn part(id: SubscriptionId, changed: &Changed) -> Option<Part> {
    let states: Vec<_> = changed
        .iter()
        .flat_map(|(account, types)| types.keys().map(|name| (account.clone(), name.clone())))
        .collect();
    if states.is_empty() {
        return None;
    }
    let wakes = states.iter().any(|(_, name)| name.as_str() == EMAIL_DELIVERY);
    let borrowed = changed.iter().map(|(account, types)| (account, types.iter().collect()));
    Some(Part {
        json: json(borrowed.collect()),
        urgency: if wakes { Urgency::High } else { Urgency::Normal },
        topic: topic(id, &states),
        states,
    })
}

fn json(changed: BTreeMap<&AccountId, BTreeMap<&DataType, &State>>) -> Vec<u8> {
    let pending = Pending { changed, token: String::new() };
    serde_json::to_vec(&pending.state_change()).unwrap_or_default()
}

/// A name for just these states of this subscription.
fn topic(id: SubscriptionId, states: &[(AccountId, DataType)]) -> Topic {
    let mut context = Context::new(&SHA256);
    context.update(&id.0);
    for (account, name) in states {
        // Neither has control characters.
        context.update(account.as_str().as_bytes());
        context.update(b"\n");
        context.update(name.as_str().as_bytes());
        context.update(b"\n");
    }
    let mut topic = [0; 24];
    topic.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Topic(topic)
}

/// `PushVerification` (§7.2.2), which nothing but its code makes worth anything.
pub(super) fn verification(id: SubscriptionId, code: &str) -> Zeroizing<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct PushVerification<'a> {
        #[serde(rename = "@type")]
        kind: &'static str,
        push_subscription_id: String,
        verification_code: &'a str,
    }
    let (kind, push_subscription_id) = ("PushVerification", id.to_string());
    let object = PushVerification { kind, push_subscription_id, verification_code: code };
    Zeroizing::new(serde_json::to_vec(&object).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::encrypt::MAX_PLAINTEXT;

    const ID: SubscriptionId = SubscriptionId(*b"twelve bytes");

    fn changed(entries: &[(&str, &[(&str, &str)])]) -> Changed {
        let types = |types: &[(&str, &str)]| {
            let entry = |(name, state): &(&str, &str)| {
                (DataType::parse(name).unwrap(), State::parse(state).unwrap())
            };
            types.iter().map(entry).collect()
        };
        entries
            .iter()
            .map(|(account, states)| (AccountId::parse(account).unwrap(), types(states)))
            .collect()
    }

    fn text(part: &Part) -> &str {
        std::str::from_utf8(&part.json).unwrap()
    }

    #[test]
    fn what_fits_is_one_state_change() {
        let changed =
            changed(&[("a", &[("Email", "1"), ("Mailbox", "2")]), ("b", &[("Email", "3")])]);
        let parts = parts(ID, &changed, MAX_PLAINTEXT);
        assert_eq!(parts.len(), 1);
        assert_eq!(
            text(&parts[0]),
            r#"{"@type":"StateChange","changed":{"a":{"Email":"1","Mailbox":"2"},"b":{"Email":"3"}}}"#
        );
        assert_eq!(parts[0].urgency, Urgency::Normal);
    }

    #[test]
    fn only_new_mail_is_urgent() {
        let changed = changed(&[("a", &[("Email", "1"), ("EmailDelivery", "1")])]);
        assert_eq!(parts(ID, &changed, MAX_PLAINTEXT)[0].urgency, Urgency::High);
    }

    #[test]
    fn nothing_is_no_message() {
        assert_eq!(parts(ID, &Changed::new(), MAX_PLAINTEXT), []);
    }

    /// RFC 8291 §4; 413.
    #[test]
    fn no_part_is_too_long_and_none_is_missing() {
        let state = "s".repeat(200);
        let all: Vec<(String, Vec<(&str, &str)>)> = (0..100)
            .map(|n| (format!("account{n}"), vec![("Email", &*state), ("Thread", &*state)]))
            .collect();
        let entries: Vec<_> = all.iter().map(|(id, types)| (&**id, &**types)).collect();
        let changed = changed(&entries);
        for limit in [MAX_PLAINTEXT, 1000, 500, 300] {
            let parts = parts(ID, &changed, limit);
            assert!(parts.iter().all(|part| part.json.len() <= limit), "{limit}");
            let told: usize = parts.iter().map(|part| part.states.len()).sum();
            assert_eq!(told, 200, "{limit}");
        }
        assert!(parts(ID, &changed, MAX_PLAINTEXT).len() < 20, "what fits goes together");
    }

    #[test]
    fn of_an_account_that_does_not_fit_what_wakes_a_person_goes_first() {
        let changed =
            changed(&[("a", &[("Calendar", "1"), ("Email", "2"), ("EmailDelivery", "3")])]);
        let parts = parts(ID, &changed, 62);
        assert_eq!(parts.len(), 3);
        assert!(text(&parts[0]).contains("EmailDelivery"));
        assert!(text(&parts[2]).contains("Calendar"));
    }

    /// RFC 8030 §5.4: what is replaced may never have arrived.
    #[test]
    fn a_message_takes_only_the_place_of_one_that_told_the_same_states() {
        let of = |entries: &[(&str, &[(&str, &str)])]| {
            parts(ID, &changed(entries), MAX_PLAINTEXT)[0].topic
        };
        let email = of(&[("a", &[("Email", "1")])]);
        assert_eq!(email, of(&[("a", &[("Email", "2")])]));
        assert_ne!(email, of(&[("a", &[("Mailbox", "1")])]));
        assert_ne!(email, of(&[("b", &[("Email", "1")])]));
        let other = SubscriptionId([1; 12]);
        let theirs = parts(other, &changed(&[("a", &[("Email", "1")])]), MAX_PLAINTEXT);
        assert_ne!(email, theirs[0].topic);
    }

    /// P9.
    #[test]
    fn a_verification_is_what_the_rfc_shows() {
        assert_eq!(
            &**verification(ID, "da1f097b11ca17f06424e30bf02bfa67"),
            br#"{"@type":"PushVerification","pushSubscriptionId":"PdHdlbHZlIGJ5dGVz","verificationCode":"da1f097b11ca17f06424e30bf02bfa67"}"#
        );
    }
}
