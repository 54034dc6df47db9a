//! One account's probe from the first request to the last: finds which types break upstream by
//! halving (architecture D8).
//!
//! A request that breaks is asked again in halves until the types that break alone are left; all
//! others are answered on the way. A type is a culprit only when it breaks alone *twice*, with another
//! type of the same account answered in between and after. If none is answered, upstream is down, or
//! broken for this account; a type that breaks once broke while upstream was away. Neither is the
//! type's fault.
//!
//! Requests for `n` types: 1 if all is well, at most `3n + 2` in any case.

use std::collections::VecDeque;

use super::plan::EMAIL_DELIVERY;
use crate::jmap::id::DataType;

/// See the module. Ask what [`Self::next_group`] gives, say how it went, until it gives `None`.
#[derive(Debug, Default)]
pub struct Round {
    waiting: VecDeque<Vec<DataType>>,
    asked: Vec<DataType>,
    /// Types convicted in an earlier round: breaking once more is enough.
    known: Vec<DataType>,
    /// Types that broke alone, nothing having been answered since.
    accused: Vec<DataType>,
    /// Types that broke alone before another was answered: to be asked a second time.
    suspects: Vec<DataType>,
    /// Types that broke alone for the last time, nothing having been answered since.
    relapsed: Vec<DataType>,
    culprits: Vec<DataType>,
    /// A type whose answer shows that upstream works for this account.
    witness: Option<DataType>,
    is_second_look: bool,
    is_confirming: bool,
    /// The witness gave no answer.
    is_abandoned: bool,
    has_failed: bool,
    /// A request of it has broken.
    has_broken: bool,
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
    /// A round over `groups` of types, each one request, and `known` types that broke in an earlier
    /// round, each asked alone. When there is but one type in all, the `bystander`, another type of
    /// the account, may show that it is this type that breaks.
    #[must_use]
    pub fn new(
        groups: Vec<Vec<DataType>>,
        known: Vec<DataType>,
        bystander: Option<DataType>,
    ) -> Self {
        let mut waiting = VecDeque::from(groups);
        waiting.extend(known.iter().map(|data_type| vec![data_type.clone()]));
        let is_lone = waiting.iter().map(Vec::len).sum::<usize>() == 1;
        Self { waiting, known, witness: bystander.filter(|_| is_lone), ..Self::default() }
    }

    /// The types to ask for in the next request.
    pub fn next_group(&mut self) -> Option<Vec<DataType>> {
        (self.is_second_look, self.is_confirming) = (false, false);
        self.asked = if let Some(group) = self.waiting.pop_front() {
            group
        } else if self.is_over() {
            return None;
        } else if let Some(suspect) = self.suspects.pop() {
            self.is_second_look = true;
            vec![suspect]
        } else {
            self.is_confirming = true;
            vec![self.witness.clone()?]
        };
        Some(self.asked.clone())
    }

    /// The request was answered, well or not so well, but as JMAP.
    pub fn answered(&mut self) {
        self.culprits.append(&mut self.relapsed);
        self.suspects.append(&mut self.accused);
        if let Some(data_type) = self.asked.iter().find(|name| name.as_str() != EMAIL_DELIVERY) {
            self.witness = Some(data_type.clone());
        }
    }

    /// The request broke. With `may_halve` the search goes on; without, its types are given up.
    pub fn broke(&mut self, may_halve: bool) {
        self.has_broken = true;
        let mut left = std::mem::take(&mut self.asked);
        if self.is_confirming {
            self.is_abandoned = true;
        } else if left.len() == 1 {
            let is_last_time =
                self.is_second_look || left.iter().any(|data_type| self.known.contains(data_type));
            let broken = if is_last_time { &mut self.relapsed } else { &mut self.accused };
            broken.append(&mut left);
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
        self.has_broken = true;
        let mut left = std::mem::take(&mut self.asked);
        left.retain(|data_type| !by.contains(data_type));
        if !left.is_empty() {
            self.waiting.push_front(left);
        }
    }

    /// Whether the request just asked for is expected to break, whatever upstream has to bear: one
    /// has, or its only type did in an earlier round.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.has_broken || self.asked.iter().any(|data_type| self.known.contains(data_type))
    }

    /// Whether nothing is left to ask.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_open = !self.accused.is_empty() || !self.relapsed.is_empty();
        let may_confirm = is_open && !self.is_abandoned && self.witness.is_some();
        self.waiting.is_empty() && self.suspects.is_empty() && !may_confirm
    }

    /// What came of it.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        let is_settled = self.is_over() && self.accused.is_empty() && self.relapsed.is_empty();
        Verdict { has_failed: self.has_failed || !is_settled, culprits: self.culprits }
    }
}

#[cfg(test)]
mod tests;
