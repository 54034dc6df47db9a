//! Who is told while not connected (RFC 8620 §7.2): subscriptions made through the proxy in front of
//! Cyrus, and a push service whose device reads what it is sent by libraries that others wrote.
//!
//! Cyrus tells of changes itself and no probe comes by interval.

mod answers;

use serde_json::{Value, json};

use crate::support::jmap::{Caller, States, results};
use crate::support::listener::WebApp;
use crate::support::proxy::free_address;
use crate::support::push_service::StoreFolder;
use crate::support::{Client, Cyrus, Instant, PATIENCE, Proxy, PushService, eventually};

/// A device behind the push service, of a user who has subscribed with it.
struct Device {
    path: String,
    /// What it was told, the last of each.
    known: States,
    /// Every StateChange, for a failure's message.
    log: Vec<Value>,
}

impl Device {
    /// Subscribes for all types, gets the verification, and shows its code (§7.2.2, P9).
    fn subscribe(service: &mut PushService, caller: &Caller, path: &str) -> Self {
        let created = caller.call(&[("PushSubscription/set", create(service, path))]);
        let id = created[0]["created"]["new"]["id"].as_str();
        let id = id.unwrap_or_else(|| panic!("{}", created[0])).to_owned();
        let sent = service.next(path);
        let message = &sent["message"];
        assert_eq!(message["@type"], "PushVerification", "{sent}");
        assert_eq!(message["pushSubscriptionId"], id.as_str(), "{sent}");
        let update = json!({ "update": {
            &*id: { "verificationCode": message["verificationCode"] },
        } });
        let updated = caller.call(&[("PushSubscription/set", update)]);
        assert!(updated[0]["updated"].get(&id).is_some(), "{}", updated[0]);
        Self { path: path.to_owned(), known: States::new(), log: Vec::new() }
    }

    /// Writes down the next message, which is a StateChange; gives all of it.
    fn hear(&mut self, service: &mut PushService) -> Value {
        let sent = service.next(&self.path);
        let message = &sent["message"];
        assert_eq!(message["@type"], "StateChange", "{sent}");
        for (account, types) in message["changed"].as_object().expect("`changed`") {
            for (data_type, state) in types.as_object().expect("types") {
                let state = state.as_str().expect("a state").to_owned();
                self.known.insert((account.clone(), data_type.clone()), state);
            }
        }
        self.log.push(message.clone());
        sent
    }

    /// Waits until it was told of every type of `account` the state that upstream says.
    fn agrees_with(&mut self, service: &mut PushService, server: &Caller) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let truth = server.states();
            let differs = truth.iter().find(|(key, state)| {
                key.0 == server.account && self.known.get(*key) != Some(*state)
            });
            let Some((key, state)) = differs else { return };
            assert!(Instant::now() < deadline, "{key:?} is {state}, told: {:#?}", self.log);
            self.hear(service);
        }
    }

    /// Waits to be told of a delivery; gives the message that did.
    fn hears_of_a_delivery(&mut self, service: &mut PushService, account: &str) -> Value {
        loop {
            let sent = self.hear(service);
            if sent["message"]["changed"][account]["EmailDelivery"].is_string() {
                return sent;
            }
        }
    }
}

/// Creates a subscription of the service's device.
fn create(service: &PushService, path: &str) -> Value {
    json!({ "create": { "new": {
        "deviceClientId": format!("device at {path}"),
        "url": service.url(path),
        "keys": service.keys,
        "types": null,
    } } })
}

/// `PushSubscription/get` of all.
fn subscriptions(caller: &Caller) -> Vec<Value> {
    let got = caller.call(&[("PushSubscription/get", json!({ "ids": null }))]);
    got[0]["list"].as_array().unwrap_or_else(|| panic!("{}", got[0])).clone()
}

