//! What a stream of one user must never get, and what the hub must not keep.

use std::sync::Arc;

use http::HeaderMap;

use super::{Hub, Limits, Seen, Subscriber, TooMany, Wish};
use crate::auth::principal::Access;
use crate::auth::{CredentialKey, Credentials, Principal};
use crate::clock::Moment;
use crate::config::AccountScope;
use crate::event_source::encode::RAW;
use crate::jmap::id::{AccountId, DataType, State};
use crate::jmap::session::CoreLimits;
use crate::probe::offered;
use crate::state::fact::{
    AccountKey, Delivery, Exchange, Fact, Observer, PrincipalId, ProbeAnswer, Probed,
};
use crate::state::types::TypeFilter;

mod absent;

const CREDENTIAL: CredentialKey = CredentialKey(1);

fn hub(per_user: usize, accounts: usize) -> Arc<Hub> {
    Hub::new(Limits { per_user, accounts, scope: AccountScope::Global, as_service: false })
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

/// A user with personal accounts.
fn principal(user: u64, accounts: &[&str]) -> Arc<Principal> {
    let access = Access { is_personal: true, capabilities: Arc::new([]) };
    Arc::new(Principal {
        capabilities: Arc::default(),
        id: PrincipalId(user),
        username: String::new(),
        accounts: accounts.iter().map(|id| (account(id), access.clone())).collect(),
        api_path: "/".into(),
        session_state: "0".into(),
        limits: CoreLimits::default(),
        push: Arc::default(),
        credentials: Arc::new(Credentials::from_headers(&HeaderMap::new())),
    })
}

/// A user who sees one account, with these capabilities.
fn who_sees(user: u64, id: &str, is_personal: bool, capabilities: &[&str]) -> Arc<Principal> {
    let capabilities =
        capabilities.iter().map(|name| format!("urn:ietf:params:jmap:{name}")).collect();
    let Ok(mut principal) = Arc::try_unwrap(principal(user, &[])) else { unreachable!() };
    principal.accounts.insert(account(id), Access { is_personal, capabilities });
    Arc::new(principal)
}

fn subscribe(hub: &Arc<Hub>, who: &Arc<Principal>) -> Result<Subscriber, TooMany> {
    subscribe_as(hub, CREDENTIAL, who)
}

fn subscribe_as(
    hub: &Arc<Hub>,
    credential: CredentialKey,
    who: &Arc<Principal>,
) -> Result<Subscriber, TooMany> {
    let wish = Wish { filter: &TypeFilter::All, codec: &RAW, last_event_id: None };
    hub.subscribe(credential, who, &wish)
}

/// What upstream is to be asked about, since this was called last.
async fn asked(hub: &Hub) -> Vec<AccountKey> {
    tokio::select! {
        biased;
        due = hub.probes().take() => due.ask.into_keys().collect(),
        () = std::future::ready(()) => Vec::new(),
    }
}

/// A response to `who` says that something in the account changed.
fn change(hub: &Hub, who: &Arc<Principal>, id: &str, to: &str) {
    change_by(hub, Some(who), id, to);
}

fn change_by(hub: &Hub, who: Option<&Arc<Principal>>, id: &str, to: &str) {
    let fact = Fact {
        data_type: DataType::parse("Email").unwrap(),
        state: State::parse(to).unwrap(),
        old_state: State::parse("before"),
        created: false,
    };
    let now = Moment::now();
    hub.observe(Seen { who, sent: now, received: now }, &account(id), &[fact]);
}

fn told(subscriber: &mut Subscriber) -> String {
    let bytes = subscriber.take().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_was_encoded_for_others_is_not_given_to_one_whose_account_was_withdrawn_since() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine", "lent"]);
    let (mut quick, mut slow) = (subscribe(&hub, &who).unwrap(), subscribe(&hub, &who).unwrap());
    change(&hub, &who, "mine", "m1");
    change(&hub, &who, "lent", "l1");
    assert!(told(&mut quick).contains("lent"));
    hub.revalidated(CREDENTIAL, &principal(1, &["mine"]));
    let told = told(&mut slow);
    assert!(told.contains("m1") && !told.contains("lent"), "{told}");
}

#[test]
fn a_credential_that_changes_its_user_takes_its_streams_from_one_count_to_the_other() {
    let hub = hub(1, 10);
    let (before, after) = (principal(1, &["a"]), principal(2, &["b"]));
    let stream = subscribe(&hub, &before).unwrap();
    hub.revalidated(CREDENTIAL, &after);
    assert_eq!(subscribe(&hub, &after).unwrap_err(), TooMany(1));
    drop(stream);
    drop(subscribe(&hub, &before).unwrap());
    drop(subscribe(&hub, &after).unwrap());
}

#[test]
fn owners_of_accounts_that_nobody_watches_are_forgotten() {
    let hub = hub(0, 3);
    for user in 0..100 {
        drop(subscribe(&hub, &principal(user, &[&format!("a{user}")])).unwrap());
    }
    let known = hub.lock().owners.len();
    assert!(known <= 4, "{known}");
}

/// Whoever was asked last is not who can be asked for most.
#[test]
fn an_account_is_asked_about_as_who_is_offered_most_of_it() {
    let hub = hub(0, 10);
    let key = AccountKey::shared(account("alice"));
    let bob = who_sees(2, "alice", false, &["mail"]);
    let _his = subscribe_as(&hub, CredentialKey(2), &bob).unwrap();
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(bob.id), sent: now, received: now };
    hub.probe_sent(&key);
    hub.probe_answered(&key, &at, &Probed { answers: &[], delivery: None, complete: true });
    let carol = who_sees(3, "alice", false, &["mail", "submission"]);
    let _hers = subscribe_as(&hub, CredentialKey(3), &carol).unwrap();
    assert_eq!(hub.probe_subject(&key, offered).unwrap().principal.id, carol.id);
    let alice = who_sees(1, "alice", true, &["mail", "submission", "vacationresponse"]);
    let _hers = subscribe_as(&hub, CredentialKey(1), &alice).unwrap();
    let subject = hub.probe_subject(&key, offered).unwrap();
    assert_eq!(subject.principal.id, alice.id);
    assert!(subject.types.iter().any(|name| name.as_str() == "VacationResponse"));
}

