//! Changes that one client makes through the proxy and another hears of.
//!
//! No probe and no Redis: only what the proxy reads in the response can tell.

use serde_json::json;

use crate::support::{Client, Cyrus, Proxy};

#[test]
fn a_flag_set_by_one_client_reaches_another() {
    let cyrus = Cyrus::shared();
    cyrus.deliver("alice");
    let proxy = Proxy::before(&cyrus).start();
    let mut phone = Client::listen(&cyrus, &proxy.address, "alice");
    let desk = proxy.caller("alice");

    let email = desk.newest_email();
    let state = desk.flag(&email, "$flagged", true);

    phone.learns("alice", "Email", &state);
    assert_eq!(state, cyrus.caller("alice").email_state());
    phone.agrees_with_server();
    proxy.stop();
}

#[test]
fn a_mailbox_created_by_one_client_reaches_another() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).start();
    let mut phone = Client::listen(&cyrus, &proxy.address, "alice");
    let desk = proxy.caller("alice");

    let name = format!("Project {}", std::process::id());
    let create = json!({ "create": { "new": { "name": name, "parentId": null } } });
    let created = desk.call(&[("Mailbox/set", create)]);
    let state = created[0]["newState"].as_str().expect("a new state");

    phone.learns("alice", "Mailbox", state);
    phone.agrees_with_server();
    let id = &created[0]["created"]["new"]["id"];
    desk.call(&[("Mailbox/set", json!({ "destroy": [id] }))]);
    phone.agrees_with_server();
    proxy.stop();
}