#[test]
fn a_mail_reaches_a_device_that_is_not_connected() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    let session = proxy.caller("alice").session();
    let mut phone = Device::subscribe(&mut service, &proxy.caller("alice"), "/201/phone");

    let delivered = Instant::now();
    cyrus.deliver("alice");
    let sent = phone.hears_of_a_delivery(&mut service, "alice");

    assert!(delivered.elapsed().as_secs() < 5, "{:?}", delivered.elapsed());
    let headers = &sent["headers"];
    assert_eq!(headers["urgency"], "high", "{sent}");
    assert_eq!(headers["ttl"], "86400", "{sent}");
    assert_eq!(headers["content-encoding"], "aes128gcm", "{sent}");
    assert_eq!(headers["content-type"], "application/json", "{sent}");
    // RFC 8030 §5.4: no more than 32 characters of base64url.
    let topic = headers["topic"].as_str().expect("a topic");
    let is_url_safe = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    assert!(topic.len() <= 32 && topic.bytes().all(is_url_safe), "{sent}");
    // RFC 9749 §3: who it is from is what the Session said.
    let capability = &session["capabilities"]["urn:ietf:params:jmap:webpush-vapid"];
    assert_eq!(sent["key"], capability["applicationServerKey"], "{sent}");
    // RFC 8292 §2.1: whom its operator may write to.
    assert_eq!(sent["claims"]["sub"], "mailto:postmaster@mail.example", "{sent}");
    phone.agrees_with(&mut service, &cyrus.caller("alice"));
    proxy.stop();
}

/// §3.7: results of either side go into calls of the other.
#[test]
fn a_batch_mixes_our_calls_with_those_of_cyrus() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let service = PushService::start();
    let proxy = Proxy::before(&cyrus).pushing_to(&service, &store).start();
    let alice = proxy.caller("alice");
    cyrus.deliver("alice");
    let of = |call: &str, name: &str, path: &str| json!({ "resultOf": call, "name": name, "path": path });

    let mut request = alice.request(&[
        ("Mailbox/get", json!({ "properties": ["name"] })),
        ("PushSubscription/set", create(&service, "/201/tablet")),
        ("Email/query", json!({ "limit": 1 })),
        ("PushSubscription/get", json!({ "#ids": of("0", "Mailbox/get", "/list/*/id") })),
        ("PushSubscription/get", json!({ "ids": null, "properties": ["deviceClientId"] })),
        ("Email/get", json!({ "#ids": of("2", "Email/query", "/ids"), "properties": ["subject"] })),
        ("Mailbox/get", json!({ "#ids": of("4", "PushSubscription/get", "/list/*/id") })),
        ("Mailbox/get", json!({ "#ids": of("5", "PushSubscription/get", "/list/*/id") })),
    ]);
    request["createdIds"] = json!({});
    let response = alice.ask(&request);
    let results = results(&response);

    let ids = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap_or_else(|| panic!("{response:#}"));
        list.iter().filter_map(|it| it["id"].as_str().or(it.as_str()).map(str::to_owned)).collect()
    };
    let calls = response["methodResponses"].as_array().expect("responses").iter();
    let calls: Vec<_> = calls.map(|response| response[2].as_str()).collect();
    assert_eq!(calls, ["0", "1", "2", "3", "4", "5", "6", "7"].map(Some), "{response:#}");
    let tablet = results[1]["created"]["new"]["id"].as_str().expect("an id");
    assert_eq!(response["createdIds"], json!({ "new": tablet }), "{response:#}");
    let mailboxes = ids(&results[0]["list"]);
    assert!(mailboxes.len() > 1, "{response:#}");
    assert_eq!(ids(&results[3]["notFound"]), mailboxes, "{response:#}");
    assert_eq!(ids(&results[4]["list"]), [tablet], "{response:#}");
    assert_eq!(ids(&results[5]["list"]), ids(&results[2]["ids"]), "{response:#}");
    assert_eq!(ids(&results[6]["notFound"]), [tablet], "{response:#}");
    // As Cyrus 3.6 calls it: references among its own calls are its own.
    assert_eq!(results[7]["type"], "resultReference", "{response:#}");
    proxy.stop();
}