/// The same id is another account to each user, and says nothing about the others'.
#[tokio::test]
async fn a_change_where_ids_are_per_user_concerns_one_user() {
    let hub = Hub::new(Limits {
        per_user: 0,
        accounts: 10,
        scope: AccountScope::PerUser,
        as_service: false,
    });
    let users = [principal(1, &["own"]), principal(2, &["own"])];
    let _first = subscribe_as(&hub, CredentialKey(1), &users[0]).unwrap();
    let _second = subscribe_as(&hub, CredentialKey(2), &users[1]).unwrap();
    assert_eq!(asked(&hub).await.len(), 2, "baselines");
    change(&hub, &users[0], "own", "s1");
    let other = AccountKey::scoped(account("own"), users[1].id);
    assert!(!asked(&hub).await.contains(&other));
    hub.unknown(&users[0], &[account("own")]);
    assert!(!asked(&hub).await.contains(&other));
    // Whose it is that a caller of whom nothing is known was told, nobody knows.
    change_by(&hub, None, "own", "s2");
    assert!(asked(&hub).await.contains(&other));
}

/// One collision says nothing about other ids.
#[test]
fn an_id_that_two_users_have_is_kept_apart_and_no_other() {
    let hub = hub(0, 10);
    let first = principal(1, &["own", "a"]);
    let second = principal(2, &["own", "b"]);
    let _first = subscribe_as(&hub, CredentialKey(1), &first).unwrap();
    let _second = subscribe_as(&hub, CredentialKey(2), &second).unwrap();
    let inner = hub.lock();
    assert_eq!(inner.key_of(&account("own"), second.id).scope, Some(second.id));
    assert_eq!(inner.key_of(&account("b"), second.id).scope, None);
}

