//! Joins the sources of notifications, the hub, and who may see what.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::Authority;
use crate::hub::Hub;
use crate::notify::Event;
use crate::notify::cyrus::Rights;
use crate::notify::message::{Notice, Who};
use crate::notify::queue::Inbox;
use crate::state::agreement::PAIRED;

/// How long a count waits for the delivery that it counts: Cyrus sends the two one after the other. Told
/// apart, the second would come to clients a throttle later.
const TOGETHER: Duration = Duration::from_millis(2);

/// Acts on what the sources say, for as long as it is polled.
pub(super) async fn act(mut inbox: Inbox, hub: Arc<Hub>, authority: Arc<Authority>) {
    let mut ahead = None;
    let mut look = tokio::time::interval(PAIRED);
    loop {
        let next = match ahead.take() {
            Some(event) => Some(event),
            None => tokio::select! {
                event = inbox.next() => event,
                _ = look.tick() => {
                    hub.collect_owed();
                    continue;
                }
            },
        };
        let Some(mut event) = next else { return };
        if let Event::Mail { account, modseq: Some(_), delivery } = &mut event
            && let Ok(Some(following)) = timeout(TOGETHER, inbox.next()).await
        {
            match following {
                Event::Mail { account: same, modseq: None, delivery: delivered }
                    if same == *account =>
                {
                    *delivery |= delivered;
                }
                other => ahead = Some(other),
            }
        }
        match event {
            Event::Gap => hub.gap(),
            Event::Mail { account, modseq, delivery } => hub.counted(&account, modseq, delivery),
            Event::Rights(rights) => revalidate(&hub, &authority, &rights),
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

/// The live users among those whose rights changed are looked at again (D9).
fn revalidate(hub: &Hub, authority: &Authority, rights: &Rights) {
    let is_meant = |username: &str| match rights {
        Rights::Nobody => false,
        Rights::Users(names) => names.iter().any(|name| name == username),
        Rights::Anybody => true,
    };
    let live = hub.live();
    let meant = live.iter().map(|(_, principal)| &**principal);
    let meant: Vec<_> = meant.filter(|principal| is_meant(&principal.username)).collect();
    authority.sessions_changed(&meant);
}