/// A mail comes while the proxy is away, and then its owner does not come back at once.
fn is_told_over_a_restart(restart: fn(&mut Proxy, &dyn Fn())) {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let mut proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    let (alice, server) = (proxy.caller("alice"), cyrus.caller("alice"));
    let mut phone = Device::subscribe(&mut service, &alice, "/201/phone");
    // One that was never verified is not told of anything.
    let bob = proxy.caller("bob");
    bob.call(&[("PushSubscription/set", create(&service, "/201/silent"))]);
    assert_eq!(service.next("/201/silent")["message"]["@type"], "PushVerification");
    cyrus.deliver("alice");
    phone.agrees_with(&mut service, &server);

    restart(&mut proxy, &|| cyrus.deliver("alice"));

    // Nobody can be asked: a state of the proxy's own making.
    let sent = phone.hears_of_a_delivery(&mut service, "alice");
    assert_eq!(sent["headers"]["urgency"], "high", "{sent}");
    let email = &phone.known[&("alice".to_owned(), "Email".to_owned())];
    assert!(email.starts_with("presumed-"), "{:#?}", phone.log);
    // What comes now is told, too.
    cyrus.deliver("alice");
    phone.hears_of_a_delivery(&mut service, "alice");
    // Its owner comes back, as the device does to fetch.
    assert_eq!(subscriptions(&alice).len(), 1);
    phone.agrees_with(&mut service, &server);
    cyrus.deliver("alice");
    phone.hears_of_a_delivery(&mut service, "alice");
    phone.agrees_with(&mut service, &server);

    // The owner comes back at once.
    restart(&mut proxy, &|| cyrus.deliver("alice"));
    alice.session();
    phone.agrees_with(&mut service, &server);

    // Each message was a StateChange: nothing is verified twice.
    for left in service.rest("/201/phone") {
        assert_eq!(left["message"]["@type"], "StateChange", "{left}");
    }
    assert_eq!(service.rest("/201/silent"), [] as [Value; 0]);
    proxy.stop();
}

/// With a credential of the service's own nothing has to be made up: Cyrus is asked in the owner's name.
#[test]
fn a_device_is_told_true_states_while_its_owner_is_away() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let settings = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store);
    let mut proxy = settings.set("PROBE__HEADERS", &cyrus.service_header()).start();
    let server = cyrus.caller("alice");
    let mut phone = Device::subscribe(&mut service, &proxy.caller("alice"), "/201/phone");

    proxy.restarted(&|| cyrus.deliver("alice"));

    phone.agrees_with(&mut service, &server);
    cyrus.deliver("alice");
    phone.agrees_with(&mut service, &server);
    let states = phone.log.iter().map(|told| told["changed"]["alice"]["Email"].as_str());
    assert!(!states.flatten().any(|state| state.starts_with("presumed-")), "{:#?}", phone.log);
    proxy.stop();
}

#[test]
fn a_mail_that_came_while_the_proxy_was_ended_is_told() {
    is_told_over_a_restart(|proxy, meanwhile| proxy.restarted(meanwhile));
}

#[test]
fn a_mail_that_came_while_the_proxy_was_dead_is_told() {
    is_told_over_a_restart(|proxy, meanwhile| proxy.killed(meanwhile));
}

/// Nothing has been noted by then of what it was given.
#[test]
fn a_device_that_was_verified_the_moment_before_death_is_told() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let mut proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    let mut phone = Device::subscribe(&mut service, &proxy.caller("alice"), "/201/phone");

    proxy.killed(|| cyrus.deliver("alice"));

    phone.hears_of_a_delivery(&mut service, "alice");
    proxy.caller("alice").session();
    phone.agrees_with(&mut service, &cyrus.caller("alice"));
    proxy.stop();
}

#[test]
fn a_device_is_told_after_the_death_of_cyrus() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let settings = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store);
    let proxy = settings.set("AUTH__REVALIDATE", "1s").start();
    let mut phone = Device::subscribe(&mut service, &proxy.caller("alice"), "/201/phone");

    cyrus.kill().end();
    cyrus.deliver("alice");

    phone.hears_of_a_delivery(&mut service, "alice");
    phone.agrees_with(&mut service, &cyrus.caller("alice"));
    proxy.stop();
}

