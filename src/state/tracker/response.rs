//! One response, or one probe's answer, reduced to the last state of each type.
//!
//! §3.3 has method calls processed in order, so within a response the last state of a type is the
//! newest; what the earlier ones add is only whether the state moved in between.

use crate::jmap::id::State;
use crate::state::fact::{Delivery, Fact, ProbeAnswer, Probed};
use crate::state::types::{EMAIL, EMAIL_DELIVERY, TypeTable, only};

/// The newest state of one type.
pub(super) struct Seen<'a> {
    pub(super) bit: u8,
    pub(super) state: &'a State,
    /// The response itself shows that the state is not the one from before it.
    pub(super) moved: bool,
}

/// What an API response says of one account.
#[derive(Default)]
pub(super) struct Response<'a> {
    pub(super) seen: Vec<Seen<'a>>,
    /// Types whose last state was read after the last one of `Email`.
    pub(super) after_email: u64,
    /// `oldState` of the first `Email/changes` that had created Email.
    pub(super) created_since: Option<&'a State>,
    /// Facts of types that found no bit in a full table.
    pub(super) refused: u64,
}

impl<'a> Response<'a> {
    pub(super) fn reduce(facts: &'a [Fact], table: &mut TypeTable) -> Self {
        let mut response = Self::default();
        for fact in facts {
            match table.intern(&fact.data_type) {
                Some(EMAIL_DELIVERY) => {}
                Some(bit) => response.add(bit, fact),
                None => response.refused += 1,
            }
        }
        response
    }

    fn add(&mut self, bit: u8, fact: &'a Fact) {
        let mut moved = fact.old_state.as_ref().is_some_and(|old| *old != fact.state);
        match self.seen.iter_mut().find(|seen| seen.bit == bit) {
            Some(seen) => {
                moved |= seen.moved || *seen.state != fact.state;
                *seen = Seen { bit, state: &fact.state, moved };
            }
            None => self.seen.push(Seen { bit, state: &fact.state, moved }),
        }
        if bit == EMAIL {
            self.after_email = 0;
            if fact.created && self.created_since.is_none() {
                self.created_since = fact.old_state.as_ref();
            }
        } else {
            self.after_email |= only(bit);
        }
    }
}

/// What a probe says of one account, or a part of it.
pub(super) struct Answers<'a> {
    pub(super) seen: Vec<Seen<'a>>,
    /// Types that upstream does not have.
    pub(super) absent: u64,
    /// Types that gave no answer.
    pub(super) failed: u64,
    pub(super) delivery: Option<&'a Delivery>,
    pub(super) complete: bool,
}

impl<'a> Answers<'a> {
    pub(super) fn reduce(probed: &'a Probed<'a>, table: &mut TypeTable) -> Self {
        let mut answers = Self {
            seen: Vec::with_capacity(probed.answers.len()),
            absent: 0,
            failed: 0,
            delivery: probed.delivery.as_ref(),
            complete: probed.complete,
        };
        for (data_type, answer) in probed.answers {
            let Some(bit) = table.intern(data_type).filter(|bit| *bit != EMAIL_DELIVERY) else {
                continue;
            };
            match answer {
                ProbeAnswer::State(state) => answers.seen.push(Seen { bit, state, moved: false }),
                ProbeAnswer::UnknownMethod => answers.absent |= only(bit),
                ProbeAnswer::Failed => answers.failed |= only(bit),
            }
        }
        answers
    }

    /// The state answered for a type.
    pub(super) fn state(&self, bit: u8) -> Option<&'a State> {
        self.seen.iter().find(|seen| seen.bit == bit).map(|seen| seen.state)
    }

    /// Types that were answered with a state.
    pub(super) fn stated(&self) -> u64 {
        self.seen.iter().fold(0, |mask, seen| mask | only(seen.bit))
    }
}
