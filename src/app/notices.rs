//! Joins the sources of notifications and the hub.

use std::sync::Arc;

use crate::hub::Hub;
use crate::notify::Event;
use crate::notify::message::{Notice, Who};
use crate::notify::queue::Inbox;

/// Tells the hub what the sources say, for as long as it is polled.
pub(super) async fn act(mut inbox: Inbox, hub: Arc<Hub>) {
    while let Some(event) = inbox.next().await {
        match event {
            Event::Gap => hub.gap(),
            Event::Notice(notice, source) => {
                tracing::debug!(%source, "notified");
                tell(&hub, &notice);
            }
        }
    }
}

fn tell(hub: &Hub, notice: &Notice) {
    let accounts = match &notice.who {
        Who::Accounts(accounts) => accounts.clone(),
        Who::User(name) => hub.accounts_of_user(name),
    };
    if !notice.changed.is_empty() {
        hub.claim(&accounts, &notice.changed, notice.delivery);
    }
    // Types beside exact states are hints; no type at all is a hint of any.
    if notice.changed.is_empty() || notice.types.is_some() {
        hub.hint(&accounts, notice.types.as_deref(), notice.delivery);
    }
}
