//! A store that cannot be written to, as clients and devices notice it (hostile.md F10; architecture D11).

use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Premises, id_of};
use crate::support::scratch::scratch;
use crate::support::upstream::account_of;

/// F10: nobody is told that something is kept which is not, and nobody who has a subscription waits.
#[tokio::test]
async fn while_nothing_can_be_written_creations_fail_and_changes_are_told() {
    let folder = scratch();
    let path = folder.join("push.sqlite");
    let store = path.clone();
    let premises = Premises::with(|config| config.push.store = Some(store)).await;
    premises.rig.upstream.mail(|mail| mail.share("carol", &account_of("carol")));
    premises.verified("alice", "phone", Value::Null).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let creating = async {
        let url = premises.service.url("tablet");
        let new = json!({ "deviceClientId": "d", "url": url });
        let (name, error) = premises.call("bob", "set", json!({ "create": { "new": new } })).await;
        assert_eq!((&*name, &error["type"]), ("error", &json!("serverFail")), "{error}");
        Instant::now()
    };
    let telling = async {
        let state = premises.rig.change("alice", "Email").await;
        premises.service.told("phone", &account_of("alice"), "Email", &state).await;
        Instant::now()
    };
    let (failed, told) = tokio::join!(creating, telling);
    assert!(told < failed, "the change waited for the store");
    assert!(premises.list("bob").await.is_empty());
    assert!(premises.service.messages("tablet").is_empty(), "nothing is verified that is not kept");

    other.execute_batch("ROLLBACK").unwrap();
    let id = id_of(&premises.create("carol", "laptop", Value::Null).await);
    assert_eq!(premises.list("carol").await[0]["id"], id.as_str());
    premises.service.message("laptop", 0).await;
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}
