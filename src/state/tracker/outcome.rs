//! What the tracker gives out: what a call brings about, and what is known.

use crate::jmap::id::{DataType, State};
use crate::state::fact::PrincipalId;

/// What one call brings about. The caller has to act on every part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "what is not published or probed is lost"]
pub struct Outcome {
    /// Types of the account whose state is new, as bits; they carry the tracker's
    /// [`seq`](super::Tracker::seq) now. The other [`views`](super::Tracker::views) of the account, if any,
    /// need a hint.
    pub published: u64,
    /// Upstream is to be asked about this account, as soon as the budget permits. An account that
    /// is already waiting to be probed is meant no second time.
    pub probe: bool,
    /// The baseline of a watched account has just become known. A resume token that waits for it is
    /// compared now, with all of its [`states`](super::Tracker::states); a type that could not be probed
    /// is published once it can.
    pub settled: bool,
    /// This principal sees other states than the rest. [`key_of`](super::Tracker::key_of) gives its own
    /// view from now on; its subscribers have to be moved there, each as if it resumed.
    pub split: Option<PrincipalId>,
}

/// One type of one account.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The type.
    pub data_type: &'a DataType,
    /// Its bit.
    pub bit: u8,
    /// The last accepted state.
    pub state: &'a State,
    /// The sequence number of its publication; 0 if it is a baseline nobody was told.
    pub changed_at: u64,
    /// Whether it may stand in a resume token: watched, without a gap, since it was learnt.
    pub fresh: bool,
}
