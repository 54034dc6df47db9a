//! Accounts that come and go while a stream lives (§1.6.2; architecture D8, D9).

use std::time::Duration;

use super::ALL;
use crate::support::rig::Rig;
use crate::support::upstream::{API, Seen, account_of};
use crate::support::wait::until;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_account_withdrawn_is_asked_about_no_more() {
    let rig = Rig::start(|config| {
        config.auth.revalidate = SECOND;
        config.probe.interval = SECOND;
    })
    .await;
    let (hers, his) = (account_of("alice"), account_of("bob"));
    rig.upstream.mail(|mail| mail.share("bob", &hers));
    let stream = rig.events("bob", ALL).await;
    let probes = |account: &str, from: usize| {
        let quoted = format!("\"{account}\"").into_bytes();
        let asks = |seen: &&Seen| {
            seen.path == API && seen.body.windows(quoted.len()).any(|part| part == quoted)
        };
        rig.upstream.seen().iter().skip(from).filter(asks).count()
    };
    let probed = async |account: &str, from: usize, times: usize| {
        until("probes", || match probes(account, from) {
            count if count >= times => Ok(()),
            count => Err(count),
        })
        .await;
    };
    probed(&hers, 0, 2).await;
    rig.upstream.mail(|mail| mail.withdraw("bob", &hers));
    rig.upstream.revalidated("bob").await;
    let since = rig.upstream.seen().len();
    probed(&his, since, 3).await;
    assert_eq!(probes(&hers, since), 0);
    drop(stream);
    rig.end().await;
}
