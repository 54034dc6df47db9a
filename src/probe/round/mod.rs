//! One account's probe from the first request to the last: finds which types break upstream by
//! halving (architecture D8).
//!
//! A request that breaks is asked again in halves until the types that break alone are left; all
//! others are answered on the way. A type is a culprit only when another type of the same account
//! answers *after* it broke alone: if none does, upstream is down, or broken for this account, and no
//! type is to blame.
//!
//! Requests for `n` types: 1 if all is well, at most `2n` in any case.

use std::collections::VecDeque;

use super::plan::EMAIL_DELIVERY;
use crate::jmap::id::DataType;

/// See the module. Ask what [`Self::next_group`] gives, say how it went, until it gives `None`.
#[derive(Debug, Default)]
pub struct Round {
    waiting: VecDeque<Vec<DataType>>,
    asked: Vec<DataType>,
    /// Types that broke alone, nothing having been answered since.
    accused: Vec<DataType>,
    culprits: Vec<DataType>,
    /// A type whose answer shows that upstream works for this account.
    witness: Option<DataType>,
    is_confirming: bool,
    has_failed: bool,
}

/// What a [`Round`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Types that break upstream while others are answered.
    pub culprits: Vec<DataType>,
    /// Whether types were left without an answer though they are no culprits.
    pub has_failed: bool,
}

impl Round {
    /// A round over groups of types, each group one request. When there is but one type in all, the
    /// `bystander`, another type of the account, may show that it is this type that breaks.
    #[must_use]
    pub fn new(groups: Vec<Vec<DataType>>, bystander: Option<DataType>) -> Self {
        let is_lone = groups.iter().map(Vec::len).sum::<usize>() == 1;
        Self { waiting: groups.into(), witness: bystander.filter(|_| is_lone), ..Self::default() }
    }

    /// The types to ask for in the next request.
    pub fn next_group(&mut self) -> Option<Vec<DataType>> {
        self.asked = match self.waiting.pop_front() {
            Some(group) => group,
            None if self.is_over() => return None,
            None => {
                self.is_confirming = true;
                vec![self.witness.clone()?]
            }
        };
        Some(self.asked.clone())
    }

    /// The request was answered, well or not so well, but as JMAP.
    pub fn answered(&mut self) {
        self.culprits.append(&mut self.accused);
        if let Some(data_type) = self.asked.iter().find(|name| name.as_str() != EMAIL_DELIVERY) {
            self.witness = Some(data_type.clone());
        }
    }

    /// The request broke. With `may_halve` the search goes on; without, its types are given up.
    pub fn broke(&mut self, may_halve: bool) {
        let mut left = std::mem::take(&mut self.asked);
        if self.is_confirming {
            self.has_failed = true;
        } else if left.len() == 1 {
            self.accused.append(&mut left);
        } else if may_halve {
            let right = left.split_off(left.len() / 2);
            self.waiting.push_front(right);
            self.waiting.push_front(left);
        } else {
            self.has_failed = true;
        }
    }

    /// The request broke on types that others have found to break: the rest is asked again.
    pub fn explained(&mut self, by: &[DataType]) {
        let mut left = std::mem::take(&mut self.asked);
        left.retain(|data_type| !by.contains(data_type));
        if !left.is_empty() {
            self.waiting.push_front(left);
        }
    }

    /// Whether nothing is left to ask.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty()
            && (self.accused.is_empty() || self.is_confirming || self.witness.is_none())
    }

    /// What came of it.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        Verdict {
            has_failed: self.has_failed || !self.accused.is_empty() || !self.waiting.is_empty(),
            culprits: self.culprits,
        }
    }
}

#[cfg(test)]
mod tests;
