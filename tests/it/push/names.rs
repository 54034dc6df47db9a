//! The policy at the very address that is dialled (hostile.md X6, X7).

use http::StatusCode;
use jmap_push_proxy::push::target::address::Denied;
use jmap_push_proxy::push::target::outcome::Unreachable;

use super::*;

const CLOSING: &str = "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const CREATED: Outcome = Outcome::Accepted(StatusCode::CREATED);

fn denied(why: Denied) -> Outcome {
    Outcome::Unreachable(Unreachable::Denied(why))
}

/// A receiver that closes after each answer, and a listener on the same port in the part of 127/8 that
/// must not be reached.
async fn receiver_and_canary(ca: &Ca) -> (Receiver, Receiver) {
    let receiver = Receiver::tls(ca, |mut accepted| async move {
        accepted.request().await;
        accepted.send(CLOSING).await;
    })
    .await;
    let at = format!("127.9.0.1:{}", receiver.address.port());
    let canary = Receiver::tls_at(&at, NAME, ca, |_| async {}).await;
    (receiver, canary)
}

#[tokio::test]
async fn a_name_that_turns_to_an_inner_address_gains_nothing() {
    let ca = Ca::new();
    let (receiver, canary) = receiver_and_canary(&ca).await;
    let pusher = Pusher::to(&receiver, &ca);
    pusher.resolve(NAME, &[&["127.0.0.1"], &["127.9.0.1"], &["127.0.0.1"], &["169.254.169.254"]]);
    assert_eq!(pusher.push(NAME).await, CREATED);
    assert_eq!(pusher.push(NAME).await, denied(Denied::Reserved));
    assert_eq!(pusher.push(NAME).await, CREATED);
    assert_eq!(pusher.push(NAME).await, denied(Denied::Metadata));
    assert_eq!((receiver.accepted(), canary.accepted()), (2, 0));
}

#[tokio::test]
async fn one_bad_address_among_good_ones_refuses_all() {
    let ca = Ca::new();
    let (receiver, canary) = receiver_and_canary(&ca).await;
    let pusher = Pusher::to(&receiver, &ca);
    for answer in [
        &["127.9.0.1", "127.0.0.1"][..],
        &["127.0.0.1", "127.9.0.1"],
        &["127.0.0.1", "::ffff:127.9.0.1"],
        &["127.0.0.1", "::1"],
        &["127.0.0.1", "64:ff9b::7f09:1"],
        &["::ffff:7f09:1"],
    ] {
        pusher.resolve(NAME, &[answer]);
        assert_eq!(pusher.push(NAME).await, denied(Denied::Reserved), "{answer:?}");
    }
    assert_eq!((receiver.accepted(), canary.accepted()), (0, 0));
}

#[tokio::test]
async fn an_address_that_is_our_own_by_now_is_not_dialled() {
    let ca = Ca::new();
    let (receiver, _) = receiver_and_canary(&ca).await;
    let mut pusher = Pusher::to(&receiver, &ca);
    let target = pusher.target("127.0.0.1");
    pusher.policy.own_addresses.push("127.0.0.1".parse().unwrap());
    let names = pusher.names.clone();
    let resolver = Resolver::Table(Arc::new(move |name| names.answer(name)));
    let sender = Sender::new(pusher.policy, resolver, Some(ca.file()), LIMITS).unwrap();
    assert_eq!(sender.post(&target, message()).await, denied(Denied::Own));
    assert_eq!(receiver.accepted(), 0);
}

/// X6.
#[tokio::test]
async fn an_address_that_the_mail_server_s_name_has_is_not_dialled() {
    let ca = Ca::new();
    let (receiver, _) = receiver_and_canary(&ca).await;
    let mut pusher = Pusher::to(&receiver, &ca);
    pusher.policy.neighbours.push("jmap.inner".to_owned());
    pusher.resolve("jmap.inner", &[&["127.0.0.2", "127.0.0.1"]]);
    let names = pusher.names.clone();
    let resolver = Resolver::Table(Arc::new(move |name| names.answer(name)));
    pusher.sender = Sender::new(pusher.policy.clone(), resolver, Some(ca.file()), LIMITS).unwrap();
    assert_eq!(pusher.push(NAME).await, denied(Denied::Own));
    assert_eq!(pusher.push("127.0.0.1").await, denied(Denied::Own));
    assert_eq!(receiver.accepted(), 0);
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_passed_over() {
    let ca = Ca::new();
    let (receiver, _) = receiver_and_canary(&ca).await;
    let pusher = Pusher::to(&receiver, &ca);
    pusher.resolve(NAME, &[&["127.0.0.3", "127.0.0.4", "127.0.0.1"]]);
    assert_eq!(pusher.push(NAME).await, CREATED);
    pusher.resolve(NAME, &[&["127.0.0.3"]]);
    assert_eq!(pusher.push(NAME).await, Outcome::Unreachable(Unreachable::Connect));
}

#[tokio::test]
async fn a_name_without_an_address_cannot_be_reached() {
    let ca = Ca::new();
    let (receiver, _) = receiver_and_canary(&ca).await;
    let pusher = Pusher::to(&receiver, &ca);
    pusher.resolve(NAME, &[&[]]);
    assert_eq!(pusher.push(NAME).await, Outcome::Unreachable(Unreachable::Dns));
}

#[tokio::test]
async fn the_system_resolves_names_too() {
    let ca = Ca::new();
    let receiver = Receiver::tls_at("127.0.0.1:0", "localhost", &ca, |mut accepted| async move {
        accepted.request().await;
        accepted.send(CLOSING).await;
    })
    .await;
    let mut policy = Pusher::to(&receiver, &ca).policy;
    policy.allow_networks.push("::1/128".parse().unwrap());
    let sender = Sender::new(policy.clone(), Resolver::System, Some(ca.file()), LIMITS).unwrap();
    let at = |name| format!("https://{name}:{}/", receiver.address.port());
    let target = Target::parse(&at("localhost"), &policy).unwrap();
    assert_eq!(within("push", sender.post(&target, message())).await, CREATED);
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_and_of_someone_believed() {
    let ca = Ca::new();
    let (receiver, _) = receiver_and_canary(&ca).await;
    let pusher = Pusher::to(&receiver, &ca);
    pusher.resolve("other.example", &[&["127.0.0.1"]]);
    let no_tls = Outcome::Unreachable(Unreachable::Tls);
    assert_eq!(pusher.push("other.example").await, no_tls);
    assert_eq!(pusher.push("127.0.0.1").await, no_tls);
    assert_eq!(Pusher::to(&receiver, &Ca::new()).push(NAME).await, no_tls);
}

#[tokio::test]
async fn an_address_in_the_url_is_dialled_without_a_resolver() {
    let ca = Ca::new();
    let receiver = Receiver::tls_at("127.0.0.1:0", "127.0.0.1", &ca, |mut accepted| async move {
        accepted.request().await;
        accepted.send(CLOSING).await;
    })
    .await;
    assert_eq!(Pusher::to(&receiver, &ca).push("127.0.0.1").await, CREATED);
}
