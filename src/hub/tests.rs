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
use crate::state::fact::{Fact, PrincipalId};
use crate::state::types::TypeFilter;

const CREDENTIAL: CredentialKey = CredentialKey(1);

fn hub(per_user: usize, accounts: usize) -> Arc<Hub> {
    Hub::new(Limits { per_user, accounts, scope: AccountScope::Global })
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

/// A user with personal accounts.
fn principal(user: u64, accounts: &[&str]) -> Arc<Principal> {
    let access = Access { is_personal: true, capabilities: Arc::new([]) };
    Arc::new(Principal {
        id: PrincipalId(user),
        username: String::new(),
        accounts: accounts.iter().map(|id| (account(id), access.clone())).collect(),
        api_path: "/".into(),
        session_state: "0".into(),
        limits: CoreLimits::default(),
        credentials: Arc::new(Credentials::from_headers(&HeaderMap::new())),
    })
}

fn subscribe(hub: &Arc<Hub>, who: &Arc<Principal>) -> Result<Subscriber, TooMany> {
    let wish = Wish { filter: &TypeFilter::All, codec: &RAW, last_event_id: None };
    hub.subscribe(CREDENTIAL, who, &wish)
}

/// A response to `who` says that something in the account changed.
fn change(hub: &Hub, who: &Arc<Principal>, id: &str, to: &str) {
    let fact = Fact {
        data_type: DataType::parse("Email").unwrap(),
        state: State::parse(to).unwrap(),
        old_state: State::parse("before"),
        created: false,
    };
    let now = Moment::now();
    hub.observe(Seen { who: Some(who), sent: now, received: now }, &account(id), &[fact]);
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
