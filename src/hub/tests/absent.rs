//! Subscribers for whom upstream cannot be asked.

use std::sync::LazyLock;

use super::*;
use crate::auth::credentials::Keyring;
use crate::auth::principal::{Absentee, Lists};

const NAME: CredentialKey = CredentialKey(2);

static KEYRING: LazyLock<Keyring> = LazyLock::new(Keyring::default);

/// A user who sees one account of mail, and left no credential.
fn absentee(id: &str) -> Arc<Principal> {
    let capabilities = vec!["urn:ietf:params:jmap:mail".to_owned()];
    let who = Absentee {
        username: "ann",
        accounts: vec![(account(id), true, capabilities)],
        api_path: "/api",
        host: None,
    };
    Arc::new(Principal::absent(who, &KEYRING, &mut Lists::default()))
}

fn subscribe_absent(hub: &Arc<Hub>, token: Option<&str>) -> Subscriber {
    let filter = TypeFilter::All;
    let wish = Wish { filter: &filter, codec: &RAW, last_event_id: token };
    hub.subscribe_absent(NAME, &absentee("a"), &wish)
}

/// Does with what is due as the prober's feeder does; gives what upstream is asked about.
async fn fed(hub: &Hub) -> Vec<AccountKey> {
    let mut due = asked(hub).await;
    due.retain(|key| hub.can_be_asked_or_presume(key, offered));
    due
}

#[tokio::test]
async fn a_hint_about_somebody_who_is_absent_tells_a_state_that_is_none_of_upstreams() {
    let hub = hub(0, 10);
    let mut absent = subscribe_absent(&hub, None);
    assert_eq!(fed(&hub).await, [], "there is no credential to ask with");
    assert!(!absent.has_pending(), "where it starts from is no change");
    hub.hint(&[account("a")], DataType::parse("Mailbox").as_ref().map(std::slice::from_ref), false);
    assert_eq!(fed(&hub).await, []);
    let first = told(&mut absent);
    assert!(first.contains(r#""Mailbox":"presumed-"#) && !first.contains("Email"), "{first}");
    hub.hint(&[account("a")], None, true);
    fed(&hub).await;
    let second = told(&mut absent);
    assert!(second.contains(r#""EmailDelivery":"presumed-"#), "{second}");
    assert!(second.contains(r#""Thread":"presumed-"#), "{second}");
    assert!(!absent.has_pending());
}

#[tokio::test]
async fn mail_that_was_changed_is_not_told_as_mail_that_was_delivered() {
    let hub = hub(0, 10);
    let mut absent = subscribe_absent(&hub, None);
    fed(&hub).await;
    hub.hint(&[account("a")], DataType::parse("Email").as_ref().map(std::slice::from_ref), false);
    fed(&hub).await;
    let told = told(&mut absent);
    assert!(told.contains(r#""Email":"presumed-"#) && !told.contains("EmailDelivery"), "{told}");
    assert!(told.contains("Mailbox"), "its counts may have changed with it: {told}");
}

#[tokio::test]
async fn after_a_restart_an_absent_one_is_told_that_something_may_have_changed() {
    let hub = hub(0, 10);
    let mut absent = subscribe_absent(&hub, Some("what it was given before"));
    fed(&hub).await;
    assert!(told(&mut absent).contains("presumed-"));
}

#[tokio::test]
async fn who_is_there_is_told_no_state_that_was_made_up_for_who_is_not() {
    let hub = hub(0, 10);
    let mut absent = subscribe_absent(&hub, None);
    fed(&hub).await;
    hub.hint(&[account("a")], None, false);
    fed(&hub).await;
    assert!(told(&mut absent).contains("presumed-"));
    let who = who_sees(absentee("a").id.0, "a", true, &["mail"]);
    let wish =
        Wish { filter: &TypeFilter::All, codec: &RAW, last_event_id: Some("some other proxy's") };
    let mut live = hub.subscribe(CREDENTIAL, &who, &wish).unwrap();
    assert_eq!(live.take(), None, "nothing is known yet");
    let due = fed(&hub).await;
    assert_eq!(due.len(), 1, "upstream is asked, now that it can be");
    let key = &due[0];
    hub.probe_sent(key);
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let answers =
        [(DataType::parse("Email").unwrap(), ProbeAnswer::State(State::parse("7").unwrap()))];
    hub.probe_answered(key, &at, &Probed { answers: &answers, delivery: None, complete: true });
    assert!(told(&mut live).contains(r#""Email":"7""#));
    assert!(told(&mut absent).contains(r#""Email":"7""#), "the truth is for both");
}

/// The phone of somebody whose desktop goes away while upstream is still to be asked.
#[tokio::test]
async fn what_upstream_was_still_to_be_asked_is_told_when_nobody_is_left_to_ask_as() {
    let hub = hub(0, 10);
    let who = who_sees(absentee("a").id.0, "a", true, &["mail"]);
    let live = subscribe(&hub, &who).unwrap();
    let key = fed(&hub).await.remove(0);
    hub.probe_sent(&key);
    let now = Moment::now();
    let at = Exchange { who: Observer::Known(who.id), sent: now, received: now };
    let state = ProbeAnswer::State(State::parse("7").unwrap());
    let answers = [(DataType::parse("Email").unwrap(), state)];
    hub.probe_answered(&key, &at, &Probed { answers: &answers, delivery: None, complete: true });
    let mut absent = subscribe_absent(&hub, None);
    fed(&hub).await;
    assert_eq!(absent.take(), None);
    hub.hint(&[account("a")], None, true);
    assert_eq!(fed(&hub).await, [key], "the desktop's credential would do");
    drop(live);
    assert_eq!(fed(&hub).await, []);
    assert!(told(&mut absent).contains("presumed-"));
}

#[test]
fn an_absent_subscriber_takes_no_live_ones_place_and_is_not_asked_about() {
    let hub = hub(1, 10);
    let _absent = (subscribe_absent(&hub, None), subscribe_absent(&hub, None));
    assert!(hub.live().is_empty(), "there is nothing to revalidate");
    assert!(hub.live_by(NAME).is_none(), "nor to listen with");
    let key = AccountKey::shared(account("a"));
    assert!(hub.probe_subject(&key, offered).is_none(), "nor to ask with");
    let who = principal(1, &["b"]);
    assert!(subscribe(&hub, &who).is_ok() && subscribe(&hub, &who).is_ok());
}

#[tokio::test]
async fn the_service_is_asked_for_who_is_absent() {
    let limits =
        Limits { per_user: 0, accounts: 10, scope: AccountScope::Global, as_service: true };
    let hub = Hub::new(limits);
    let _absent = subscribe_absent(&hub, None);
    assert_eq!(fed(&hub).await, [AccountKey::shared(account("a"))]);
    assert!(hub.probe_subject(&AccountKey::shared(account("a")), offered).is_some());
}
