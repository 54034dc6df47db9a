//! Answers of push services, good and ill (protocol.md §5.7; hostile.md X8, X11).

use serde_json::Value;

use super::{Device, subscriptions};
use crate::support::push_service::StoreFolder;
use crate::support::{Cyrus, Instant, Proxy, PushService};

/// §5.7: what a push service answers to the first StateChange after the verification.
#[test]
fn what_a_push_service_answers_is_heeded() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    // Nobody may subscribe twice in ten seconds.
    let mut users = (1..).map(|number| proxy.caller(&format!("user{number}")));
    let mut subscribe = |path| {
        let user = users.next().expect("a user");
        let device = Device::subscribe(&mut service, &user, path);
        (user, device)
    };
    let ended = ["/201,410/a", "/201,404/b", "/201,302/c"].map(&mut subscribe);
    let mut told = ["/201,429,201/d", "/201,503,201/e"].map(&mut subscribe);

    let all = ended.iter().chain(&told);
    let all: Vec<_> = all.map(|(user, _)| user.account.clone()).collect();
    cyrus.deliver_many(&all, all.len());
    let paused = Instant::now();
    for (user, device) in &mut told {
        let refused = service.next(&device.path);
        assert_ne!(refused["status"], 201, "{refused}");
        // What comes in the meantime goes with what waits.
        cyrus.deliver(&user.account);
        device.agrees_with(&mut service, &cyrus.caller(&user.account));
    }
    // Retry-After, and one message for both mails.
    let (_, slow) = &told[0];
    assert!(paused.elapsed().as_secs_f32() > 2.5, "{:?}", paused.elapsed());
    assert_eq!(slow.log.len(), 1, "{:#?}", slow.log);

    // What is gone is gone; a redirect is not followed, and counts as trouble that may pass (X8).
    for ((user, device), kept) in ended.into_iter().zip([0, 0, 1]) {
        let came = service.rest(&device.path);
        assert!(came.len() == 1 || kept == 1, "{came:?}");
        assert_eq!(subscriptions(&user).len(), kept, "{}", device.path);
    }
    assert_eq!(service.rest("/201/redirected"), [] as [Value; 0]);
    proxy.stop();
}

/// hostile.md X8: neither keeps anybody waiting, nor is read for longer than it takes to know enough.
#[test]
fn a_push_service_that_drips_or_never_ends_delays_nobody() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let settings = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store);
    let proxy = settings.set("PUSH__TIMEOUT", "1s").start();
    let mut subscribe = |user, path| {
        let user = proxy.caller(user);
        let device = Device::subscribe(&mut service, &user, path);
        (user, device)
    };
    let ill = [subscribe("user1", "/201,drip,201/a"), subscribe("user2", "/201,endless,201/b")];
    let (_, mut well) = subscribe("user3", "/201/c");

    cyrus.deliver_many(&["user1", "user2", "user3"].map(str::to_owned), 3);
    well.hears_of_a_delivery(&mut service, "user3");
    for (user, mut device) in ill {
        let first = service.next(&device.path);
        assert!(first["status"].is_string(), "{first}");
        let closed = service.next(&format!("{}/closed", device.path));
        // What the buffers on the way hold, and no more.
        assert!(closed["octets"].as_u64().is_some_and(|octets| octets < 16 << 20), "{closed}");
        cyrus.deliver(&user.account);
        device.agrees_with(&mut service, &cyrus.caller(&user.account));
    }
    proxy.stop();
}

/// RFC 8030 §7.2: a mail in each of many accounts that carol sees, while her push service rests.
#[test]
fn a_push_service_that_takes_less_is_sent_less() {
    const OWNERS: [&str; 8] =
        ["user1", "user2", "user3", "user4", "user5", "user6", "user7", "user8"];
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    let _shares = OWNERS.map(|owner| cyrus.share(owner, "carol"));
    let path = "/201,503,503,413,201/f";
    let mut device = Device::subscribe(&mut service, &proxy.caller("carol"), path);
    cyrus.deliver("carol");
    assert_eq!(service.next(path)["status"], 503);
    cyrus.deliver_many(&OWNERS.map(str::to_owned), OWNERS.len());
    assert_eq!(service.next(path)["status"], 503);
    let length = |message: &Value| message["message"].to_string().len();

    let refused = service.next(path);

    assert_eq!(refused["status"], 413, "{refused}");
    assert!(length(&refused) > 512, "{refused}");
    let most = (length(&refused) / 2).max(512);
    let server = cyrus.caller("carol");
    let all: Vec<_> = refused["message"]["changed"].as_object().expect("accounts").keys().collect();
    while !all.iter().all(|account| device.known.keys().any(|known| known.0 == **account)) {
        let sent = device.hear(&mut service);
        assert!(length(&sent) <= most, "{most}: {sent}");
    }
    device.agrees_with(&mut service, &server);
    proxy.stop();
}