fn who_wants_nothing(hub: &Arc<Hub>, who: &Arc<Principal>) -> Subscriber {
    let wish = Wish { filter: &TypeFilter::only([]), codec: &RAW, last_event_id: None };
    hub.subscribe(CREDENTIAL, who, &wish).unwrap()
}

/// A WebSocket without push costs upstream nothing, but its credential is looked after.
#[tokio::test]
async fn for_who_wants_nothing_nobody_is_asked() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let mut idle = who_wants_nothing(&hub, &who);
    change(&hub, &who, "mine", "m1");
    assert_eq!(idle.take(), None);
    assert_eq!(asked(&hub).await, []);
    assert_eq!(hub.live().len(), 1);
    idle.change(&TypeFilter::All, None);
    assert_eq!(asked(&hub).await, [AccountKey::shared(account("mine"))]);
    idle.change(&TypeFilter::only([]), None);
    drop(idle);
    assert!(hub.live().is_empty());
}

/// RFC 8887 §4.3.5.2: it keeps its bell, so that what ends it still does.
#[test]
fn who_changes_its_wish_is_ended_with_its_credential() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let mut subscriber = who_wants_nothing(&hub, &who);
    hub.revoke(CREDENTIAL);
    subscriber.change(&TypeFilter::All, None);
    assert!(subscriber.wake().is_revoked());
    drop(subscriber);
    assert!(hub.live().is_empty());
}

/// What nobody knew when the wish came is told, changed or not; what was known is where it starts.
#[test]
fn who_changes_its_wish_is_told_what_was_not_known_then() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let mut first = who_wants_nothing(&hub, &who);
    first.change(&TypeFilter::All, None);
    let key = AccountKey::shared(account("mine"));
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let email = DataType::parse("Email").unwrap();
    let answers = [(email, ProbeAnswer::State(State::parse("m1").unwrap()))];
    hub.probe_sent(&key);
    hub.probe_answered(&key, &at, &Probed { answers: &answers, delivery: None, complete: true });
    assert!(told(&mut first).contains("m1"));
    let mut second = who_wants_nothing(&hub, &who);
    second.change(&TypeFilter::All, None);
    assert_eq!(second.take(), None);
    change(&hub, &who, "mine", "m2");
    assert!(told(&mut second).contains("m2"));
}

/// The account's `Email` is probed, and found in this state.
fn probe(hub: &Hub, who: &Principal, id: &str, state: &str) {
    let key = AccountKey::shared(account(id));
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let email = DataType::parse("Email").unwrap();
    let answers = [(email, ProbeAnswer::State(State::parse(state).unwrap()))];
    hub.probe_sent(&key);
    hub.probe_answered(&key, &at, &Probed { answers: &answers, delivery: None, complete: true });
}

/// A wish that comes together with a change, or while the last one is throttled, loses nothing.
#[test]
fn what_was_pending_when_the_wish_changed_is_told_all_the_same() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let only = |names: &[&str]| TypeFilter::only(names.iter().filter_map(|n| DataType::parse(n)));
    let mut subscriber = who_wants_nothing(&hub, &who);
    subscriber.change(&only(&["Email"]), None);
    probe(&hub, &who, "mine", "m1");
    assert!(told(&mut subscriber).contains("m1"));
    change(&hub, &who, "mine", "m2");
    subscriber.change(&only(&["Email", "Mailbox"]), None);
    probe(&hub, &who, "mine", "m2");
    assert!(told(&mut subscriber).contains("m2"));
    change(&hub, &who, "mine", "m3");
    subscriber.change(&only(&["Email"]), None);
    assert!(told(&mut subscriber).contains("m3"));
    assert_eq!(subscriber.take(), None);
    // Who wanted nothing in between starts anew.
    change(&hub, &who, "mine", "m4");
    subscriber.change(&only(&[]), None);
    let _other = subscribe(&hub, &who).unwrap();
    probe(&hub, &who, "mine", "m4");
    subscriber.change(&TypeFilter::All, None);
    assert_eq!(subscriber.take(), None);
}

