//! The changes of one data type in one account, from which `/changes` answers (RFC 8620 §5.2).
//!
//! Knows ids and the order of changes, nothing of the records themselves.

use std::collections::{BTreeMap, VecDeque};

use super::Id;

/// Changes remembered. When full: the oldest is forgotten, and who asks from before it is told
/// `cannotCalculateChanges`.
const REMEMBERED: usize = 10_000;

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It came to be.
    Created,
    /// Its own properties changed.
    Updated,
    /// Only what is counted about it changed (RFC 8621 §2.2 `updatedProperties`).
    Counted,
    /// It went away.
    Destroyed,
}

/// The answer to `/changes`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) created: Vec<Id>,
    pub(crate) updated: Vec<Id>,
    pub(crate) destroyed: Vec<Id>,
    /// Whether `updated` is due to [`Change::Counted`] alone.
    pub(crate) only_counts: bool,
    /// Where the log stood after the last change told.
    pub(crate) position: u64,
    pub(crate) has_more: bool,
}

/// All changes since the beginning, the oldest possibly forgotten.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    forgotten: u64,
    entries: VecDeque<(Id, Change)>,
}

impl ChangeLog {
    pub(crate) fn push(&mut self, id: &str, change: Change) {
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back((id.to_owned(), change));
    }

    /// How many changes there have been.
    pub(crate) fn position(&self) -> u64 {
        self.forgotten + self.entries.len() as u64
    }

    /// What became of at most `max` records after `position`; `None` when that is forgotten or
    /// lies ahead.
    pub(crate) fn since(&self, position: u64, max: usize) -> Option<Changes> {
        let skip = usize::try_from(position.checked_sub(self.forgotten)?).ok()?;
        if skip > self.entries.len() {
            return None;
        }
        let mut fates: BTreeMap<&Id, Fate> = BTreeMap::new();
        let mut told = position;
        for (id, change) in self.entries.iter().skip(skip) {
            if !fates.contains_key(id) && fates.len() == max {
                break;
            }
            let new = Fate { first: *change, last: *change, updated: false };
            let fate = fates.entry(id).or_insert(new);
            fate.last = *change;
            fate.updated |= *change == Change::Updated;
            told += 1;
        }
        Some(summarize(fates, told, told < self.position()))
    }
}

/// What the changes of one record come to.
struct Fate {
    first: Change,
    last: Change,
    updated: bool,
}

fn summarize(fates: BTreeMap<&Id, Fate>, position: u64, has_more: bool) -> Changes {
    let mut changes = Changes { position, has_more, ..Changes::default() };
    let mut any_updated = false;
    for (id, fate) in fates {
        match (fate.first, fate.last) {
            // §5.2: "If a record has been created AND destroyed since the old state, the server
            // SHOULD remove the id from the response entirely."
            (Change::Created, Change::Destroyed) => {}
            (Change::Created, _) => changes.created.push(id.clone()),
            (_, Change::Destroyed) => changes.destroyed.push(id.clone()),
            _ => {
                any_updated |= fate.updated;
                changes.updated.push(id.clone());
            }
        }
    }
    changes.only_counts = !changes.updated.is_empty() && !any_updated;
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(&str, Change)]) -> ChangeLog {
        let mut log = ChangeLog::default();
        for (id, change) in entries {
            log.push(id, *change);
        }
        log
    }

    #[test]
    fn a_record_appears_once_by_what_its_changes_come_to() {
        let log = log(&[
            ("a", Change::Created),
            ("b", Change::Created),
            ("b", Change::Updated),
            ("a", Change::Destroyed),
            ("old", Change::Updated),
            ("gone", Change::Destroyed),
        ]);
        let changes = log.since(0, usize::MAX).unwrap();
        assert_eq!(changes.created, ["b"]);
        assert_eq!(changes.updated, ["old"]);
        assert_eq!(changes.destroyed, ["gone"]);
        assert_eq!((changes.position, changes.has_more), (6, false));
    }

    #[test]
    fn steps_of_one_record_add_up_to_the_whole() {
        let log = log(&[("a", Change::Created), ("b", Change::Created), ("a", Change::Updated)]);
        let first = log.since(0, 1).unwrap();
        assert_eq!((first.created.as_slice(), first.has_more), (["a".to_owned()].as_slice(), true));
        let second = log.since(first.position, 1).unwrap();
        assert_eq!(second.created, ["b"]);
        let third = log.since(second.position, 1).unwrap();
        assert_eq!(
            (third.updated.as_slice(), third.has_more),
            (["a".to_owned()].as_slice(), false)
        );
    }

    #[test]
    fn counting_alone_is_told_apart_from_updating() {
        let mut log = log(&[("inbox", Change::Counted)]);
        assert!(log.since(0, 9).unwrap().only_counts);
        log.push("inbox", Change::Updated);
        assert!(!log.since(0, 9).unwrap().only_counts);
    }

    #[test]
    fn the_forgotten_and_the_future_cannot_be_calculated() {
        let mut log = ChangeLog::default();
        for _ in 0..=REMEMBERED {
            log.push("a", Change::Updated);
        }
        assert!(log.since(0, 9).is_none());
        assert!(log.since(1, 9).is_some());
        assert!(log.since(log.position() + 1, 9).is_none());
    }
}
