//! Whether two principals see different states of one account (architecture D7, "view").
//!
//! Most servers have one state for all users of an account; some (ACLs, ids per user) do not. The
//! evidence: a principal is told another state than the one known, in unambiguous order, and a probe
//! by the owner of the states, sent later, finds nothing changed. Once may be a change there and
//! back; twice in a row is a view of its own.

use crate::clock::Moment;
use crate::state::fact::{Exchange, PrincipalId};
use crate::state::types::only;

use super::account::{Account, Effects, Slot};
use super::response::Seen;

/// In a row, until a principal is taken to have its own view.
const STRIKES: u8 = 2;

/// Principals under suspicion at one time. When full: the oldest makes room, and may come again.
const MAX_SUSPECTS: usize = 8;

#[derive(Debug)]
struct Suspect {
    principal: PrincipalId,
    /// The types in question.
    bits: u64,
    /// The last publication before the contradiction: a later one of these types explains it.
    seq: u64,
    /// Only a probe sent after this tells anything.
    heard_at: Moment,
    strikes: u8,
    /// The contradiction has not been probed yet.
    open: bool,
}

impl Account {
    /// Notes whether `who` is told what the owner is, where the order is known. Only what is
    /// probed can be settled, so types nobody wants do not count.
    pub(super) fn compare_views(
        &mut self,
        who: PrincipalId,
        seen: &Seen<'_>,
        at: &Exchange,
        fx: &Effects,
    ) {
        let Some(slot) = self.slot(seen.bit) else { return };
        let Some(known) = &slot.state else { return };
        let (bit, agreed) = (seen.bit, known == seen.state);
        if at.sent < slot.accepted_at || self.asked(fx.wanted) & only(bit) == 0 {
            return;
        }
        if !agreed {
            let suspects = self.suspects.get_or_insert_default();
            suspects.disagree(who, bit, fx.next - 1, at.received);
        } else if let Some(suspects) = &mut self.suspects {
            suspects.agree(who, bit);
        }
    }
}

/// The principals whose states did not agree.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

impl Suspects {
    /// `who` was told the known state of a type: about types not in question that proves nothing.
    fn agree(&mut self, who: PrincipalId, bit: u8) {
        self.0.retain(|suspect| suspect.principal != who || suspect.bits & only(bit) == 0);
    }

    /// `who` was told another state than the known one, at `heard_at`, after publication `seq`.
    fn disagree(&mut self, who: PrincipalId, bit: u8, seq: u64, heard_at: Moment) {
        let fresh = Suspect { principal: who, bits: 0, seq, heard_at, strikes: 0, open: true };
        let earlier = self.0.iter().position(|suspect| suspect.principal == who);
        let mut suspect = match earlier.map(|place| self.0.remove(place)) {
            Some(suspect) if suspect.open => suspect,
            Some(suspect) => Suspect { strikes: suspect.strikes, ..fresh },
            None => fresh,
        };
        suspect.bits |= only(bit);
        suspect.heard_at = heard_at;
        if self.0.len() >= MAX_SUSPECTS {
            self.0.remove(0);
        }
        self.0.push(suspect);
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
            // A slot still under a hint was not settled by this answer.
            let asked = stated & suspect.bits;
            let mut settled =
                slots.iter().filter(|s| asked & only(s.bit) != 0 && !s.hinted).peekable();
            if !suspect.open || sent < suspect.heard_at || settled.peek().is_none() {
                return true;
            }
            suspect.open = false;
            suspect.strikes += 1;
            settled.all(|slot| slot.changed_at <= suspect.seq)
        });
        let place = self.0.iter().position(|suspect| suspect.strikes >= STRIKES)?;
        Some(self.0.remove(place).principal)
    }
}
