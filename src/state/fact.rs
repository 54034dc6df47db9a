//! What the tracker is told: who learnt which state of which type, and when (RFC 8620 §5.1-§5.4).
//!
//! Reading these out of responses is the tap's and the probe's work.

use crate::clock::Moment;
use crate::jmap::id::{AccountId, DataType, State};

/// A user as `auth` tells users apart. Says nothing outside this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId(pub u64);

/// One view of one account: what states are kept under (D7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The account, as upstream names it.
    pub id: AccountId,
    /// `None` where all principals see the same states; else the one principal whose view this is,
    /// either by configuration (`account_scope = "per_user"`) or because the states were found to
    /// differ ([`Outcome::split`](super::tracker::Outcome::split)).
    pub scope: Option<PrincipalId>,
}

impl AccountKey {
    /// The view that all principals share.
    #[must_use]
    pub fn shared(id: AccountId) -> Self {
        Self { id, scope: None }
    }

    /// The view of one principal.
    #[must_use]
    pub fn scoped(id: AccountId, principal: PrincipalId) -> Self {
        Self { id, scope: Some(principal) }
    }
}

/// Whose eyes a response was seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observer {
    /// A principal whose own Session lists the account.
    Known(PrincipalId),
    /// The caller's Session is not known (yet): what it was told is only a hint.
    Unproven,
}

/// One request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Who asked.
    pub who: Observer,
    /// When the request went out: nothing in the response is older.
    pub sent: Moment,
    /// When the response had arrived: nothing in it is newer.
    pub received: Moment,
}

/// One method response that carries a state, in the order of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The type whose state it is.
    pub data_type: DataType,
    /// `state` of a `/get`, `newState` of anything else; of a `/changes` only when
    /// `hasMoreChanges` is false (§5.2: an intermediate state otherwise).
    pub state: State,
    /// `oldState`, where the response has one.
    pub old_state: Option<State>,
    /// An `Email/changes` response whose `created` is not empty: new Email since `old_state`.
    pub created: bool,
}

/// What a probe learnt about one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The state that `Foo/get` returned.
    State(State),
    /// §3.6.2 `unknownMethod`, or `accountNotSupportedByMethod`: the account does not have this
    /// type; it is not asked for again while it stays watched, unless it turns up in a response.
    UnknownMethod,
    /// No answer for this type. Asking again, with back-off, is the prober's own duty.
    Failed,
}

/// What a probe learnt of new Email, where `EmailDelivery` is wanted (RFC 8621 §1.5): the answer to
/// an `Email/changes` that stands *after* the `Email/get` of the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The `sinceState` that was asked for, as `Tracker::delivery_since` gave it.
    pub since: State,
    /// `created` was not empty, or this cannot be excluded (`cannotCalculateChanges`,
    /// `hasMoreChanges`).
    pub created: bool,
}

/// The answer to a probe of one account, or a part of it when the probe was bisected (D8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed<'a> {
    /// Per type asked for.
    pub answers: &'a [(DataType, ProbeAnswer)],
    /// `None` when it was not asked.
    pub delivery: Option<Delivery>,
    /// Whether this is the last part.
    pub complete: bool,
}