/// A `pushState` that waits for what it is compared with is not forgotten for a wish without one.
#[test]
fn a_push_state_that_was_not_compared_yet_survives_a_change_of_wish() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let _other = subscribe(&hub, &who).unwrap();
    probe(&hub, &who, "mine", "m1");
    let mut subscriber = who_wants_nothing(&hub, &who);
    subscriber.change(&TypeFilter::All, Some("forged"));
    subscriber.change(&TypeFilter::All, None);
    assert!(told(&mut subscriber).contains("m1"));
    assert_eq!(subscriber.take(), None);
}

/// A probe of the account, sent now, finds this state of all mail.
fn probe_mail(hub: &Hub, who: &Arc<Principal>, id: &str, state: &str) {
    let key = AccountKey::shared(account(id));
    hub.probe_sent(&key);
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let answer = |name| {
        let state = ProbeAnswer::State(State::parse(state).unwrap());
        (DataType::parse(name).unwrap(), state)
    };
    let answers = ["Email", "Mailbox", "Thread"].map(answer);
    hub.probe_answered(&key, &at, &Probed { answers: &answers, delivery: None, complete: true });
}

/// A hub that has learnt that counts are states, up to `last`, and its one subscriber, who wants these
/// types.
async fn counting(filter: &TypeFilter, last: u64) -> (Arc<Hub>, Subscriber) {
    let (hub, who) = (hub(0, 10), principal(1, &["alice"]));
    let wish = Wish { filter, codec: &RAW, last_event_id: None };
    let mut subscriber = hub.subscribe(CREDENTIAL, &who, &wish).unwrap();
    probe_mail(&hub, &who, "alice", "1");
    for count in 2..=last {
        hub.counted(&account("alice"), Some(count), false);
        assert_eq!(asked(&hub).await.len(), 1, "{count}: not proved yet");
        // Moments are microseconds: the answer must be later than the count.
        let told = Moment::now();
        while Moment::now() <= told {}
        probe_mail(&hub, &who, "alice", &count.to_string());
        assert!(told_to(&mut subscriber).contains(&format!("\"Email\":\"{count}\"")));
    }
    (hub, subscriber)
}

fn told_to(subscriber: &mut Subscriber) -> String {
    subscriber.take().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
}

fn mail() -> TypeFilter {
    let types = ["Email", "Mailbox", "Thread"];
    TypeFilter::only(types.into_iter().filter_map(DataType::parse))
}

#[tokio::test]
async fn a_count_that_has_proved_to_be_the_state_is_told_without_asking() {
    let (hub, mut subscriber) = counting(&mail(), 9).await;
    hub.counted(&account("alice"), Some(10), false);
    let told = told_to(&mut subscriber);
    for name in ["Email", "Mailbox", "Thread"] {
        assert!(told.contains(&format!("\"{name}\":\"10\"")), "{told}");
    }
    // The delivery itself, whose count was told, and an event that comes late.
    hub.counted(&account("alice"), None, true);
    hub.counted(&account("alice"), Some(9), false);
    assert_eq!(asked(&hub).await, []);
    assert_eq!(told_to(&mut subscriber), "");
}

#[tokio::test]
async fn a_delivery_is_told_with_its_count_and_without_asking() {
    let (hub, mut subscriber) = counting(&TypeFilter::All, 9).await;
    hub.counted(&account("alice"), Some(10), true);
    let told = told_to(&mut subscriber);
    assert!(
        told.contains("\"EmailDelivery\":\"10\"") && told.contains("\"Email\":\"10\""),
        "{told}"
    );
    // A flag, then a delivery told apart from its count.
    hub.counted(&account("alice"), Some(11), false);
    assert!(!told_to(&mut subscriber).contains("EmailDelivery"));
    hub.counted(&account("alice"), Some(12), false);
    hub.counted(&account("alice"), None, true);
    assert!(told_to(&mut subscriber).contains("\"EmailDelivery\":\"12\""));
    assert_eq!(asked(&hub).await, []);
}

