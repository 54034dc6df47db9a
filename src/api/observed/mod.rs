//! What the scanner keeps of a Response (§3.4), and the facts that follow from it.
//!
//! The rules are those of §5.1 to §5.5; how much a fact is worth is for the tracker to judge.

use crate::jmap::id::{AccountId, DataType, State};
use crate::state::fact::Fact;

/// What one scan of an API response found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The response was read to its end and everything in `Observed` is certain.
    Complete(Observed),
    /// It was cut short, is not what §3.4 describes, repeats a member, or holds a value over the
    /// limits. What is there was read before or beside the doubt: good for a hint, not for a fact.
    Unknown(Observed),
}

/// The parts of a Response that tell something about states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Responses to `/get`, `/set`, `/changes`, `/copy`, `/import`, in their order. Several may carry
    /// the same call id (A4: implicit `/set` of §5.4 and RFC 8621 §7.5).
    pub responses: Vec<MethodResponse>,
    /// Method-level errors (§3.6.2), in their order.
    pub errors: Vec<MethodError>,
    /// The value of `sessionState` as upstream wrote it, without any suffix of ours.
    pub session_state: Option<State>,
}

/// The methods whose responses carry the state of a data type (§5.1, §5.2, §5.3, §5.4;
/// RFC 8621 §4.8 for `/import`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `Foo/get`: `state`.
    Get,
    /// `Foo/set`: `oldState`, `newState`.
    Set,
    /// `Foo/changes`: `oldState`, `newState`, `hasMoreChanges`, `created`.
    Changes,
    /// `Foo/copy`: `oldState` and `newState` of the account copied to.
    Copy,
    /// `Email/import`: `oldState`, `newState`.
    Import,
}

/// One response to a method call, with the top-level members of its arguments that matter. A member
/// that is absent, of another JSON type, repeated or over the limits of [`crate::jmap::id`] is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    /// The part of the name before the slash.
    pub data_type: DataType,
    /// The part of the name after the slash.
    pub method: Method,
    /// The method call id; `None` when longer than [`crate::jmap::id::MAX_ID_BYTES`].
    pub call_id: Option<Box<str>>,
    /// `accountId`.
    pub account_id: Option<AccountId>,
    /// `state`.
    pub state: Option<State>,
    /// `oldState`.
    pub old_state: Option<State>,
    /// `newState`.
    pub new_state: Option<State>,
    /// `hasMoreChanges`.
    pub has_more_changes: Option<bool>,
    /// Whether `created`, a list in `/changes` and an object or null in `/set`, holds nothing.
    pub created_is_empty: Option<bool>,
}

/// An `error` response (§3.6.2). It carries no state; A6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodError {
    /// `type`, up to [`crate::jmap::id::MAX_ID_BYTES`].
    pub kind: Option<Box<str>>,
    /// The id of the call that failed, bounded likewise.
    pub call_id: Option<Box<str>>,
}

impl Observed {
    /// Method responses and errors together.
    #[must_use]
    pub(super) const fn len(&self) -> usize {
        self.responses.len() + self.errors.len()
    }
}

impl Method {
    /// The type and method of a name such as `Email/get`; `None` for those that carry no state or
    /// repeat what the client said: `Core/echo` above all, `Blob/*` (RFC 9404: no states),
    /// `PushSubscription/*` (no account), `SearchSnippet/get` (no state).
    #[must_use]
    pub fn parse(name: &str) -> Option<(DataType, Self)> {
        let (data_type, method) = name.split_once('/')?;
        let method = match method {
            "get" => Self::Get,
            "set" => Self::Set,
            "changes" => Self::Changes,
            "copy" => Self::Copy,
            "import" => Self::Import,
            _ => return None,
        };
        if matches!(data_type, "Core" | "Blob" | "PushSubscription" | "SearchSnippet") {
            return None;
        }
        Some((DataType::parse(data_type)?, method))
    }
}

impl MethodResponse {
    /// A response of which only the name is known yet.
    #[must_use]
    pub const fn new(data_type: DataType, method: Method) -> Self {
        Self {
            data_type,
            method,
            call_id: None,
            account_id: None,
            state: None,
            old_state: None,
            new_state: None,
            has_more_changes: None,
            created_is_empty: None,
        }
    }

    /// The current state this response gives for its type, if it gives one.
    fn fact(&self) -> Option<Fact> {
        let state = match self.method {
            Method::Get => self.state.as_ref(),
            // §5.2: while there are more changes, newState is an intermediate state (ST3).
            Method::Changes if self.has_more_changes == Some(false) => self.new_state.as_ref(),
            Method::Changes => None,
            // A call that changed nothing says nothing new (ST4).
            Method::Set | Method::Copy | Method::Import => {
                self.new_state.as_ref().filter(|new| Some(*new) != self.old_state.as_ref())
            }
        }?;
        let changes = self.method == Method::Changes;
        Some(Fact {
            data_type: self.data_type.clone(),
            state: state.clone(),
            old_state: if self.method == Method::Get { None } else { self.old_state.clone() },
            created: changes && self.created_is_empty == Some(false),
        })
    }
}

impl MethodError {
    /// Whether the call may have changed something although it failed. §3.6.2 says so of
    /// `serverPartialFail` alone ("the client MUST resynchronize"); an unreadable type might be it.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "serverPartialFail")
    }
}

/// The facts of a response by account, accounts and facts in the order in which upstream gave them
/// (§3.3: calls are processed in order, so of two facts about one type the later one holds).
///
/// Accounts are few; whether the caller's Session has them is for the caller to check (D9).
#[must_use]
pub fn facts(responses: &[MethodResponse]) -> Vec<(AccountId, Vec<Fact>)> {
    let mut accounts: Vec<(AccountId, Vec<Fact>)> = Vec::new();
    for response in responses {
        let (Some(account_id), Some(fact)) = (&response.account_id, response.fact()) else {
            continue;
        };
        match accounts.iter_mut().find(|(known, _)| known == account_id) {
            Some((_, facts)) => facts.push(fact),
            None => accounts.push((account_id.clone(), vec![fact])),
        }
    }
    accounts
}

#[cfg(test)]
mod tests;
