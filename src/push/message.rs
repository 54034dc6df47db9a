//! What is pushed to a subscription (RFC 8620 §7.1, §7.2.2; P1), as JSON: in parts that push services take, each
//! with its urgency and topic (RFC 8030 §5.3, §5.4). Pure; neither encrypts nor sends.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256, digest};
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

/// The messages that tell `changed`, none longer than `limit` octets unless the names of one account and
/// one type alone are, which may have 852.
pub(super) fn parts(id: SubscriptionId, changed: &Changed, limit: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = Changed::new();
    let frame = json(BTreeMap::new()).len();
    // Each account with a comma, of which the last has none.
    let mut length = frame;
    for (account, types) in changed {
        let whole = octets(account, types.iter());
        if whole <= limit {
            let more = whole - frame + 1;
            if length + more > limit + 1 {
                parts.extend(part(id, &std::mem::take(&mut open)));
                length = frame;
            }
            length += more;
            open.insert(account.clone(), types.clone());
            continue;
        }
        parts.extend(part(id, &std::mem::take(&mut open)));
        length = frame;
        for group in groups(account, types, limit) {
            parts.extend(part(id, &Changed::from([(account.clone(), group)])));
        }
    }
    parts.extend(part(id, &open));
    parts
}

/// One account's states in groups that fit, those that matter most first. In place of a state that would not
/// fit by itself (1,024 octets, each of which may be six in JSON) there is one that stands for it.
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
        let fits = octets(account, [(name, state)].into_iter()) <= limit;
        let state = if fits { state.clone() } else { stand_in(state) };
        let grown = octets(account, last.iter().chain([(name, &state)]));
        if !last.is_empty() && grown > limit {
            groups.push(BTreeMap::from([(name.clone(), state)]));
        } else {
            last.insert(name.clone(), state);
        }
    }
    groups
}

/// One that the client does not have, so that it asks; the same for the same state, so that it asks once.
fn stand_in(state: &State) -> State {
    let digest = digest(&SHA256, state.as_str().as_bytes());
    let (number, _) = digest.as_ref().split_first_chunk().unwrap_or((&[0; 16], &[]));
    State::invent(u128::from_be_bytes(*number))
}

/// Octets of a `StateChange` with one account.
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
    fn accounts_share_a_message_to_its_last_octet() {
        let names: Vec<String> = (10..70).map(|n| format!("account{n}")).collect();
        let entries: Vec<_> = names.iter().map(|name| (&**name, &[("Email", "1")][..])).collect();
        let changed = changed(&entries);
        let whole = parts(ID, &changed, usize::MAX / 2)[0].json.len();
        assert_eq!(parts(ID, &changed, whole).len(), 1);
        let two = parts(ID, &changed, whole - 1);
        assert_eq!(two.iter().map(|part| part.states.len()).collect::<Vec<_>>(), [59, 1]);
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

    /// X12: a message that cannot be sealed would hold up those behind it for ever. What a server says is
    /// its own affair: 1,024 octets that JSON writes as 6,144.
    #[test]
    fn a_state_that_fits_into_no_message_is_told_by_one_that_stands_for_it() {
        let long = |octet: &str| octet.repeat(1024);
        let (first, second) = (long("\u{1}"), long("\u{2}"));
        let told = |state: &str, limit| {
            let changed =
                changed(&[("a", &[("Email", state), ("Mailbox", "2")]), ("b", &[("Email", "3")])]);
            let parts = parts(ID, &changed, limit);
            assert!(parts.iter().all(|part| part.json.len() <= limit), "{parts:?}");
            assert_eq!(parts.iter().map(|part| part.states.len()).sum::<usize>(), 3);
            let found = parts.iter().find_map(|part| {
                let json: serde_json::Value = serde_json::from_slice(&part.json).unwrap();
                json["changed"]["a"]["Email"].as_str().map(ToOwned::to_owned)
            });
            State::parse(&found.unwrap()).unwrap()
        };
        let stands_in = told(&first, MAX_PLAINTEXT);
        assert!(stands_in.is_invented());
        assert_eq!(stands_in, told(&first, MAX_PLAINTEXT), "the client is to ask once");
        assert_ne!(stands_in, told(&second, MAX_PLAINTEXT), "it has changed");
        assert_eq!(told(&long("s"), MAX_PLAINTEXT).as_str(), long("s"), "this one fits");
        assert!(told(&long("s"), 512).is_invented(), "not after a 413");
    }

    /// X12.
    #[test]
    fn the_longest_names_there_are_fit() {
        let (account, name) = ("\"".repeat(255), "T".repeat(255));
        let changed = changed(&[(&account, &[(&name, &*"\u{1}".repeat(1024))])]);
        let parts = parts(ID, &changed, MAX_PLAINTEXT);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].json.len(), 852);
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
