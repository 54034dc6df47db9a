//! A state string that upstream itself wrote in a response (§5.1 to §5.5), not yet judged.
//!
//! Which responses give one is decided in `api::observed`; what it is worth, in the tracker.

use crate::jmap::id::{DataType, State};

/// An exact observation: `data_type` of some account was at `state` when the response was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The type the state belongs to.
    pub data_type: DataType,
    /// The current state.
    pub state: State,
    /// The state the response started from (`oldState`), where there is one.
    pub old_state: Option<State>,
    /// A `/changes` response (§5.2) whose `created` list is not empty.
    pub created: bool,
}
