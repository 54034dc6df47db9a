//! What every scenario must come to, whatever happened in it: each stream ends with upstream's
//! states, was told nothing it may not see, and never went backwards (§7.1).

use super::sse::EventStream;
use super::upstream::Upstream;

/// Who sees what.
pub(crate) struct View<'a> {
    pub(crate) accounts: &'a [String],
    pub(crate) types: &'a [&'a str],
    /// Length of the ledger when the stream was open.
    pub(crate) since: usize,
}

/// Reads on until the stream has upstream's present state of everything that changed since, then
/// judges all it was told.
pub(crate) async fn settle(upstream: &Upstream, stream: &mut EventStream, view: &View<'_>) {
    let ledger = upstream.mail(|mail| mail.ledger.clone());
    for change in &ledger[view.since..] {
        let sees = view.accounts.contains(&change.account)
            && view.types.contains(&change.data_type.as_str());
        if sees {
            let now = upstream.mail(|mail| mail.state(&change.account, &change.data_type));
            stream.told(&change.account, &change.data_type, &now).await;
        }
    }
    judge(upstream, stream, view);
}

fn judge(upstream: &Upstream, stream: &EventStream, view: &View<'_>) {
    let ledger = upstream.mail(|mail| mail.ledger.clone());
    for (at, (account, data_type, state)) in stream.told.iter().enumerate() {
        assert!(view.accounts.contains(account), "{account} is not theirs: {:?}", stream.told);
        assert!(view.types.contains(&data_type.as_str()), "{data_type} was not asked for");
        // RFC 8621 §1.5: the state of Email at a delivery.
        let kept_as = if data_type == "EmailDelivery" { "Email" } else { data_type };
        let place = |state: &String| {
            let was = ledger.iter().position(|change| {
                (&change.account, change.data_type.as_str(), &change.state)
                    == (account, kept_as, state)
            });
            was.unwrap_or_else(|| panic!("{account} {data_type} never was {state}"))
        };
        let before =
            stream.told[..at].iter().rev().find(|(a, t, _)| a == account && t == data_type);
        if let Some((_, _, before)) = before {
            assert!(place(before) <= place(state), "{data_type} went backwards: {:?}", stream.told);
        }
    }
}
