//! How a subscriber goes on where it left off (§7.3 `Last-Event-ID`; RFC 8887 §4.3.5.2 `pushState`).

use std::collections::HashSet;

use crate::jmap::id::{AccountId, DataType};
use crate::state::token::Token;

/// What a client says it has been given, or may have fetched.
#[derive(Debug)]
pub(super) struct Resume {
    /// `None` where there is none or it is not ours: everything current is sent.
    pub(super) token: Option<Token>,
    /// The accounts it has been compared with: each as soon as its baseline is known, so that one
    /// which upstream cannot answer for holds back no other.
    pub(super) compared: HashSet<AccountId>,
    /// What has been given since: every later change of it has a number of its own. Bounded by the
    /// states there are, and gone with the last account.
    pub(super) given: HashSet<(AccountId, DataType)>,
}

impl Resume {
    pub(super) fn from(token: &str) -> Box<Self> {
        let (compared, given) = (HashSet::new(), HashSet::new());
        Box::new(Self { token: Token::parse(token), compared, given })
    }

    /// Whatever is current is to be told, but for accounts that were settled.
    pub(super) fn of_unsettled(settled: HashSet<AccountId>) -> Box<Self> {
        Box::new(Self { token: None, compared: settled, given: HashSet::new() })
    }

    /// What was compared stays so only where it is settled still.
    pub(super) fn reopen(&mut self, settled: &HashSet<AccountId>) {
        self.compared.retain(|id| settled.contains(id));
    }
}