/// §7.2: "keys" may be missing, as for a service that is told.
#[test]
fn a_webhook_is_told_what_streams_are_told() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    service.keys = Value::Null;
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store).start();
    let mut hook = Device::subscribe(&mut service, &proxy.caller("alice"), "/201/hook");
    let listen = [Client::listen, Client::connect];
    let mut streams = listen.map(|listen| listen(&cyrus, &proxy.address, "alice"));

    cyrus.deliver("alice");

    let sent = hook.hears_of_a_delivery(&mut service, "alice");
    assert_eq!(sent["headers"]["content-encoding"], Value::Null, "{sent}");
    assert_eq!(sent["headers"]["content-type"], "application/json", "{sent}");
    hook.agrees_with(&mut service, &cyrus.caller("alice"));
    for stream in &mut streams {
        stream.agrees_with_server();
        for ((account, data_type), state) in &hook.known {
            stream.learns(account, data_type, state);
        }
    }
    proxy.stop();
}

/// P5: "destroyed when the credential is".
#[test]
fn a_changed_password_ends_what_was_made_with_the_old() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let mut service = PushService::start();
    let settings = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store);
    let proxy = settings.set("AUTH__REVALIDATE", "1s").set("AUTH__CACHE", "1s").start();
    let old = proxy.caller("dave");
    let mut lost = Device::subscribe(&mut service, &old, "/201/lost");
    let mut other = Device::subscribe(&mut service, &proxy.caller("carol"), "/201/other");
    cyrus.deliver("dave");
    lost.hears_of_a_delivery(&mut service, "dave");

    let changed = cyrus.change_password("dave", "another");
    eventually("the subscription to end", || {
        match proxy.metric("jmap_push_subscriptions_ended_total") {
            0 => Err("it has not"),
            _ => Ok(()),
        }
    });
    service.rest("/201/lost");
    let new = Caller::with_password(&proxy.address, "dave", "another");
    assert_eq!(subscriptions(&new), [] as [Value; 0]);
    // Who hears of the later delivery would have heard of the earlier one.
    cyrus.deliver("dave");
    cyrus.deliver("carol");
    other.hears_of_a_delivery(&mut service, "carol");
    // It is not hidden, but gone.
    drop(changed);
    eventually("the old password to be good again", || {
        let got = old.try_call(&[("PushSubscription/get", json!({ "ids": null }))]);
        let status = got.expect("an answer").status;
        if status == 200 { Ok(()) } else { Err(status) }
    });
    assert_eq!(subscriptions(&old), [] as [Value; 0]);
    assert_eq!(service.rest("/201/lost"), [] as [Value; 0]);
    proxy.stop();
}

/// RFC 8291: the page's service worker opens with `WebCrypto` what the proxy sealed, and gets it as its
/// `push` event. The page and its worker are our own, but share no code with the proxy.
#[test]
fn a_web_app_in_chromium_reads_what_is_pushed() {
    let (cyrus, store) = (Cyrus::telling(), StoreFolder::new());
    let (mut service, page) = (PushService::start(), free_address());
    let settings = Proxy::before(&cyrus).hearing(&cyrus).pushing_to(&service, &store);
    let proxy = settings.set("CORS__ORIGINS", &format!("http://{page}")).start();
    let path = "/201/sealed/chromium";
    let mut app = WebApp::subscribe(&proxy.address, "alice", &page, &service.url(path));

    let created = app.told();
    let id = created["created"]["page"]["id"].as_str().unwrap_or_else(|| panic!("{created}"));
    let mut read = || {
        let sent = service.next(path);
        app.read(sent["body"].as_str().expect("a body"))
    };
    let verified = read();
    assert_eq!(verified["@type"], "PushVerification", "{verified}");
    assert_eq!(verified["pushSubscriptionId"], id, "{verified}");
    assert!(verified["shown"]["updated"].get(id).is_some(), "{verified}");

    cyrus.deliver("alice");
    let state = cyrus.caller("alice").email_state();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let change = read();
        assert_eq!(change["@type"], "StateChange", "{change}");
        if change["changed"]["alice"]["Email"] == state.as_str() {
            break;
        }
        assert!(Instant::now() < deadline, "{change}");
    }
    proxy.stop();
}
