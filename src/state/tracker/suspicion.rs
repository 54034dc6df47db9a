//! Whether two principals see different states of one account (architecture D7, "view").
//!
//! Most servers have one state for all users of an account; some (ACLs, ids per user) do not. The
//! evidence: a principal is told another state than the one known, in unambiguous order, and a probe
//! by the owner of the states, sent later, finds nothing changed. Once may be a change there and
//! back; twice in a row is a view of its own.

use crate::clock::Moment;
use crate::state::fact::PrincipalId;
use crate::state::types::only;

use super::account::Slot;

/// In a row, until a principal is taken to have its own view.
const STRIKES: u8 = 2;

/// Principals under suspicion at one time. When full: the oldest makes room, and may come again.
const MAX_SUSPECTS: usize = 8;

#[derive(Debug)]
struct Suspect {
    principal: PrincipalId,
    /// The publication of the contradicted state; another one in the meantime explains it all.
    changed_at: u64,
    /// Only a probe sent after this tells anything.
    heard_at: Moment,
    bit: u8,
    strikes: u8,
    /// The contradiction has not been probed yet.
    open: bool,
}

/// The principals whose states did not agree.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

impl Suspects {
    /// `who` was told the state of `slot`; about another type than the contested one that proves
    /// nothing.
    pub(super) fn agree(&mut self, who: PrincipalId, slot: &Slot) {
        self.0.retain(|suspect| suspect.principal != who || suspect.bit != slot.bit);
    }

    /// `who` was told another state than that of `slot`, at `heard_at`.
    pub(super) fn disagree(&mut self, who: PrincipalId, slot: &Slot, heard_at: Moment) {
        let earlier = self.0.iter().position(|suspect| suspect.principal == who);
        let strikes = earlier.map_or(0, |place| self.0.remove(place).strikes);
        if self.0.len() >= MAX_SUSPECTS {
            self.0.remove(0);
        }
        let (changed_at, bit) = (slot.changed_at, slot.bit);
        self.0.push(Suspect { principal: who, changed_at, heard_at, bit, strikes, open: true });
    }

    /// A probe by the owner, sent at `sent`, has been worked into `slots` for the types `stated`.
    /// Returns a principal that is now known to have a view of its own.
    pub(super) fn weigh(
        &mut self,
        slots: &[Slot],
        stated: u64,
        sent: Moment,
    ) -> Option<PrincipalId> {
        self.0.retain_mut(|suspect| {
            let asked = stated & only(suspect.bit) != 0 && sent >= suspect.heard_at;
            let slot = slots.iter().find(|slot| slot.bit == suspect.bit);
            // A slot still under a hint was not settled by this answer.
            let Some(slot) = slot.filter(|slot| suspect.open && asked && !slot.hinted) else {
                return true;
            };
            suspect.open = false;
            suspect.strikes += 1;
            slot.changed_at == suspect.changed_at
        });
        let place = self.0.iter().position(|suspect| suspect.strikes >= STRIKES)?;
        Some(self.0.remove(place).principal)
    }
}
