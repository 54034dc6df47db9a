//! A question to upstream about a credential, and those who wait for its answer. Does not ask it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::principal::Principal;
use super::refusals::{self, Refusal};

/// What upstream says of a credential.
pub type Answer = Result<Arc<Principal>, Refusal>;

/// A question on its way upstream, or waiting for its turn.
pub(super) struct Question {
    pub(super) answer: watch::Sender<Option<Answer>>,
    /// Somebody asks who need not wait for a turn.
    pub(super) at_once: Notify,
}

/// Waits for the answer to a question. The question is on its way already.
pub(super) async fn answer(mut asking: watch::Receiver<Option<Answer>>) -> Answer {
    match asking.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or_else(|| Err(refusals::interrupted())),
        Err(_) => Err(refusals::interrupted()),
    }
}
