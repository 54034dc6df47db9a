//! The records of one data type in one account, with their state (RFC 8620 §5.1) and change log.

use std::collections::BTreeMap;

use super::Id;
use super::log::{Change, ChangeLog, Changes};

/// Records by id; every way to change one writes the log.
#[derive(Debug)]
pub(crate) struct Table<T> {
    prefix: char,
    epoch: String,
    next: u64,
    records: BTreeMap<Id, T>,
    log: ChangeLog,
}

impl<T> Table<T> {
    /// An empty table. Ids begin with `prefix`, states with `epoch`, so that a state from before a
    /// restart is not mistaken for one of now.
    pub(crate) fn new(prefix: char, epoch: &str) -> Self {
        Self {
            prefix,
            epoch: epoch.to_owned(),
            next: 1,
            records: BTreeMap::new(),
            log: ChangeLog::default(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.records.get(id)
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.records.contains_key(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Id, &T)> {
        self.records.iter()
    }

    /// Adds a record under a new id.
    pub(crate) fn create(&mut self, record: T) -> Id {
        let id = format!("{}{:04}", self.prefix, self.next);
        self.next += 1;
        self.create_as(&id, record);
        id
    }

    /// Adds a record under a given id (RFC 8621 §8: `singleton`).
    pub(crate) fn create_as(&mut self, id: &str, record: T) {
        self.records.insert(id.to_owned(), record);
        self.log.push(id, Change::Created);
    }

    /// Changes a record; nothing happens when there is none.
    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut T)) {
        if let Some(record) = self.records.get_mut(id) {
            change(record);
            self.log.push(id, Change::Updated);
        }
    }

    /// Notes that what is counted about a record changed.
    pub(crate) fn counted(&mut self, id: &str) {
        if self.records.contains_key(id) {
            self.log.push(id, Change::Counted);
        }
    }

    pub(crate) fn destroy(&mut self, id: &str) -> Option<T> {
        let record = self.records.remove(id)?;
        self.log.push(id, Change::Destroyed);
        Some(record)
    }

    /// The state string now.
    pub(crate) fn state(&self) -> String {
        self.state_at(self.log.position())
    }

    /// The state string after the first `position` changes.
    pub(crate) fn state_at(&self, position: u64) -> String {
        format!("{}-{position}", self.epoch)
    }

    /// What became of at most `max` records since a state; `None` when that cannot be calculated.
    pub(crate) fn changes(&self, since_state: &str, max: usize) -> Option<Changes> {
        let position = since_state.strip_prefix(self.epoch.as_str())?.strip_prefix('-')?;
        self.log.since(position.parse().ok()?, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_moves_the_state_and_is_told_by_changes() {
        let mut table = Table::new('M', "now");
        let before = table.state();
        let id = table.create("record");
        assert_ne!(table.state(), before);
        assert_eq!(table.changes(&before, 9).unwrap().created, [id]);
    }

    #[test]
    fn a_state_of_another_run_cannot_be_calculated_from() {
        let table = Table::<()>::new('M', "now");
        assert!(table.changes("then-0", 9).is_none());
        assert!(table.changes("now-0", 9).is_some());
    }
}