/// RFC 8621 §1.5: that it was not told must not be the last word.
#[tokio::test]
async fn an_addition_that_no_event_told_of_is_found_by_the_next_probe() {
    let (hub, mut subscriber) = counting(&TypeFilter::All, 9).await;
    let who = principal(1, &["alice"]);
    hub.counted(&account("alice"), Some(10), false);
    let _ = told_to(&mut subscriber);
    let key = AccountKey::shared(account("alice"));
    let since = hub.probe_subject(&key, offered).unwrap().delivery_since.unwrap();
    assert_eq!(since.as_str(), "9");
    hub.probe_sent(&key);
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let email = ProbeAnswer::State(State::parse("10").unwrap());
    let answers = [(DataType::parse("Email").unwrap(), email)];
    let delivery = Some(Delivery { since, created: true });
    hub.probe_answered(&key, &at, &Probed { answers: &answers, delivery, complete: true });
    assert!(told_to(&mut subscriber).contains("\"EmailDelivery\":\"10\""));
}

#[tokio::test]
async fn counts_are_hints_again_once_a_probe_contradicts_them() {
    let (hub, mut subscriber) = counting(&mail(), 9).await;
    let who = principal(1, &["alice"]);
    hub.counted(&account("alice"), Some(10), false);
    let _ = told_to(&mut subscriber);
    let told = Moment::now();
    while Moment::now() <= told {}
    probe_mail(&hub, &who, "alice", "J10");
    assert!(told_to(&mut subscriber).contains("\"Email\":\"J10\""));
    hub.counted(&account("alice"), Some(11), false);
    assert_eq!(told_to(&mut subscriber), "");
    assert_eq!(asked(&hub).await.len(), 1);
}

/// An account that comes is all new, and what was added to it before it was looked at is not known.
#[test]
fn an_account_that_comes_brings_its_email_delivery() {
    let hub = hub(0, 10);
    let filter = TypeFilter::only(DataType::parse("EmailDelivery"));
    let wish = Wish { filter: &filter, codec: &RAW, last_event_id: None };
    let mut subscriber = hub.subscribe(CREDENTIAL, &principal(1, &[]), &wish).unwrap();
    let who = principal(1, &["lent"]);
    hub.revalidated(CREDENTIAL, &who);
    assert_eq!(subscriber.take(), None, "nothing is known yet");
    probe(&hub, &who, "lent", "l1");
    assert!(told(&mut subscriber).contains("\"EmailDelivery\":\"l1\""));
}

/// What is told while a token waits to be compared is not told once more when it is.
#[test]
fn what_was_told_while_a_token_waited_is_not_told_again() {
    let hub = hub(0, 10);
    let who = principal(1, &["mine"]);
    let filter = TypeFilter::only(DataType::parse("Email"));
    let wish = Wish { filter: &filter, codec: &RAW, last_event_id: Some("forged") };
    let mut subscriber = hub.subscribe(CREDENTIAL, &who, &wish).unwrap();
    change(&hub, &who, "mine", "m1");
    assert!(told(&mut subscriber).contains("m1"));
    probe(&hub, &who, "mine", "m1");
    assert_eq!(subscriber.take(), None);
    change(&hub, &who, "mine", "m2");
    assert!(told(&mut subscriber).contains("m2"));
}

#[tokio::test]
async fn a_leap_is_asked_about_and_spoils_no_count_after_it() {
    let (hub, mut subscriber) = counting(&mail(), 9).await;
    let who = principal(1, &["alice"]);
    hub.counted(&account("alice"), Some(1_000_000_000), false);
    assert_eq!(told_to(&mut subscriber), "");
    assert_eq!(asked(&hub).await.len(), 1);
    probe_mail(&hub, &who, "alice", "9");
    hub.counted(&account("alice"), Some(10), false);
    assert!(told_to(&mut subscriber).contains("\"Email\":\"10\""), "still believed");
}
